"""Sums over payments with bootstrap intervals, which payments a rate declines, and calibration by group."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.schema import DAY_MS
from avalist.models.metrics import DECILES, Interval
from avalist.models.trees import F64, I64

FEWEST_WEEKS: Final = 8
"""With fewer weeks than these, days are drawn: a handful of blocks makes no interval."""


AGES_D: Final = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0, 120.0, 180.0, 36_500.0)
"""Edges of bands of age."""
MOST_OFF: Final = 1.3
"""A level beyond this factor is off (modelling §2.5)."""


class Level(msgspec.Struct, frozen=True):
    """Payments with `low` ≤ value < `high`: how many, frauds expected and observed, observed/expected.

    Expected and observed are reports *by now*: Σ pF and Σ o.
    """

    low: float
    high: float
    payments: int
    expected: float
    observed: float
    ratio: Interval

    @property
    def off(self) -> bool:
        """Return whether the whole 90 % interval lies beyond MOST_OFF, and counts differ by three standard deviations.

        The interval knows that frauds come in waves, but nothing where all payments are of one block; Poisson does.
        """
        chance = abs(self.observed - self.expected) < 3.0 * math.sqrt(max(self.expected, 1.0))
        return not chance and (self.ratio.low > MOST_OFF or self.ratio.high < 1.0 / MOST_OFF)


def blocks(t_ms: I64) -> tuple[I64, str]:
    """Return the block of each payment that is drawn together, and its name: weeks, or days where weeks are few."""
    weeks = t_ms // (7 * DAY_MS)
    if len(np.unique(weeks)) >= FEWEST_WEEKS:
        return weeks, "week"
    return t_ms // DAY_MS, "day"


def declined_share(p: F64, approval_rate: float) -> F64:
    """Return how much of each payment is declined at an approval rate: riskiest first, equal risks evenly.

    >>> declined_share(np.array([0.9, 0.1, 0.5, 0.5]), 0.5).tolist()
    [1.0, 0.0, 0.5, 0.5]
    """
    wanted = (1.0 - approval_rate) * len(p)
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    first = np.searchsorted(-ranked, -p, side="left")
    count = np.searchsorted(-ranked, -p, side="right") - first
    return np.asarray(np.clip((wanted - first) / count, 0.0, 1.0), dtype=np.float64)


class Draws:
    """Poisson bootstrap over blocks; every statistic sees the same draws.

    Parameters
    ----------
    block
        int64 [n]: payments of one block are drawn together.
    resamples, seed
        Of the draws.
    """

    def __init__(self, block: I64, resamples: int = 400, seed: int = 0) -> None:
        self.block = block
        _, self._block = np.unique(block, return_inverse=True)
        self._blocks = int(self._block.max(initial=-1)) + 1
        self._weights = np.random.default_rng(seed).poisson(1.0, (resamples, self._blocks)).astype(np.float64)

    def sums(self, values: F64) -> F64:
        """Return the drawn sums of values [n]: the sum as it is first, then float64 [1 + resamples]."""
        by_block = np.bincount(self._block, values, self._blocks)
        return np.concatenate(([by_block.sum()], self._weights @ by_block))

    def total(self, values: F64) -> Interval:
        """Return the sum of values [n] with its 90 % interval."""
        return interval(self.sums(values))

    def ratio(self, top: F64, bottom: F64) -> Interval:
        """Return Σ top / Σ bottom with its 90 % interval; NaN where there is nothing below."""
        return interval(quotient(self.sums(top), self.sums(bottom)))


def quotient(top: F64, bottom: F64) -> F64:
    """Return top / bottom, NaN where bottom is 0."""
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom != 0.0), dtype=np.float64)


def interval(drawn: F64) -> Interval:
    """Return the first of drawn values with the 5th and 95th percentile of the others; NaNs left out."""
    others = drawn[1:][~np.isnan(drawn[1:])]
    low, high = np.quantile(others, [0.05, 0.95]).tolist() if len(others) else (np.nan, np.nan)
    return Interval(float(drawn[0]), low, high)


def levels(value: F64, edges: F64, y: F64, expected: F64, draws: Draws) -> tuple[Level, ...]:
    """Return the calibration by a value cut at `edges` (ascending, the ends included); empty groups are left out."""
    place = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2)
    found = []
    for k in np.unique(place).tolist():
        rows = place == k
        here, due = np.where(rows, y, 0.0), np.where(rows, expected, 0.0)
        low, high, sums = float(edges[k]), float(edges[k + 1]), (float(due.sum()), float(here.sum()))
        found.append(Level(low, high, int(rows.sum()), *sums, draws.ratio(here, due)))
    return tuple(found)


def decile_edges(p: F64) -> F64:
    """Return the probabilities that cut payments into tenths of equal expected frauds, both ends included."""
    ascending = np.sort(p)
    cumulative = np.cumsum(ascending)
    inner = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, DECILES) / DECILES)
    return np.unique(np.concatenate(([0.0], ascending[inner], [1.0])))


def evenly(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` of the rows, evenly spaced: a sample without a draw."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)], dtype=np.int64)
