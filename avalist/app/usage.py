"""What a model uses: the part of a report that says which columns move its scores."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset
from avalist.features.words import family, in_words, unit
from avalist.models.artefact import Artefact
from avalist.models.judge import evenly
from avalist.models.trees import I64
from avalist.models.usage import usage

PRIOR_FAMILY: Final = "what the network prior says"
_SAMPLE: Final = 20_000
_COLUMNS: Final = 15


class FamilyUse(msgspec.Struct, frozen=True):
    """A family of columns: how many, mean absolute contribution in log-odds, share of all movement and of all gain."""

    name: str
    columns: int
    movement: float
    share: float
    gain: float


class ColumnUse(msgspec.Struct, frozen=True):
    """A column in words, its mean absolute contribution, and its median among honest payments and frauds (None: mostly
    unknown).
    """

    name: str
    words: str
    unit: str
    movement: float
    honest: float | None
    fraud: float | None


def uses(
    data: Dataset, model: Artefact, rows: I64, fraud: npt.NDArray[np.bool_]
) -> tuple[tuple[FamilyUse, ...], tuple[ColumnUse, ...]]:
    """Return what a model uses: families by movement, and the columns that move the score most."""
    sample = evenly(rows, _SAMPLE)
    movement, gain = usage(model.trees, model.rows(data.x[sample]))
    features, total = data.plan.features, max(float(movement.sum()), 1e-300)
    named = [family(feature, data.plan) for feature in features]
    parts: dict[str, list[int]] = {}
    for column, name in enumerate(named):
        parts.setdefault(name, []).append(column)
    families = [
        FamilyUse(name, len(c), float(movement[c].sum()), float(movement[c].sum()) / total, float(gain[c].sum()))
        for name, c in parts.items()
    ]
    if model.prior_trees is not None:
        families.append(FamilyUse(PRIOR_FAMILY, 1, float(movement[-1]), float(movement[-1]) / total, float(gain[-1])))
    bad, honest = evenly(rows[fraud[rows]], _SAMPLE), evenly(rows[~fraud[rows]], _SAMPLE)
    strongest = np.argsort(-movement[: len(features)], kind="stable")[:_COLUMNS].tolist()
    columns = [
        ColumnUse(
            features[c].name,
            in_words(features[c]),
            unit(features[c]),
            float(movement[c]),
            _median(data.x[honest, c]),
            _median(data.x[bad, c]),
        )
        for c in strongest
        if movement[c] > 0.0
    ]
    return tuple(sorted(families, key=lambda use: -use.movement)), tuple(columns)


def _median(values: npt.NDArray[np.float32]) -> float | None:
    """Return the median, unknown counting as none; None where half or more are unknown."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if 2 * len(known) > len(values) else None
