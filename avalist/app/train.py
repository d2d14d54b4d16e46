"""Train a merchant's model from its log, and judge it as if it had been trained then (modelling §6).

Two models are trained. The first sees only what was logged before the last slice of payments began, and is graded on
that slice: labels of its training rows that came later stay unseen. The second, the one that ships, sees everything.
Where there are two threads each grows one of them: threads that share a tree wait for each other at every split
(ADR 43).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset, Records, collect
from avalist.app.prior import CERTAIN, Rivals, at_level, own_model, prior_of, share_to_judge
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.features.own import retired_by, with_retired
from avalist.models.artefact import Artefact, DataRange
from avalist.models.delay import LEAST_REPORTED, ReportDelay, estimate
from avalist.models.judge import AGES_D, Draws, Level, blocks, evenly, levels
from avalist.models.metrics import Report, report
from avalist.models.train import Enough, Progress, TrainingSet, TrainParams
from avalist.models.trees import F64

FEWEST_FRAUDS: Final = 40
"""Reported frauds a model needs; the calibration slice must hold some of them."""
_MOST_CHECKED: Final = 100_000
_MOST_LEARNT: Final = 400_000
"""The model that is graded learns from its last payments alone, where there are more: it takes no longer than that."""
_RANKED_D: Final = 28
_FEWEST_RANKED: Final = 300


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How to train from a log: the last `test_share` of the payments old enough to be judged grades the model.

    Where the frauds among them are few it is more, in several steps. With `prior` the merchant's trees stand beside the
    `network`'s prior (None: the shipped one), and take over from it when they are better. Columns of the entities
    `without`, and those computed from them, are unknown to the model, so that they can be retired.
    """

    test_share: float = 0.15
    params: TrainParams = TrainParams(test_share=0.0)
    prior: bool = True
    network: Artefact | None = None
    without: tuple[str, ...] = ()


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
        If there are too few captured payments or reported frauds, and no prior to decide until there are more.
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
    data = without(data, training.without)
    prior = prior_of(data.schema, data.plan, training.network) if training.prior else None
    everything = known_by(data, data.cut_ms)
    frauds = int(everything.y.sum())
    if frauds < FEWEST_FRAUDS and prior is None:
        raise BadInput(
            "too few frauds are reported to train on: import more history",
            field="history",
            expected=f"at least {FEWEST_FRAUDS} reported frauds",
            got=str(frauds),
        )
    judged, own = Graded(), None
    if frauds >= FEWEST_FRAUDS:
        with growing(everything, prior, training.params, grown, enough) as wait:
            judged = graded(data, everything, training, prior)
            own = wait() if prior is None or judged.certain >= CERTAIN else None
    if own is not None:
        made = replace(own, report=judged.own)
    else:
        assert prior is not None
        made = replace(at_level(prior, everything), report=judged.prior, data=range_of(everything))
    return replace(
        made,
        delay=delay_at(data, data.cut_ms),
        by_age=level_by_age(made, everything, data),
        percentiles=percentiles(made, data),
    )


@contextmanager
def growing(
    known: TrainingSet, prior: Artefact | None, params: TrainParams, grown: Progress | None, enough: Enough | None
) -> Iterator[Callable[[], Artefact]]:
    """Give a function that returns :func:`own_model`; where there are two threads one of them grows it meanwhile.

    What was not waited for is given up at the end of the block.
    """
    if params.num_threads != 2:
        yield partial(own_model, known, prior, params, grown, enough)
        return
    left = Event()

    def ends() -> bool:
        return left.is_set() or (enough is not None and enough())

    with ThreadPoolExecutor(1, "growing") as pool:
        trees = pool.submit(own_model, known, prior, _one_thread(params), grown, ends)
        try:
            yield trees.result
        finally:
            left.set()


def _one_thread(params: TrainParams) -> TrainParams:
    """Return parameters for a forest that grows beside another: LightGBM has one number of threads per process."""
    return msgspec.structs.replace(params, num_threads=1) if params.num_threads == 2 else params


def without(data: Dataset, entities: Sequence[str]) -> Dataset:
    """Return a data set in which the columns of entities, and those computed from them, are unknown.

    Raises ``BadInput`` for an entity that has no columns.
    """
    if not entities:
        return data
    for entity in entities:
        if not retired_by(data.plan.features, (entity,)):
            raise BadInput("it has no columns", field="--without", expected="an entity of columns", got=entity[:64])
    features = with_retired(data.plan.features, entities)
    x = np.array(data.x)
    x[:, [n for n, one in enumerate(features) if one.aggregate == "retired"]] = np.nan
    return replace(data, x=x, plan=replace(data.plan, features=features))


def percentiles(model: Artefact, data: Dataset) -> F64:
    """Return the margins at the 1st to 99th percentile of all payments of the last 28 days, captured or not.

    So ``risk_score`` means the same in each model that follows another. Where payments are few, the model's own stand:
    of those that calibrated it.
    """
    rows = np.flatnonzero(data.t_ms >= data.cut_ms - _RANKED_D * DAY_MS)
    if len(rows) < _FEWEST_RANKED:
        return model.percentiles
    margins = model.trees.score_many(model.rows(data.x[evenly(rows, _MOST_CHECKED)]))
    return np.asarray(np.quantile(margins, np.arange(1, 100) / 100.0), dtype=np.float64)


class Graded(NamedTuple):
    """Reports on later payments of trees of the merchant's own and of its prior; how sure it is that the former are
    better.
    """

    own: Report | None = None
    prior: Report | None = None
    certain: float = 0.0


def graded(data: Dataset, everything: TrainingSet, training: Training, prior: Artefact | None) -> Graded:
    """Grade models trained on what was known when the last slice began; nothing where that was too little."""
    old_enough = everything.reported >= LEAST_REPORTED
    share, steps = training.test_share, 1
    if prior is not None:
        least, steps = share_to_judge(int(everything.y[old_enough].sum()))
        share = max(least, share)
    if share <= 0.0 or not old_enough.any():
        return Graded()
    cuts = np.quantile(everything.t_ms[old_enough], 1.0 - share * (1.0 - np.arange(steps) / steps)).astype(np.int64)
    own, level = np.full((2, len(everything.y)), np.nan)
    for cut, end in zip(cuts.tolist(), [*cuts[1:].tolist(), data.cut_ms], strict=True):
        past = known_by(data, cut, _MOST_LEARNT)
        rows = old_enough & (everything.t_ms >= cut) & (everything.t_ms < end)
        try:
            own[rows] = own_model(past, prior, _one_thread(training.params)).p_fraud(everything.x[rows])
        except BadInput:  # a short history has no frauds on one side of the cut
            continue
        if prior is not None:
            level[rows] = at_level(prior, past).p_fraud(everything.x[rows])
    scored = ~np.isnan(own)
    try:
        mine = _report(everything, own, scored, training.params.seed)
    except BadInput:
        return Graded()
    if prior is None:
        return Graded(mine)
    rivals = Rivals(
        own[scored], level[scored], everything.y[scored], everything.reported[scored], everything.t_ms[scored]
    )
    return Graded(mine, _report(everything, level, scored, training.params.seed), rivals.certain)


def _report(known: TrainingSet, p: F64, rows: npt.NDArray[np.bool_], seed: int) -> Report:
    y, amount = known.y[rows].astype(np.float64), known.amount_minor[rows].astype(np.float64)
    return report(y, p[rows], amount, reported=known.reported[rows], groups=known.t_ms[rows] // DAY_MS, seed=seed)


def range_of(known: TrainingSet) -> DataRange:
    """Return the range of payments that a level was taken from."""
    if not len(known.t_ms):
        return DataRange(0, 0, 0, 0)
    return DataRange(int(known.t_ms.min()), int(known.t_ms.max()), len(known.y), int(known.y.sum()))


def level_by_age(model: Artefact, known: TrainingSet, data: Dataset) -> tuple[Level, ...]:
    """Return frauds reported against those expected to be by now, by age, over what the model learnt from.

    The level of one age is fitted together with all others', so a law of delays that is wrong shows as a trend.
    """
    rows = evenly(np.arange(len(known.y)), _MOST_CHECKED)
    p, t_ms = model.p_fraud(known.x[rows]), known.t_ms[rows]
    y, age_d = known.y[rows].astype(np.float64), (data.cut_ms - t_ms) / DAY_MS
    return levels(age_d, np.array(AGES_D), y, p * known.reported[rows], Draws(blocks(t_ms)[0]))


def known_by(data: Dataset, cut_ms: int, most: int | None = None) -> TrainingSet:
    """Return the captured payments before a cut with the labels logged by it, and the delay law that they show.

    With `most` only so many of the last.
    """
    captured, fraud = data.known_at(cut_ms)
    rows = np.flatnonzero(captured & (data.t_ms < cut_ms))
    rows = rows if most is None else rows[-most:]
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
        decided=data.background.decided[rows, 0].astype(np.float64),
    )


def delay_at(data: Dataset, cut_ms: int) -> ReportDelay:
    """Estimate how long reports take from those logged by a cut, less those whose time was drawn."""
    reports = data.reports_at(cut_ms)
    t_ms = data.t_ms[reports[:, 0]]
    declared = DelayLaw(*data.schema.report_delay_d)
    return estimate(declared, (reports[:, 1] - t_ms) / DAY_MS, (cut_ms - t_ms) / DAY_MS)
