"""What tells that today's payments are not those that a model learnt from, with control of how many tests there are."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.models.trees import F32, F64

BINS: Final = 10
_LEAST_SHARE: Final = 1e-4


def two_sided(z: float) -> float:
    """Return the p-value of a standard normal z.

    >>> round(two_sided(1.959964), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2.0))


class Shift(NamedTuple):
    """How a column moved: population stability index, Kolmogorov–Smirnov distance and its p-value."""

    psi: float
    distance: float
    p_value: float


def shift(before: F32, now: F32) -> Shift:
    """Compare a column's values, float32 [n] and [m]; unknown ones are a bin of the PSI, no part of the distance."""
    known, later = np.sort(before[~np.isnan(before)]), np.sort(now[~np.isnan(now)])
    if not len(known) or not len(later):
        return Shift(_psi(before, now, known), 0.0, 1.0)
    every = np.concatenate((known, later))
    below = np.searchsorted(known, every, side="right") / len(known)
    above = np.searchsorted(later, every, side="right") / len(later)
    distance = float(np.abs(below - above).max())
    return Shift(_psi(before, now, known), distance, _kolmogorov(distance, len(known), len(later)))


def _psi(before: F32, now: F32, known: F32) -> float:
    """Return Σ (q − p)·ln(q/p) over tenths of the earlier known values, and the unknown."""
    edges = np.unique(known[(len(known) * np.arange(1, BINS)) // BINS]) if len(known) else known
    p, q = (_shares(values, edges) for values in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def _shares(values: F32, edges: F32) -> F64:
    unknown = np.isnan(values)
    place = np.where(unknown, len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counted = np.bincount(place, minlength=len(edges) + 2)
    return np.maximum(counted / max(len(values), 1), _LEAST_SHARE)


def _kolmogorov(distance: float, n: int, m: int) -> float:
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
