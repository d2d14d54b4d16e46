"""A network prior of this installation: trained over merchants that consent, for those that begin without labels.

It asks only for columns that mean the same at any shop (``models.prior``), so no key and no name of a merchant is in
it. Histories are moved to end on one day, so that days of all of them calibrate; and each merchant counts the same: a
large one does not drown the others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.train import known_by
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.keys import HOUSE
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.prior import FEWEST_COLUMNS, roles
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F32
from avalist.ports.blobs import Blobs

FEWEST_MERCHANTS: Final = 2
"""A prior of one merchant would tell the others of that one."""
FEWEST_FRAUDS: Final = 40
"""Reported frauds that each must bring."""
PARAMS: Final = TrainParams(
    test_share=0.0, trees=160, leaves=24, learning_rate=0.08, min_data_in_leaf=80, feature_fraction=0.4,
    half_life_d=None,
)  # fmt: skip
_MOST_ROWS: Final = 300_000
"""The last payments of each."""
_END_D: Final = 20_000
"""The day on which all histories end."""
_PLAN: Final = "roles-1"
_BLOB: Final = "prior"


def network_prior(blobs: Blobs) -> Artefact | None:
    """Return the installation's own prior; None where it has none, and the shipped one serves."""
    try:
        return Artefact.from_bytes(blobs.get(HOUSE, _BLOB))
    except NotFound:
        return None


def keep_prior(blobs: Blobs, prior: Artefact | None) -> None:
    """Store the installation's prior, or go back to the shipped one."""
    if prior is None:
        blobs.delete(HOUSE, _BLOB)
    else:
        blobs.put(HOUSE, _BLOB, prior.to_bytes())


def train_prior(histories: Mapping[str, Dataset], params: TrainParams = PARAMS) -> Artefact:
    """Train a prior over merchants, whose consent the caller has seen; late labels are allowed for.

    Raises
    ------
    BadInput
        If they are too few, or one has too few frauds or too few columns that mean the same elsewhere.
    """
    if len(histories) < FEWEST_MERCHANTS:
        expected = f"at least {FEWEST_MERCHANTS} merchants"
        raise BadInput("a prior of one merchant tells of that one", field="--merchants", expected=expected)
    names = _shared(histories)
    parts = [_part(merchant, data, names) for merchant, data in histories.items()]
    weight = np.concatenate([np.full(len(part.y), 1.0 / len(part.y)) for part in parts])
    whole = TrainingSet(
        np.concatenate([part.x for part in parts]),
        names,
        _PLAN,
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.t_ms for part in parts]),
        np.concatenate([part.amount_minor for part in parts]),
        weight * len(weight) / len(parts),
        np.concatenate([part.reported for part in parts]),
    )
    told = {
        **msgspec.to_builtins(params),
        "trained_on": f"payments of {len(parts)} merchants of this installation that consented",
        "payments": len(whole.y),
        "frauds": int(whole.y.sum()),
    }
    return replace(train(whole, params).artefact, params=json.dumps(told).encode())


def _shared(histories: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return the roles of columns that two merchants have at least; the others do not know them.

    What one alone has would tell of that one.
    """
    mine = {merchant: roles(data.schema, data.plan.features).keys() for merchant, data in histories.items()}
    counted = Counter(role for found in mine.values() for role in found)
    names = tuple(role for role, count in counted.items() if count >= FEWEST_MERCHANTS)
    for merchant, found in mine.items():
        if len(found & set(names)) < FEWEST_COLUMNS:
            raise BadInput(
                f"{merchant} has too few columns that mean the same elsewhere", field="--merchants",
                expected=f"at least {FEWEST_COLUMNS}", got=str(len(found & set(names))),
            )  # fmt: skip
    return names


def _part(merchant: str, data: Dataset, names: tuple[str, ...]) -> TrainingSet:
    """Return a merchant's last captured payments over the shared columns, moved in time."""
    known, mine = known_by(data, data.cut_ms), roles(data.schema, data.plan.features)
    last = slice(max(len(known.y) - _MOST_ROWS, 0), None)
    frauds = int(known.y[last].sum())
    if frauds < FEWEST_FRAUDS:
        expected = f"at least {FEWEST_FRAUDS} reported frauds"
        raise BadInput(f"{merchant} has too few frauds", field="--merchants", expected=expected, got=str(frauds))
    later_ms = (_END_D - int(data.t_ms[-1]) // DAY_MS) * DAY_MS
    return TrainingSet(
        _over(known.x[last], names, mine), names, _PLAN, known.y[last], known.t_ms[last] + later_ms,
        known.amount_minor[last], report_probability=known.reported[last],
    )  # fmt: skip


def _over(x: F32, names: tuple[str, ...], mine: Mapping[str, int]) -> F32:
    """Return rows over the named columns, NaN for those that the merchant has not."""
    found = np.full((len(x), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        if name in mine:
            found[:, place] = x[:, mine[name]]
    return found
