"""Report v1: what a model would have done with a merchant's past, as data (modelling §6). Words and plots come later.

Each number about quality comes from a delayed prequential evaluation: at each of several cuts a model learns from what
was logged by then, scores the payments up to the next cut, and is graded by the labels known at the end of the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.census import Census, census
from avalist.app.dataset import DECLINED, Dataset
from avalist.app.train import FEWEST_FRAUDS, known_by, reported_by
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.features.words import family, in_words, unit
from avalist.models.artefact import Artefact
from avalist.models.judge import Draws, Level, blocks, decile_edges, declined_share, evenly, levels
from avalist.models.metrics import Report as Metrics
from avalist.models.metrics import report as measure
from avalist.models.prequential import Forward, Prequential, first_cut, score_forward
from avalist.models.score import Model
from avalist.models.train import LEAST_REPORTED
from avalist.models.trees import F64, I64
from avalist.models.usage import usage
from avalist.policy.economics import Policy
from avalist.policy.frontier import RESAMPLES, AsBefore, Judged, Outcome, as_before, by_profit, frontier

FORMAT: Final = 1
MATURITIES: Final = (0.9, 0.8, 0.65, 0.5)
"""Shares of fraud that must be expected to be reported before payments are graded; the first that leaves enough."""
ENOUGH: Final = 50
ENOUGH_SHARE: Final = 0.4
"""Graded frauds, and share of the scored payments, that make a maturity enough; failing that, frauds alone will do."""
FEWEST_GRADED: Final = 10
_AGES_D: Final = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0, 120.0, 180.0, 36_500.0)
_SAMPLE: Final = 20_000
_SHOWN: Final = 8
_COLUMNS: Final = 15
_EXAMPLE_RATE: Final = 0.99
_ID_DIGITS: Final = 10
Bools = npt.NDArray[np.bool_]


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
    by probability, `by_age` by days between payment and the end of the log.
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
    graded_minor: int
    fraud_minor: int


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


class Why(msgspec.Struct, frozen=True):
    """One reason for a score: the column in words, its value (None: unknown), its contribution in log-odds."""

    words: str
    unit: str
    value: float | None
    contribution: float


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A payment: `id` is the first 10 hex digits of the SHA-256 of its payment id."""

    id: str
    t_ms: int
    amount_minor: int
    p_fraud: float
    why: tuple[Why, ...]


class Examples(msgspec.Struct, frozen=True, kw_only=True):
    """At 99 % approval: the dearest frauds stopped, the dearest missed, the honest payments thought riskiest."""

    stopped: tuple[Example, ...]
    missed: tuple[Example, ...]
    false_alarms: tuple[Example, ...]


class FitReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the report tells. `quality` and what follows from it are None where `too_few` says why.

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
    families: tuple[FamilyUse, ...] = ()
    columns: tuple[ColumnUse, ...] = ()
    examples: Examples | None = None
    file: str = ""
    assumed: tuple[str, ...] = ()
    rejected: int | None = None
    simulated: bool = False


@dataclass(frozen=True, eq=False)
class _Graded:
    """What the grading shares: scored payments, the labels at the end, and which payments count."""

    data: Dataset
    forward: Forward
    captured: Bools
    fraud: Bools
    reported: F64
    maturity: float
    rows: I64

    @property
    def judged(self) -> Judged:
        y = self.fraud[self.rows].astype(np.float64)
        return Judged(self.forward.p[self.rows], y, self.data.amount_minor[self.rows].astype(np.float64))

    def draws(self, rows: I64) -> Draws:
        return Draws(blocks(self.data.t_ms[rows])[0])


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


def grade_by(data: Dataset, forward: Forward) -> _Graded:
    """Choose the payments to grade: scored, captured, and old enough that most of their fraud is known."""
    captured, fraud = data.known_at(data.cut_ms)
    reported = reported_by(DelayLaw(*data.schema.report_delay_d), (data.cut_ms - data.t_ms) / DAY_MS)
    scored = ~np.isnan(forward.p) & captured
    maturity = _maturity(reported[scored], fraud[scored])
    return _Graded(data, forward, captured, fraud, reported, maturity, np.flatnonzero(scored & (reported >= maturity)))


def _maturity(reported: F64, fraud: Bools) -> float:
    """Return the strictest maturity that leaves enough to grade; the least one where too little is mature."""
    for frauds, share in ((ENOUGH, ENOUGH_SHARE), (ENOUGH, 0.0), (FEWEST_GRADED, 0.0)):
        for maturity in MATURITIES:
            old = reported >= maturity
            if fraud[old].sum() >= frauds and old.sum() >= share * len(reported):
                return maturity
    return LEAST_REPORTED


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


def _full(bare: FitReport, graded: _Graded, shipped: Artefact | None) -> FitReport:
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
        families=families,
        columns=columns,
        examples=examples(graded),
    )


def quality(graded: _Graded) -> Quality:
    """Measure ranking, money and calibration on the graded payments, and the level by age on all that were scored."""
    data, rows, judged = graded.data, graded.rows, graded.judged
    soft = graded.fraud / np.maximum(graded.reported, LEAST_REPORTED)
    scored = np.flatnonzero(~np.isnan(graded.forward.p) & graded.captured & (graded.reported >= LEAST_REPORTED))
    age_d = (data.cut_ms - data.t_ms[scored]) / DAY_MS
    edges, p = np.array(_AGES_D), graded.forward.p
    return Quality(
        from_ms=graded.forward.folds[0].cut_ms,
        to_ms=int(data.t_ms[rows[-1]]),
        metrics=measure(
            *_columns_of(judged), target=soft[rows], groups=blocks(data.t_ms[rows])[0], resamples=RESAMPLES
        ),
        maturity=graded.maturity,
        reported=float(graded.reported[rows].mean()),
        block=blocks(data.t_ms[rows])[1],
        folds=tuple(_fold(graded, k, soft) for k in range(len(graded.forward.folds))),
        by_decile=levels(judged.p, decile_edges(judged.p), soft[rows], judged.p, graded.draws(rows)),
        by_age=levels(age_d, edges, soft[scored], p[scored], graded.draws(scored)),
        graded_minor=int(judged.amount.sum()),
        fraud_minor=int(judged.y @ judged.amount),
    )


def _columns_of(judged: Judged) -> tuple[F64, F64, F64]:
    return judged.y, judged.p, judged.amount


def _fold(graded: _Graded, k: int, soft: F64) -> FoldQuality:
    fold = graded.forward.folds[k]
    rows = graded.rows[graded.forward.fold[graded.rows] == k]
    y, amount = graded.fraud[rows].astype(np.float64), graded.data.amount_minor[rows].astype(np.float64)
    days = graded.data.t_ms[rows] // DAY_MS
    both = 0 < y.sum() < len(y)
    metrics = measure(y, graded.forward.p[rows], amount, target=soft[rows], groups=days, resamples=50) if both else None
    return FoldQuality(
        cut_ms=fold.cut_ms,
        end_ms=fold.end_ms,
        learnt_rows=fold.model.data.rows,
        learnt_frauds=fold.model.data.frauds,
        metrics=metrics,
    )


def _compared(graded: _Graded) -> AsBefore | None:
    """Compare with the decisions made then, where the log shows payments not taken, issuers' declines aside."""
    data, p = graded.data, graded.forward.p
    mature = ~np.isnan(p) & (graded.reported >= graded.maturity)
    refused = np.flatnonzero(mature & ~graded.captured & (data.background.issuer != DECLINED))
    if not len(refused):
        return None
    rows = np.concatenate((graded.rows, refused))
    return as_before(graded.judged, (p[refused], data.amount_minor[refused].astype(np.float64)), graded.draws(rows))


def uses(
    data: Dataset, model: Artefact, rows: I64, fraud: Bools
) -> tuple[tuple[FamilyUse, ...], tuple[ColumnUse, ...]]:
    """Return what a model uses: families by movement, and the columns that move the score most."""
    sample = evenly(rows, _SAMPLE)
    movement, gain = usage(model.trees, data.x[sample])
    features, total = data.plan.features, max(float(movement.sum()), 1e-300)
    named = [family(feature, data.plan) for feature in features]
    parts: dict[str, list[int]] = {}
    for column, name in enumerate(named):
        parts.setdefault(name, []).append(column)
    families = [
        FamilyUse(name, len(c), float(movement[c].sum()), float(movement[c].sum()) / total, float(gain[c].sum()))
        for name, c in parts.items()
    ]
    bad, honest = evenly(rows[fraud[rows]], _SAMPLE), evenly(rows[~fraud[rows]], _SAMPLE)
    strongest = np.argsort(-movement, kind="stable")[:_COLUMNS].tolist()
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


def examples(graded: _Graded) -> Examples:
    """Return payments that show what the models do, at 99 % approval."""
    judged = graded.judged
    declined = declined_share(judged.p, _EXAMPLE_RATE)
    loss = judged.y * judged.amount

    def pick(order: F64, rows: Bools) -> tuple[Example, ...]:
        places = np.flatnonzero(rows)
        best = places[np.argsort(-order[places], kind="stable")][:_SHOWN]
        return tuple(_example(graded, int(graded.rows[place])) for place in best)

    return Examples(
        stopped=pick(loss, (judged.y > 0) & (declined > 0.5)),
        missed=pick(loss, (judged.y > 0) & (declined <= 0.5)),
        false_alarms=pick(judged.p, (judged.y == 0) & (declined > 0.5)),
    )


def _example(graded: _Graded, row: int) -> Example:
    data, features = graded.data, {feature.name: feature for feature in graded.data.plan.features}
    model = Model(graded.forward.folds[int(graded.forward.fold[row])].model)
    (scored,) = model.score(data.x[row : row + 1], 3)
    return Example(
        id=hashlib.sha256(data.background.payment_ids[row].encode()).hexdigest()[:_ID_DIGITS],
        t_ms=int(data.t_ms[row]),
        amount_minor=int(data.amount_minor[row]),
        p_fraud=float(graded.forward.p[row]),
        why=tuple(
            Why(in_words(features[r.feature]), unit(features[r.feature]), r.value, r.contribution)
            for r in scored.reasons
        ),
    )
