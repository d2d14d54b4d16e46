"""A change of the plan, tried on the past: features of one's own, beside the same training without them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from avalist.app.backtest import decide_again
from avalist.app.dataset import Dataset
from avalist.app.past import Past
from avalist.app.train import FEWEST_FRAUDS, known_by
from avalist.domain.decisions import Action
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F64, I64
from avalist.policy.economics import Policy


class Replanned(NamedTuple):
    """A period as it would have been decided by the plan as it is, `past`, and what the changed plan makes of it.

    Both models learnt from what was known when the period began.
    """

    past: Past
    after: list[Action]
    learnt_rows: int
    learnt_frauds: int


def replanned(
    data: Dataset, added: int, past: Past, policy: Policy | None = None, params: TrainParams | None = None
) -> Replanned:
    """Decide a period twice: by models with and without the last `added` columns of `data`.

    Raises
    ------
    BadInput
        If too few frauds were reported before the period.
    """
    begin_ms = int(past.t_ms[0])
    known = known_by(data, begin_ms)
    frauds = int(known.y.sum())
    if frauds < FEWEST_FRAUDS:
        raise BadInput(
            f"too few frauds were reported before {from_ms(begin_ms):%Y-%m-%d}: let the period begin later",
            field="--from",
            expected=f"at least {FEWEST_FRAUDS} reported frauds before it",
            got=str(frauds),
        )
    place = {id: n for n, id in enumerate(data.background.payment_ids)}
    rows = np.array([place[seen.core.payment_id] for seen in past.payments])
    params, whole = params or TrainParams(test_share=0.0), len(known.columns)
    without, with_them = (_scores(data, known, width, rows, params) for width in (whole - added, whole))
    stood = decide_again(replace(past, p=without), policy)
    seen = zip(past.payments, stood, without.tolist(), strict=True)
    payments = [one._replace(action=action.value, propensity=1.0, p_fraud=p) for one, action, p in seen]
    changed = replace(past, payments=payments, p=with_them, replayed=True)
    return Replanned(changed, decide_again(changed, policy), len(known.y), frauds)


def _scores(data: Dataset, known: TrainingSet, width: int, rows: I64, params: TrainParams) -> F64:
    """Return the probabilities of payments by a model of the first `width` columns."""
    part = replace(known, x=np.ascontiguousarray(known.x[:, :width]), columns=known.columns[:width])
    model = train(part, params).artefact
    return model.p_fraud(data.x[rows])
