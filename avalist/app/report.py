"""Report v1: what a model would have done with a merchant's past, as data (modelling §6). Words and plots come later.

Each number about quality comes from a delayed prequential evaluation: at each of several cuts a model learns from what
was logged by then, scores the payments up to the next cut, and is graded by the labels known at the end of the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from avalist.app.census import Census, bucket_days, census
from avalist.app.challengers import Challenger
from avalist.app.dataset import DECLINED, Dataset
from avalist.app.examples import Examples, examples
from avalist.app.grade import FEWEST_GRADED, Graded, grade_by
from avalist.app.health import Health
from avalist.app.health import check as check_health
from avalist.app.past_waves import PastWave
from avalist.app.pattern_choice import PatternChoice
from avalist.app.segments import Segment, segments
from avalist.app.spent import Ledger, ledger
from avalist.app.train import FEWEST_FRAUDS, known_by
from avalist.app.usage import ColumnUse, FamilyUse, uses
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.judge import AGES_D, Level, blocks, decile_edges, levels
from avalist.models.metrics import Report as Metrics
from avalist.models.metrics import report as measure
from avalist.models.prequential import Forward, Prequential, first_cut, score_forward
from avalist.models.trees import F64
from avalist.policy.economics import Policy
from avalist.policy.frontier import RESAMPLES, AsBefore, Judged, Outcome, as_before, by_profit, frontier

FORMAT: Final = 1


class FoldQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One cut: what its model learnt from, and how it did on the graded payments up to `end_ms`."""

    cut_ms: int
    end_ms: int
    learnt_rows: int
    learnt_frauds: int
    metrics: Metrics | None


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How the models did on payments that they had not seen.

    `metrics` is over all folds together; `maturity` the share of fraud that must be expected to be reported before a
    payment is graded, `reported` the mean over those graded; `block` what the intervals draw together. `by_decile` cuts
    by probability, `by_age` by days between payment and the end of the log, `by_time` by the payment's own.
    """

    from_ms: int
    to_ms: int
    metrics: Metrics
    maturity: float
    reported: float
    block: str
    folds: tuple[FoldQuality, ...]
    by_decile: tuple[Level, ...]
    by_age: tuple[Level, ...]
    by_time: tuple[Level, ...]
    graded_minor: int
    fraud_minor: int


class FitReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the report tells. `quality` and what follows from it are None where `too_few` says why.

    `spent` is None where there is no model, `waves` where the schema watches none, `patterns` where the plan has no
    columns of them or its past is too short to judge these; `challengers` tell the life of the merchant's models.
    `simulated` is what the operator declares; `rejected` rows of the file that could not be read, None where unknown.
    """

    format: int = FORMAT
    merchant: str
    model: str
    census: Census
    policy: Policy
    evaluation: Prequential
    too_few: str = ""
    quality: Quality | None = None
    frontier: tuple[Outcome, ...] = ()
    economic: Outcome | None = None
    as_before: AsBefore | None = None
    spent: Ledger | None = None
    segments: tuple[Segment, ...] = ()
    waves: tuple[PastWave, ...] | None = None
    health: Health | None = None
    patterns: PatternChoice | None = None
    challengers: tuple[Challenger, ...] = ()
    families: tuple[FamilyUse, ...] = ()
    columns: tuple[ColumnUse, ...] = ()
    examples: Examples | None = None
    file: str = ""
    assumed: tuple[str, ...] = ()
    rejected: int | None = None
    simulated: bool = False


def report(
    data: Dataset,
    merchant: str,
    evaluation: Prequential | None = None,
    *,
    shipped: Artefact | None = None,
    progress: Callable[[int, int], None] = lambda done, wanted: None,
) -> FitReport:
    """Evaluate a replayed log and put the report together.

    `shipped` is the model whose columns are explained; the last evaluated one if None. With too few frauds the report
    describes the data alone and says how many are needed.

    Raises
    ------
    BadInput
        If there is no payment.
    """
    if not len(data.t_ms):
        raise BadInput("there is no payment to report on", field="history", expected="payments", got="none")
    evaluation = evaluation or Prequential()
    counted = census(data)
    bare = FitReport(
        merchant=merchant,
        model=data.background.model,
        census=counted,
        policy=data.background.policy,
        evaluation=evaluation,
        spent=ledger(data, shipped) if shipped else None,
    )
    forward = evaluate(data, evaluation, progress)
    graded = grade_by(data, forward)
    frauds = int(graded.fraud[graded.rows].sum())
    if not forward.folds or not FEWEST_GRADED <= frauds < len(graded.rows):
        return msgspec.structs.replace(bare, too_few=_too_few(counted.frauds, frauds, len(forward.folds)))
    return _full(bare, graded, shipped)


def evaluate(data: Dataset, evaluation: Prequential, progress: Callable[[int, int], None]) -> Forward:
    """Score the later payments of a log, each by a model that learnt from what was logged before its cut."""
    reported_ms = data.changes[data.changes[:, 2] > 0, 3]
    first_ms = first_cut(data.t_ms, reported_ms, evaluation)
    return score_forward(data.x, data.t_ms, lambda cut: known_by(data, cut), evaluation, first_ms, progress)


def _too_few(known: int, graded: int, folds: int) -> str:
    if known < FEWEST_FRAUDS:
        return f"{known} frauds are reported; a model needs {FEWEST_FRAUDS} at least, better a few hundred"
    if not folds:
        return (
            f"{known} frauds are reported, but they come too late in the history to learn from a first part "
            "and to grade on the rest: bring a longer history"
        )
    return (
        f"{known} frauds are reported, but only {graded} after the first cut, when {FEWEST_FRAUDS} were known; "
        f"{FEWEST_GRADED} are needed to judge, better fifty: bring a longer history"
    )


def _full(bare: FitReport, graded: Graded, shipped: Artefact | None) -> FitReport:
    data, rows, judged = graded.data, graded.rows, graded.judged
    draws = graded.draws(rows)
    explained = shipped or graded.forward.folds[-1].model
    families, columns = uses(data, explained, rows, graded.fraud)
    return msgspec.structs.replace(
        bare,
        quality=quality(graded),
        frontier=frontier(judged, bare.policy, draws),
        economic=by_profit(judged, bare.policy, draws),
        as_before=_compared(graded),
        segments=segments(graded),
        health=check_health(data, bare.merchant, said=graded.forward.p),
        families=families,
        columns=columns,
        examples=examples(graded),
    )


def quality(graded: Graded) -> Quality:
    """Measure ranking, money and calibration on the graded payments, and the level by age on all that were scored."""
    data, rows, judged = graded.data, graded.rows, graded.judged
    scored = np.flatnonzero(~np.isnan(graded.forward.p) & graded.captured)
    y, due = graded.fraud.astype(np.float64), graded.forward.p * graded.reported
    t_ms = data.t_ms[scored].astype(np.float64)
    age_d, times = (data.cut_ms - t_ms) / DAY_MS, _times(data)
    return Quality(
        from_ms=graded.forward.folds[0].cut_ms,
        to_ms=int(data.t_ms[rows[-1]]),
        metrics=measure(
            *_columns_of(judged), reported=graded.reported[rows], groups=blocks(data.t_ms[rows])[0], resamples=RESAMPLES
        ),
        maturity=graded.maturity,
        reported=float(graded.reported[rows].mean()),
        block=blocks(data.t_ms[rows])[1],
        folds=tuple(_fold(graded, k) for k in range(len(graded.forward.folds))),
        by_decile=levels(judged.p, decile_edges(judged.p), y[rows], due[rows], graded.draws(rows)),
        by_age=levels(age_d, np.array(AGES_D), y[scored], due[scored], graded.draws(scored)),
        by_time=levels(t_ms, times, y[scored], due[scored], graded.draws(scored)),
        graded_minor=int(judged.amount.sum()),
        fraud_minor=int(judged.y @ judged.amount),
    )


def _times(data: Dataset) -> F64:
    """Return the ends of the periods that time is cut into, from the first day on, ms."""
    step_ms, first_ms = bucket_days(data.t_ms) * DAY_MS, int(data.t_ms[0]) // DAY_MS * DAY_MS
    return np.arange(first_ms, int(data.t_ms[-1]) + step_ms + 1, step_ms, dtype=np.float64)


def _columns_of(judged: Judged) -> tuple[F64, F64, F64]:
    return judged.y, judged.p, judged.amount


def _fold(graded: Graded, k: int) -> FoldQuality:
    fold = graded.forward.folds[k]
    rows = graded.rows[graded.forward.fold[graded.rows] == k]
    y, amount = graded.fraud[rows].astype(np.float64), graded.data.amount_minor[rows].astype(np.float64)
    days = graded.data.t_ms[rows] // DAY_MS
    both = 0 < y.sum() < len(y)
    p, reported = graded.forward.p[rows], graded.reported[rows]
    metrics = measure(y, p, amount, reported=reported, groups=days, resamples=50) if both else None
    return FoldQuality(
        cut_ms=fold.cut_ms,
        end_ms=fold.end_ms,
        learnt_rows=fold.model.data.rows,
        learnt_frauds=fold.model.data.frauds,
        metrics=metrics,
    )


def _compared(graded: Graded) -> AsBefore | None:
    """Compare with the decisions made then, where the log shows payments not taken, issuers' declines aside."""
    data, p = graded.data, graded.forward.p
    mature = ~np.isnan(p) & (graded.reported >= graded.maturity)
    refused = np.flatnonzero(mature & ~graded.captured & (data.background.issuer != DECLINED))
    if not len(refused):
        return None
    rows = np.concatenate((graded.rows, refused))
    return as_before(graded.judged, (p[refused], data.amount_minor[refused].astype(np.float64)), graded.draws(rows))
