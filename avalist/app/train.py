"""Train a merchant's model from its log, and judge it as if it had been trained then (modelling §6).

Two models are trained. The first sees only what was logged before the last slice of payments began, and is graded on
that slice: labels of its training rows that came later stay unseen. The second, the one that ships, sees everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset, collect
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.records import Record
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.metrics import Report, report
from avalist.models.train import LEAST_REPORTED, Progress, TrainingSet, TrainParams
from avalist.models.train import train as train_trees

FEWEST_FRAUDS: Final = 40
"""Reported frauds a model needs; the calibration slice must hold some of them."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How to train from a log: the last `test_share` of the payments old enough to be judged grades the model."""

    test_share: float = 0.15
    params: TrainParams = TrainParams(test_share=0.0)


def train(
    records: Iterable[tuple[int, Record]],
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
    return train_on(collect(records, merchant, replayed), training, grown=grown)


def train_on(data: Dataset, training: Training | None = None, *, grown: Progress | None = None) -> Artefact:
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
    shipped = train_trees(everything, training.params, grown).artefact
    return replace(shipped, report=graded(data, everything, training))


def graded(data: Dataset, everything: TrainingSet, training: Training) -> Report | None:
    """Grade a model trained on what was known when the last slice began; None where that was too little."""
    if training.test_share <= 0.0:
        return None
    split_ms = int(np.quantile(everything.t_ms, 1.0 - training.test_share))
    past, test = known_by(data, split_ms), everything.t_ms >= split_ms
    y = everything.y[test].astype(np.float64)
    try:
        model = train_trees(past, training.params).artefact
        p = model.calibration.apply(model.trees.score_many(everything.x[test]))
        amount, day = everything.amount_minor[test].astype(np.float64), everything.t_ms[test] // DAY_MS
        return report(y, p, amount, target=everything.target[test], groups=day, seed=training.params.seed)
    except BadInput:  # a short history has no frauds on one side of the split
        return None


def known_by(data: Dataset, cut_ms: int) -> TrainingSet:
    """Return the captured payments before a cut with the labels logged by it.

    Payments so young that fewer than one fraud in twenty would be reported are left out: o/F has no use there.
    """
    law = DelayLaw(*data.schema.report_delay_d)
    reported = reported_by(law, (cut_ms - data.t_ms) / DAY_MS)
    captured, fraud = data.known_at(cut_ms)
    rows = captured & (data.t_ms < cut_ms) & (reported >= LEAST_REPORTED)
    return TrainingSet(
        data.x[rows],
        data.plan.columns,
        data.plan.hash,
        fraud[rows].astype(np.int64),
        data.t_ms[rows],
        data.amount_minor[rows],
        report_probability=reported[rows],
        schema=msgspec.json.encode(data.schema),
    )


def reported_by(law: DelayLaw, age_d: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return F of each age, interpolated between hours: ages come in millions, hours in thousands."""
    hours = np.arange(int(max(age_d.max(initial=0.0), 0.0) * 24) + 2)
    table = np.array([law.reported_by(hour / 24) for hour in hours.tolist()])
    return np.asarray(np.interp(age_d * 24, hours, table, left=0.0), dtype=np.float64)
