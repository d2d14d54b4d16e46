"""How a model is judged (modelling §6): ranking with its prevalence, money caught, calibration, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.errors import BadInput
from avalist.features.jit import jit
from avalist.models.trees import F64, I64

APPROVAL_RATES: Final = (0.97, 0.98, 0.99)
DECILES: Final = 10
Mask = npt.NDArray[np.bool_]
_AP, _AUC, _LEVEL, _RECALL = range(4)
"""Places of what is measured; the value recalls stand last."""


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
    """Payments from risky to safe, to be measured again and again under weights by block, in one pass and no sort."""

    def __init__(self, y: F64, p: F64, amount: F64, expected: F64, blocks: I64) -> None:
        self.order = np.argsort(-p, kind="stable")
        descending = p[self.order]
        self._end = np.append(descending[1:] != descending[:-1], True)  # equal probabilities are one group
        self.y, self._amount, self.expected = y[self.order], amount[self.order], expected[self.order]
        _, self._block = np.unique(blocks, return_inverse=True)
        self._rows = np.bincount(self._block).astype(np.float64)
        self._frauds = np.bincount(self._block, y)
        self._block = self._block[self.order]

    def measure(self, rates: Sequence[float], weight: F64 | None = None) -> F64:
        """Return average precision, ROC AUC, Σ y / Σ expected and the value recalls; `weight` [blocks], None: ones."""
        weight = np.ones(len(self._rows)) if weight is None else weight
        declined = (1.0 - np.asarray(rates, np.float64)) * (weight @ self._rows)
        found = np.zeros(_RECALL + len(declined))
        _measure(weight, self._block, self._end, self.y, self._amount, self.expected, declined, found)
        return found

    def drawn(self, rates: Sequence[float], resamples: int, seed: int) -> tuple[Interval, ...]:
        """Return what :meth:`measure` does with intervals: Poisson(1) weights; draws of one class are left out."""
        rng, found = np.random.default_rng(seed), [np.full(_RECALL + len(rates), np.nan)]
        for _ in range(resamples):
            weight = rng.poisson(1.0, len(self._rows)).astype(np.float64)
            if 0.0 < weight @ self._frauds < weight @ self._rows:
                found.append(self.measure(rates, weight))
        low, high = np.quantile(found[1:] or found, [0.05, 0.95], axis=0).tolist()
        return tuple(map(Interval, self.measure(rates).tolist(), low, high))


@jit
def _measure(
    weight: F64, block: I64, end: Mask, y: F64, amount: F64, expected: F64, declined: F64, found: F64
) -> None:  # fmt: skip
    """Fill `found` (zeros) from the riskiest payment to the safest: areas under steps of one probability each."""
    n, tp, caught, due = 0.0, 0.0, 0.0, 0.0
    n_before, tp_before, caught_before = 0.0, 0.0, 0.0
    for i in range(y.size):
        w = weight[block[i]]
        n += w
        tp += w * y[i]
        caught += w * y[i] * amount[i]
        due += w * expected[i]
        if not end[i] or n == n_before:
            continue
        found[_AP] += (tp - tp_before) * tp / n
        found[_AUC] += (n - tp - n_before + tp_before) * (tp + tp_before) / 2.0
        for k in range(declined.size):
            if n_before <= declined[k] < n:
                share = (declined[k] - n_before) / (n - n_before)
                found[_RECALL + k] = caught_before + share * (caught - caught_before)
        n_before, tp_before, caught_before = n, tp, caught
    found[_AP] /= tp
    found[_AUC] /= tp * (n - tp)
    found[_LEVEL] = tp / due
    for k in range(declined.size):
        found[_RECALL + k] = (found[_RECALL + k] if declined[k] < n else caught) / max(caught, 1e-300)


def _alone(y: F64, p: F64, amount: F64 | None = None) -> _Ranked:
    """Return rows that are measured as they are."""
    return _Ranked(y, p, np.ones(len(y)) if amount is None else amount, np.ones(len(y)), np.zeros(len(y), np.int64))


def roc_auc(y: F64, p: F64) -> float:
    """Return the probability that a fraud ranks above an honest payment, ties counting half.

    >>> roc_auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    return float(_alone(y, p).measure(())[_AUC])


def average_precision(y: F64, p: F64) -> float:
    """Return Σ (recall step × precision) over distinct scores; a blind scorer gets the prevalence.

    >>> average_precision(np.array([0.0, 1.0]), np.array([0.9, 0.1]))
    0.5
    """
    return float(_alone(y, p).measure(())[_AP])


def value_recall(y: F64, p: F64, amount: F64, approval_rate: float) -> float:
    """Return the share of the defrauded amount among the ``1 − approval_rate`` riskiest payments, ties split evenly.

    >>> amount = np.array([30.0, 10.0, 5.0, 5.0])
    >>> value_recall(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.2, 0.3]), amount, 0.75)
    0.75
    """
    return float(_alone(y, p, amount).measure((approval_rate,))[_RECALL])


def value_recalls(
    y: F64, p: F64, amount: F64, rates: Sequence[float], *, groups: I64, resamples: int = 200, seed: int = 0
) -> tuple[Interval, ...]:
    """Return :func:`value_recall` at each approval rate with the interval that :func:`report` would give it."""
    return _Ranked(y, p, amount, np.ones(len(y)), groups).drawn(rates, resamples, seed)[_RECALL:]


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
    ranked = _Ranked(y, p, amount, expected, np.arange(len(y)) if groups is None else groups)
    intervals = ranked.drawn(APPROVAL_RATES, resamples, seed)
    return Report(
        rows=len(y),
        frauds=frauds,
        prevalence=frauds / len(y),
        average_precision=intervals[_AP],
        roc_auc=intervals[_AUC],
        observed_expected=intervals[_LEVEL],
        value_recall=intervals[_RECALL:],
        by_decile=_by_decile(ranked.y[::-1], ranked.expected[::-1]),
        brier=float(np.mean((expected - y) ** 2)),
        log_loss=float(-np.mean(np.log(np.where(y > 0.0, np.maximum(expected, 1e-12), 1.0 - expected)))),
    )


def _by_decile(y: F64, expected: F64) -> tuple[float, ...]:
    """Return observed/expected in tenths of equal expected frauds, in the order given."""
    cumulative = np.cumsum(expected)
    bounds = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, DECILES) / DECILES)
    parts = zip(np.split(y, bounds), np.split(expected, bounds), strict=True)
    return tuple(float(o.sum() / e.sum()) if len(e) else 1.0 for o, e in parts)
