"""How long fraud reports take: estimated from a merchant's own reports, leaning on the law that it declares.

A report is seen only if it came before now, so young payments show their short delays alone: delays are
right-truncated. In reverse time that is mere late entry, and the product-limit estimate applies (Lagakos, Barraj &
De Gruttola 1988; Seaman, Presanis & Jackson 2022 review it):

    F(k) = Π over bins j > k of (1 − dⱼ / nⱼ)

with dⱼ the reports that took a time of bin j, and nⱼ those that took no longer, of payments at least as old. No history
tells of delays beyond its own length. So each reverse hazard has a Beta prior worth PRIOR_REPORTS reports of the
declared law, seen in full: dⱼ gains their share in bin j, nⱼ their share up to it. Where payments are many the data
speak; beyond the oldest of them the estimate keeps the declared law's shape.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from avalist.domain.delay import LONGEST_D, DelayLaw
from avalist.models.trees import F64

PRIOR_REPORTS: Final = 20.0
"""Reports of the declared law that the merchant's own are added to."""
LEAST_REPORTED: Final = 0.05
"""A payment of which less is expected to be known is too young to be judged."""
_DRAWS: Final = 400
_LAST_D, _TAIL = 36_500.0, 40
_STEPS_D: Final = ((0.0, 14.0, 0.25), (14.0, 60.0, 0.5))


class ReportDelay(msgspec.Struct, frozen=True):
    """F(e) = P(reported by age e | fraud), as estimated.

    `declared` is the law that it leans on (median, 95th percentile, days), `reports` how many of the merchant's own it
    was estimated from: with none it *is* the declared law. `share` is F at `age_d`, between `low` and `high` with 90 %.
    """

    declared: tuple[float, float]
    reports: int
    age_d: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def reported_by(self, age_d: F64) -> F64:
        """Return F of each age in days."""
        return np.asarray(np.interp(age_d, self.age_d, self.share), dtype=np.float64)

    def quantile_d(self, share: float) -> tuple[float, float, float]:
        """Return the age by which a share of frauds is reported, with its 90 % interval."""
        ages = np.array(self.age_d)
        at, first, last = (
            float(ages[min(int(np.searchsorted(curve, share)), len(ages) - 1)])
            for curve in (self.share, self.high, self.low)
        )
        return at, first, last


def as_declared(declared: DelayLaw) -> ReportDelay:
    """Return the declared law itself, quick to look up for millions of ages."""
    nothing = np.zeros(0)
    return estimate(declared, nothing, nothing)


def estimate(declared: DelayLaw, delay_d: F64, age_d: F64) -> ReportDelay:
    """Estimate F from reports seen so far: their delays, and the ages that their payments have now, in days [n]."""
    edges = _edges(declared, delay_d)
    prior = np.array([declared.reported_by(edge) for edge in edges.tolist()])
    bin = np.maximum(np.searchsorted(edges, delay_d, side="left"), 1)
    oldest = np.searchsorted(edges, age_d, side="right") - 1
    seen = bin <= oldest  # a bin is at risk once the payment has lived through all of it
    n = len(edges)
    reported = np.bincount(bin[seen], minlength=n)[:n].astype(np.float64)
    entered = np.cumsum(reported) - np.concatenate(([0.0], np.cumsum(np.bincount(oldest[seen], minlength=n))[: n - 1]))
    a = reported[1:] + PRIOR_REPORTS * np.diff(prior)
    b = np.maximum(entered[1:] - reported[1:], 0.0) + PRIOR_REPORTS * prior[:-1]
    share = _product(np.divide(b, a + b, out=np.ones(n - 1), where=a + b > 0.0), prior[-1])
    drawn = np.random.default_rng(0).beta(b + 1e-9, a + 1e-9, (_DRAWS, n - 1))
    low, high = np.quantile(_product(drawn, prior[-1]), [0.05, 0.95], axis=0)
    curves = (tuple(curve.tolist()) for curve in (edges, share, low, high))
    return ReportDelay((declared.median_d, declared.p95_d), int(seen.sum()), *curves)


def _edges(declared: DelayLaw, delay_d: F64) -> F64:
    """Return the bins' edges: fine where F is steep, then days to the longest delay seen or likely, then ever coarser.

    A constant law is a step.
    """
    end = math.ceil(max(LONGEST_D, declared.p95_d, float(delay_d.max(initial=0.0))))
    parts = [np.arange(*step) for step in _STEPS_D]
    parts += [np.arange(_STEPS_D[-1][1], end + 1.0), np.geomspace(end, max(_LAST_D, 2.0 * end), _TAIL)]
    step = [] if declared.sigma else [np.array([declared.median_d * (1.0 - 1e-9), declared.median_d])]
    return np.unique(np.concatenate(parts + step))


def _product(kept: F64, last: float) -> F64:
    """Return F at each edge from the shares kept by each bin [..., n − 1], given F at the last edge."""
    after = np.cumprod(kept[..., ::-1], axis=-1)[..., ::-1] * last
    ends = np.full((*kept.shape[:-1], 1), last)
    share = np.concatenate((after, ends), axis=-1)
    share[..., 0] = 0.0
    return np.asarray(share, dtype=np.float64)
