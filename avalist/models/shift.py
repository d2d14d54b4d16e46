"""What tells that today's payments are not those that a model learnt from, with control of how many tests there are."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.models.trees import F32, F64, I64

BINS: Final = 10
_LEAST_SHARE: Final = 1e-4
_FEWEST: Final = 30.0
"""Independent values on either side of a comparison."""


def two_sided(z: float) -> float:
    """Return the p-value of a standard normal z.

    >>> round(two_sided(1.959964), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2.0))


def edges(values: F32) -> F32:
    """Return what cuts known values into tenths, ascending; fewer where values are equal."""
    known = np.sort(values[~np.isnan(values)])
    return np.unique(known[(len(known) * np.arange(1, BINS)) // BINS]) if len(known) else known


def by_day(values: F32, day: I64, days: int, cuts: F32) -> I64:
    """Count values by day, 0 to `days` - 1, and by bin, the last one of the unknown: int64 [days, bins]."""
    width = len(cuts) + 2
    place = np.where(np.isnan(values), width - 1, np.searchsorted(cuts, values, side="right"))
    counted = np.bincount(day * width + place, minlength=days * width)
    return np.asarray(counted.reshape(days, width), np.int64)


def stability(before: I64, now: I64) -> float:
    """Return the population stability index of counts by bin: Σ (q − p)·ln(q/p)."""
    p, q = (np.maximum(counts / max(counts.sum(), 1), _LEAST_SHARE) for counts in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def design_effect(counts: I64) -> float:
    """Return by how much days differ more than independent payments would, at least 1; `counts` as ``by_day`` gives.

    Payments of a day share its waves and customers, so n of them tell as much as n over this (Kish, Survey Sampling,
    1965; Rao and Scott, JASA 1981). It is the largest of the effects on the shares up to each cut, which are what the
    Kolmogorov–Smirnov distance compares: Σ n·(F_day − F)²/(F·(1 − F)) over the days less one.
    """
    known = counts[:, :-1]
    known = known[known.sum(axis=1) > 0]
    if len(known) < 2:
        return 1.0
    n, whole = known.sum(axis=1), known.sum(axis=0).cumsum()[:-1] / known.sum()
    inside = (whole > 0.0) & (whole < 1.0)
    off = known.cumsum(axis=1)[:, :-1][:, inside] / n[:, None] - whole[inside]
    effect = (n @ off**2) / (whole * (1.0 - whole))[inside] / (len(known) - 1)
    return max(float(effect.max(initial=1.0)), 1.0)


def apart(before: F32, now: F32, effect: float = 1.0) -> tuple[float, float]:
    """Return the Kolmogorov–Smirnov distance of known values, float32 [n] and [m], and its p-value.

    `effect` is the design effect of both. Where it leaves too few, such as of a value that all payments of a day share,
    nothing can be told: the p-value is 1.
    """
    known, later = np.sort(before[~np.isnan(before)]), np.sort(now[~np.isnan(now)])
    if not len(known) or not len(later):
        return 0.0, 1.0
    every = np.concatenate((known, later))
    below = np.searchsorted(known, every, side="right") / len(known)
    above = np.searchsorted(later, every, side="right") / len(later)
    distance = float(np.abs(below - above).max())
    n, m = len(known) / effect, len(later) / effect
    return distance, _kolmogorov(distance, n, m) if min(n, m) >= _FEWEST else 1.0


def _kolmogorov(distance: float, n: float, m: float) -> float:
    """Return P(a distance at least this large) if both come from one distribution (Stephens' approximation)."""
    root = math.sqrt(n * m / (n + m))
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:  # the series does not converge there, and is 1
        return 1.0
    terms = ((-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 101))
    return min(max(2.0 * sum(terms), 0.0), 1.0)


def more_missing(before: npt.NDArray[np.bool_], now: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return by how much the share of missing values grew, and the p-value of that (two proportions)."""
    if not len(before) or not len(now):
        return 0.0, 1.0
    grown, pooled = float(now.mean() - before.mean()), float((now.sum() + before.sum()) / (len(now) + len(before)))
    deviation = math.sqrt(pooled * (1.0 - pooled) * (1.0 / len(before) + 1.0 / len(now)))
    return grown, two_sided(grown / deviation) if deviation else 1.0


def significant(p_values: F64, level: float) -> npt.NDArray[np.bool_]:
    """Return which of many tests stand when the chance of any false one is at most `level` (Holm 1979).

    >>> significant(np.array([0.001, 0.02, 0.9]), 0.05).tolist()
    [True, True, False]
    >>> significant(np.array([0.02, 0.03, 0.04]), 0.05).tolist()
    [False, False, False]
    """
    order = np.argsort(p_values, kind="stable")
    limit = level / np.maximum(len(p_values) - np.arange(len(p_values)), 1)
    stands = np.cumprod(p_values[order] <= limit) > 0
    found = np.zeros(len(p_values), np.bool_)
    found[order[stands]] = True
    return found
