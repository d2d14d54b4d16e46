"""Train a merchant's model from its log, and judge it as if it had been trained then (modelling §6).

Two models are trained. The first sees only what was logged before the last slice of payments began, and is graded on
that slice: labels of its training rows that came later stay unseen. The second, the one that ships, sees everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from avalist.app.dataset import Dataset, Records, collect
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.delay import LEAST_REPORTED, ReportDelay, estimate
from avalist.models.judge import AGES_D, Draws, Level, blocks, evenly, levels
from avalist.models.metrics import Report, report
from avalist.models.prequential import latest
from avalist.models.train import Enough, Progress, TrainingSet, TrainParams
from avalist.models.train import train as train_trees
from avalist.models.trees import F64

FEWEST_FRAUDS: Final = 40
"""Reported frauds a model needs; the calibration slice must hold some of them."""
_MOST_CHECKED: Final = 100_000
_MOST_LEARNT: Final = 400_000
"""The model that is graded learns from its last payments alone, where there are more: it takes no longer than that."""
_RANKED_D: Final = 28
_FEWEST_RANKED: Final = 300


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How to train from a log: the last `test_share` of the payments old enough to be judged grades the model."""

    test_share: float = 0.15
    params: TrainParams = TrainParams(test_share=0.0)


def train(
    read: Callable[[], Records],
    merchant: str,
    training: Training | None = None,
    *,
    replayed: Callable[[int], None] = lambda position: None,
    grown: Progress | None = None,
) -> Artefact:
    """Return a merchant's model, with the report of its like trained at the beginning of the last slice.

    Raises
    ------
    NotFound
        If the merchant is not in the log.
    BadInput
        If there are too few captured payments or reported frauds.
    """
    return train_on(collect(read, merchant, replayed), training, grown=grown)


def train_on(
    data: Dataset,
    training: Training | None = None,
    *,
    grown: Progress | None = None,
    enough: Enough | None = None,
) -> Artefact:
    """Return the model of a replayed log, graded as :func:`train` says. Raises ``BadInput`` as it does."""
    training = training or Training()
    everything = known_by(data, data.cut_ms)
    if int(everything.y.sum()) < FEWEST_FRAUDS:
        raise BadInput(
            "too few frauds are reported to train on: import more history",
            field="history",
            expected=f"at least {FEWEST_FRAUDS} reported frauds",
            got=str(int(everything.y.sum())),
        )
    shipped = train_trees(everything, training.params, grown, enough).artefact
    return replace(
        shipped,
        report=graded(data, everything, training),
        delay=delay_at(data, data.cut_ms),
        by_age=level_by_age(shipped, everything, data),
        percentiles=percentiles(shipped, data),
    )


def percentiles(model: Artefact, data: Dataset) -> F64:
    """Return the margins at the 1st to 99th percentile of all payments of the last 28 days, captured or not.

    So ``risk_score`` means the same in each model that follows another. Where payments are few, the model's own stand:
    of those that calibrated it.
    """
    rows = np.flatnonzero(data.t_ms >= data.cut_ms - _RANKED_D * DAY_MS)
    if len(rows) < _FEWEST_RANKED:
        return model.percentiles
    margins = model.trees.score_many(data.x[evenly(rows, _MOST_CHECKED)])
    return np.asarray(np.quantile(margins, np.arange(1, 100) / 100.0), dtype=np.float64)


def graded(data: Dataset, everything: TrainingSet, training: Training) -> Report | None:
    """Grade a model trained on what was known when the last slice began; None where that was too little."""
    old_enough = everything.reported >= LEAST_REPORTED
    if training.test_share <= 0.0 or not old_enough.any():
        return None
    split_ms = int(np.quantile(everything.t_ms[old_enough], 1.0 - training.test_share))
    past, test = known_by(data, split_ms), old_enough & (everything.t_ms >= split_ms)
    y = everything.y[test].astype(np.float64)
    try:
        model = train_trees(latest(past, _MOST_LEARNT), training.params).artefact
        p = model.calibration.apply(model.trees.score_many(everything.x[test]))
        amount, day = everything.amount_minor[test].astype(np.float64), everything.t_ms[test] // DAY_MS
        return report(y, p, amount, reported=everything.reported[test], groups=day, seed=training.params.seed)
    except BadInput:  # a short history has no frauds on one side of the split
        return None


def level_by_age(model: Artefact, known: TrainingSet, data: Dataset) -> tuple[Level, ...]:
    """Return frauds reported against those expected to be by now, by age, over what the model learnt from.

    The level of one age is fitted together with all others', so a law of delays that is wrong shows as a trend.
    """
    rows = evenly(np.arange(len(known.y)), _MOST_CHECKED)
    p, t_ms = model.calibration.apply(model.trees.score_many(known.x[rows])), known.t_ms[rows]
    y, age_d = known.y[rows].astype(np.float64), (data.cut_ms - t_ms) / DAY_MS
    return levels(age_d, np.array(AGES_D), y, p * known.reported[rows], Draws(blocks(t_ms)[0]))


def known_by(data: Dataset, cut_ms: int) -> TrainingSet:
    """Return the captured payments before a cut with the labels logged by it, and the delay law that they show."""
    captured, fraud = data.known_at(cut_ms)
    rows = captured & (data.t_ms < cut_ms)
    age_d = (cut_ms - data.t_ms[rows]) / DAY_MS
    return TrainingSet(
        data.x[rows],
        data.plan.columns,
        data.plan.hash,
        fraud[rows].astype(np.int64),
        data.t_ms[rows],
        data.amount_minor[rows],
        report_probability=delay_at(data, cut_ms).reported_by(age_d),
        schema=msgspec.json.encode(data.schema),
    )


def delay_at(data: Dataset, cut_ms: int) -> ReportDelay:
    """Estimate how long reports take from those logged by a cut, less those whose time was drawn."""
    reports = data.reports_at(cut_ms)
    t_ms = data.t_ms[reports[:, 0]]
    declared = DelayLaw(*data.schema.report_delay_d)
    return estimate(declared, (reports[:, 1] - t_ms) / DAY_MS, (cut_ms - t_ms) / DAY_MS)
