"""How a model is judged (modelling §6): ranking with its prevalence, money caught, calibration, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from avalist.domain.errors import BadInput
from avalist.models.trees import F64, I64

APPROVAL_RATES: Final = (0.97, 0.98, 0.99)
DECILES: Final = 10


class Interval(msgspec.Struct, frozen=True):
    """A value with its 90 % bootstrap interval."""

    value: float
    low: float
    high: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one slice.

    `prevalence` is the average precision of a blind scorer. `value_recall` is the share of the defrauded amount that
    declining the riskiest 3, 2 and 1 % of payments stops (APPROVAL_RATES). `observed_expected` is Σ y / Σ pF, of frauds
    reported and expected to be reported by now; `by_decile` the same in tenths of equal Σ pF, safest first. `brier` and
    `log_loss` are of pF too.
    """

    rows: int
    frauds: int
    prevalence: float
    average_precision: Interval
    roc_auc: Interval
    value_recall: tuple[Interval, ...]
    observed_expected: Interval
    by_decile: tuple[float, ...]
    brier: float
    log_loss: float


class _Ranked:
    """Rows from risky to safe, equal probabilities in one group, so that a reweighting costs no sort."""

    def __init__(self, y: F64, p: F64, amount: F64) -> None:
        self.order = np.argsort(-p, kind="stable")
        descending = p[self.order]
        self.ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
        self.y, self.amount = y[self.order], amount[self.order]

    def cumulate(self, values: F64) -> F64:
        return np.asarray(np.cumsum(values)[self.ends], dtype=np.float64)

    def roc_auc(self, weight: F64) -> float:
        tp, fp = self.cumulate(weight * self.y), self.cumulate(weight * (1.0 - self.y))
        return float(np.trapezoid(np.append(0.0, tp), np.append(0.0, fp)) / (tp[-1] * fp[-1]))

    def average_precision(self, weight: F64) -> float:
        tp, n = self.cumulate(weight * self.y), self.cumulate(weight)
        return float(np.sum(np.diff(tp, prepend=0.0) * tp / np.maximum(n, 1e-300)) / tp[-1])

    def value_recall(self, weight: F64, approval_rates: Sequence[float]) -> list[float]:
        caught, n = self.cumulate(weight * self.y * self.amount), self.cumulate(weight)
        declined = (1.0 - np.asarray(approval_rates)) * n[-1]
        stopped = np.interp(declined, np.append(0.0, n), np.append(0.0, caught)) / max(float(caught[-1]), 1e-300)
        return [float(share) for share in stopped]


def roc_auc(y: F64, p: F64) -> float:
    """Return the probability that a fraud ranks above an honest payment, ties counting half.

    >>> roc_auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    return _Ranked(y, p, np.ones(len(y))).roc_auc(np.ones(len(y)))


def average_precision(y: F64, p: F64) -> float:
    """Return Σ (recall step × precision) over distinct scores; a blind scorer gets the prevalence.

    >>> average_precision(np.array([0.0, 1.0]), np.array([0.9, 0.1]))
    0.5
    """
    return _Ranked(y, p, np.ones(len(y))).average_precision(np.ones(len(y)))


def value_recall(y: F64, p: F64, amount: F64, approval_rate: float) -> float:
    """Return the share of the defrauded amount among the ``1 − approval_rate`` riskiest payments, ties split evenly.

    >>> amount = np.array([30.0, 10.0, 5.0, 5.0])
    >>> value_recall(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.2, 0.3]), amount, 0.75)
    0.75
    """
    return _Ranked(y, p, amount).value_recall(np.ones(len(y)), (approval_rate,))[0]


def value_recalls(
    y: F64, p: F64, amount: F64, rates: Sequence[float], *, groups: I64, resamples: int = 200, seed: int = 0
) -> tuple[Interval, ...]:
    """Return :func:`value_recall` at each approval rate with the interval that :func:`report` would give it."""
    ranked = _Ranked(y, p, amount)

    def measure(weight: F64) -> list[float]:
        return ranked.value_recall(weight, rates)

    return _intervals(measure, _draws(groups, ranked, resamples, seed), len(y), len(rates))


def _intervals(
    measure: Callable[[F64], list[float]], draws: Iterator[F64], n: int, wanted: int
) -> tuple[Interval, ...]:
    drawn = np.array([measure(weight) for weight in draws] or [[np.nan] * wanted])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0).tolist()
    return tuple(map(Interval, measure(np.ones(n)), low, high))


def report(
    y: F64,
    p: F64,
    amount: F64,
    *,
    reported: F64 | None = None,
    groups: I64 | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> Report:
    """Judge probabilities against fraud reports.

    Parameters
    ----------
    y
        1 where a fraud report was logged, else 0 [n].
    p
        Calibrated probabilities in (0, 1) [n].
    amount
        Money at stake [n], any unit.
    reported
        F, the probability that a fraud would have been reported by now [n]; None: every label is known.
    groups
        Rows of one group are drawn together (day, merchant-week); each row alone if None.
    resamples
        Bootstrap draws (Poisson weights); O(n) each.
    seed
        Of the draws.

    Raises
    ------
    BadInput
        If `y` is empty or of one class.
    """
    frauds = int(np.count_nonzero(y))
    if not 0 < frauds < len(y):
        raise BadInput("metrics need frauds and honest payments: widen the last slice", got=f"{frauds} of {len(y)}")
    expected = p if reported is None else p * reported
    ranked = _Ranked(y, p, amount)
    expected_ranked = expected[ranked.order]
    draws = _draws(np.arange(len(y)) if groups is None else groups, ranked, resamples, seed)
    intervals = _intervals(_measures(ranked, expected_ranked), draws, len(y), 3 + len(APPROVAL_RATES))
    return Report(
        rows=len(y),
        frauds=frauds,
        prevalence=frauds / len(y),
        average_precision=intervals[0],
        roc_auc=intervals[1],
        observed_expected=intervals[2],
        value_recall=intervals[3:],
        by_decile=_by_decile(ranked.y[::-1], expected_ranked[::-1]),
        brier=float(np.mean((expected - y) ** 2)),
        log_loss=float(-np.mean(np.log(np.where(y > 0.0, np.maximum(expected, 1e-12), 1.0 - expected)))),
    )


def _measures(ranked: _Ranked, expected: F64) -> Callable[[F64], list[float]]:
    """Return what measures ranking, level and money under weights [n] of the ranked rows, `expected` their reports."""

    def measures(weight: F64) -> list[float]:
        level = float(weight @ ranked.y / (weight @ expected))
        recalls = ranked.value_recall(weight, APPROVAL_RATES)
        return [ranked.average_precision(weight), ranked.roc_auc(weight), level, *recalls]

    return measures


def _draws(groups: I64, ranked: _Ranked, resamples: int, seed: int) -> Iterator[F64]:
    """Yield Poisson(1) weights by group in ranked order; draws without both classes are left out."""
    rng = np.random.default_rng(seed)
    _, inverse = np.unique(groups, return_inverse=True)
    size = int(inverse.max()) + 1
    for _ in range(resamples):
        weight = rng.poisson(1.0, size).astype(np.float64)[inverse][ranked.order]
        if weight @ ranked.y > 0.0 and weight @ (1.0 - ranked.y) > 0.0:
            yield weight


def _by_decile(y: F64, expected: F64) -> tuple[float, ...]:
    """Return observed/expected in tenths of equal expected frauds, in the order given."""
    cumulative = np.cumsum(expected)
    bounds = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, DECILES) / DECILES)
    parts = zip(np.split(y, bounds), np.split(expected, bounds), strict=True)
    return tuple(float(o.sum() / e.sum()) if len(e) else 1.0 for o, e in parts)
