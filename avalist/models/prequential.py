"""Delayed prequential evaluation (modelling §6): train on what was logged by a cut, score the next days, move on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F32, F64, I64

Known = Callable[[int], TrainingSet]
"""What was logged by a cut, and nothing that came later."""


class Prequential(msgspec.Struct, frozen=True, kw_only=True):
    """How to evaluate: `folds` cuts; each model learns from its last `most_rows` payments at most.

    `fewest_frauds` must be reported by the first cut; at least `first_share` of the time lies before it.
    """

    folds: int = 5
    most_rows: int = 400_000
    fewest_frauds: int = 40
    first_share: float = 0.4
    params: TrainParams = TrainParams(test_share=0.0, trees=120, leaves=31, learning_rate=0.1)


@dataclass(frozen=True, eq=False)
class Fold:
    """A model that learnt by `cut_ms` and scored the payments of [cut_ms, end_ms)."""

    cut_ms: int
    end_ms: int
    model: Artefact


@dataclass(frozen=True, eq=False)
class Forward:
    """`p` float64 [n], NaN where no fold scored; `fold` int64 [n], −1 there."""

    folds: tuple[Fold, ...]
    p: F64
    fold: I64


def first_cut(t_ms: I64, reported_ms: I64, plan: Prequential) -> int:
    """Return the first midnight (UTC) at which enough frauds are reported; after the end if there is none.

    `reported_ms` [k] are the times at which the frauds were reported.
    """
    begin, end = int(t_ms[0]), int(t_ms[-1])
    earliest = begin + round((end - begin) * plan.first_share)
    if len(reported_ms) < plan.fewest_frauds:
        return end + DAY_MS
    enough = int(np.partition(reported_ms, plan.fewest_frauds - 1)[plan.fewest_frauds - 1]) + 1
    return -(-max(earliest, enough) // DAY_MS) * DAY_MS


def cuts(t_ms: I64, first_ms: int, folds: int) -> I64:
    """Return the midnights (UTC) that cut the time from `first_ms` to the last payment into `folds` about equal parts.

    Returns int64 [m + 1], ascending, the end last; fewer parts where days are few, none where no payment follows.
    """
    end = int(t_ms[-1]) // DAY_MS * DAY_MS + DAY_MS
    days = max((end - first_ms) // DAY_MS, 0)
    steps = np.unique(np.round(np.linspace(0, days, min(folds, days) + 1)).astype(np.int64))
    return np.asarray(first_ms + steps * DAY_MS, dtype=np.int64)


def score_forward(
    x: F32,
    t_ms: I64,
    known: Known,
    plan: Prequential,
    first_ms: int,
    progress: Callable[[int, int], None] = lambda done, wanted: None,
) -> Forward:
    """Train at each cut and score the payments up to the next.

    `x` float32 [n, f] and `t_ms` int64 [n] in order of time. `progress` is told (trees grown, trees wanted). A cut at
    which a model cannot be trained is moved to the next one: its payments stay without a score.
    """
    bounds = cuts(t_ms, first_ms, plan.folds)
    p, place = np.full(len(t_ms), np.nan), np.full(len(t_ms), -1, np.int64)
    folds: list[Fold] = []
    wanted = plan.params.trees * max(len(bounds) - 1, 1)
    for k, (cut, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        model = _model(known(cut), plan, partial(_forward, progress, plan.params.trees * k, wanted))
        if model is None:
            continue
        rows = slice(*np.searchsorted(t_ms, [cut, end]))
        p[rows] = model.p_fraud(x[rows])
        place[rows] = len(folds)
        folds.append(Fold(cut, end, model))
    progress(wanted, wanted)
    return Forward(tuple(folds), p, place)


def _forward(progress: Callable[[int, int], None], before: int, wanted: int, grown: int, _: int) -> None:
    progress(before + grown, wanted)


def _model(seen: TrainingSet, plan: Prequential, progress: Callable[[int, int], None]) -> Artefact | None:
    try:
        return train(latest(seen, plan.most_rows), plan.params, progress).artefact
    except BadInput:  # no fraud, or nothing else, in one of the slices
        return None


def latest(seen: TrainingSet, most: int) -> TrainingSet:
    """Return the last `most` payments of a training set in order of time."""
    if len(seen.x) <= most:
        return seen
    rows = slice(len(seen.x) - most, None)

    def part(array: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
        return None if array is None else array[rows]

    return TrainingSet(
        seen.x[rows],
        seen.columns,
        seen.plan_hash,
        seen.y[rows],
        seen.t_ms[rows],
        seen.amount_minor[rows],
        part(seen.weight),
        part(seen.report_probability),
        seen.schema,
        part(seen.decided),
    )
