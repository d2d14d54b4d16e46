"""From a margin to a probability: a strictly increasing, piecewise linear map of log-odds.

The map starts as Platt's line (1999), fitted with a Gaussian prior that the slope is 1. With 50 frauds or more the line
is corrected where the data say so: rows are cut by margin into bins of equal Fisher information p(1 − p), ten frauds or
so each, and a bin's odds are multiplied by its credibility factor (κ + O)/(κ + E), of frauds observed and expected,
over the same for honest payments. Pooling adjacent violators (isotonic regression) makes the bins' log-odds increase;
the result is interpolated between bin centres and leaves the outer centres with Platt's slope.

Isotonic regression proper has flat steps: thousands of payments with one probability, whose ranking is lost to whoever
sorts by it (average precision, review queues). Here pooled bins become *one knot* with a sloping line on either side,
so two margins give equal probabilities only where the clip to [1e-6, 1 − 1e-6] or the rounding to 1e-9 makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from avalist.domain.errors import BadInput
from avalist.features.elementary import ln, sigmoid
from avalist.features.jit import jit
from avalist.models.trees import F64, I64

FEWEST_FRAUDS: Final = 50
"""Below this Platt's line stands alone."""
LEAST: Final = 1e-6
_FRAUDS_PER_BIN: Final = 10
_MOST_BINS: Final = 64
_CREDIBILITY: Final = 2.0
"""κ: frauds, and honest payments, of belief in Platt's line per bin."""
_SLOPE_PRECISION: Final = 4.0
_LEAST_SLOPE: Final = 0.05


@jit
def probability(margin: float, knots: F64, log_odds: F64, slope: float) -> float:
    """Return P(fraud) at a margin, clipped to [1e-6, 1 − 1e-6]; O(log knots)."""
    last = knots.size - 1
    if margin <= knots[0]:
        z = log_odds[0] + slope * (margin - knots[0])
    elif margin >= knots[last]:
        z = log_odds[last] + slope * (margin - knots[last])
    else:
        i = np.searchsorted(knots, margin, side="right") - 1
        share = (margin - knots[i]) / (knots[i + 1] - knots[i])
        z = log_odds[i] + share * (log_odds[i + 1] - log_odds[i])
    return min(max(sigmoid(z), LEAST), 1.0 - LEAST)


@jit
def p_fraud(margin: float, knots: F64, log_odds: F64, slope: float) -> float:
    """Return :func:`probability` rounded to 1e-9, the number that everything is decided on."""
    return math.floor(probability(margin, knots, log_odds, slope) * 1e9 + 0.5) / 1e9


@jit
def _apply(margins: F64, knots: F64, log_odds: F64, slope: float, out: F64) -> None:
    for i in range(margins.size):
        out[i] = p_fraud(margins[i], knots, log_odds, slope)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted map: strictly increasing `log_odds` at strictly increasing `knots` (margins), `slope` beyond them.

    One knot is Platt's line.

    >>> Calibration(np.array([0.0]), np.array([0.0]), 1.0).apply(np.array([-40.0, 0.0, 1.0])).tolist()
    [1e-06, 0.5, 0.731058579]
    """

    knots: F64
    log_odds: F64
    slope: float

    def __post_init__(self) -> None:
        self.knots.setflags(write=False)
        self.log_odds.setflags(write=False)

    def apply(self, margins: F64) -> F64:
        """Return :func:`p_fraud` of each margin."""
        out = np.empty(len(margins), np.float64)
        _apply(margins, self.knots, self.log_odds, self.slope, out)
        return out


def calibrate(margins: F64, target: F64) -> Calibration:
    """Fit the map on payments later than the trees' training.

    Parameters
    ----------
    margins
        The trees' margins [n].
    target
        Soft targets o/F ≥ 0 [n] (modelling §1); 0 or 1 where every label is known.

    Raises
    ------
    BadInput
        If there is no row, no fraud or nothing but fraud.
    """
    frauds = int(np.count_nonzero(target))
    if not 0 < frauds < len(target):
        raise BadInput(
            "calibration needs frauds and honest payments: widen its slice", got=f"{frauds} of {len(target)}"
        )
    slope, intercept = _platt(margins, target)
    if frauds < FEWEST_FRAUDS:
        return Calibration(np.zeros(1), np.array([intercept]), slope)
    order = np.argsort(margins, kind="stable")
    knots, log_odds, weight = _bins(margins[order], target[order], slope, intercept)
    return Calibration(*_pool(knots, log_odds, weight), slope)


def _sigmoid(z: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -500.0, 500.0))), dtype=np.float64)


def _platt(margins: F64, target: F64) -> tuple[float, float]:
    """Return slope and intercept by Newton's method with step halving; the slope has a prior of mean 1."""
    centre = float(margins.mean())
    design = np.stack((margins - centre, np.ones(len(margins))), axis=1)
    share = min(float(target.mean()), 0.5)
    theta = np.array([1.0, float(ln(share / (1.0 - share)))])
    loss = _platt_loss(theta, design, target)
    for _ in range(100):
        p = _sigmoid(design @ theta)
        gradient = design.T @ (p - target) + np.array([_SLOPE_PRECISION * (theta[0] - 1.0), 0.0])
        curvature = (design.T * (p * (1.0 - p))) @ design + np.diag([_SLOPE_PRECISION, 1e-9])
        step = np.linalg.solve(curvature, gradient)
        while (after := _platt_loss(theta - step, design, target)) > loss and np.abs(step).max() > 1e-10:
            step *= 0.5
        if np.abs(step).max() <= 1e-10:
            break
        theta, loss = theta - step, after
    slope = max(float(theta[0]), _LEAST_SLOPE)
    return slope, float(theta[1]) - slope * centre


def _platt_loss(theta: F64, design: F64, target: F64) -> float:
    z = design @ theta
    return float(np.sum(np.logaddexp(0.0, z) - target * z)) + 0.5 * _SLOPE_PRECISION * float(theta[0] - 1.0) ** 2


def _bins(margins: F64, target: F64, slope: float, intercept: float) -> tuple[F64, F64, F64]:
    """Return each bin's centre, corrected log-odds and information; `margins` ascend."""
    p = _sigmoid(slope * margins + intercept)
    information = p * (1.0 - p)
    wanted = int(np.clip(np.count_nonzero(target) // _FRAUDS_PER_BIN, 1, _MOST_BINS))
    cumulative = np.cumsum(information)
    edges = np.searchsorted(cumulative, cumulative[-1] * np.arange(wanted) / wanted)
    starts: I64 = np.unique(edges[np.concatenate(([True], margins[edges[1:]] > margins[edges[1:] - 1]))])
    weight = np.add.reduceat(information, starts)
    centre = np.add.reduceat(information * margins, starts) / weight
    rows = np.diff(np.append(starts, len(margins)))
    observed, expected = np.add.reduceat(target, starts), np.add.reduceat(p, starts)
    honest = np.maximum(rows - observed, 0.0)
    factor = (_CREDIBILITY + observed) / (_CREDIBILITY + expected)
    factor *= (_CREDIBILITY + rows - expected) / (_CREDIBILITY + honest)
    return centre, slope * centre + intercept + np.log(factor), weight


def _pool(knots: F64, log_odds: F64, weight: F64) -> tuple[F64, F64]:
    """Merge neighbours whose log-odds do not increase into their weighted mean (pool adjacent violators; Ayer 1955)."""
    blocks: list[tuple[float, float, float]] = []
    for knot, value, mass in zip(knots.tolist(), log_odds.tolist(), weight.tolist(), strict=True):
        while blocks and blocks[-1][1] >= value:
            k, v, m = blocks.pop()
            knot, value, mass = (k * m + knot * mass) / (m + mass), (v * m + value * mass) / (m + mass), m + mass
        blocks.append((knot, value, mass))
    pooled = np.array(blocks)
    return pooled[:, 0].copy(), pooled[:, 1].copy()
