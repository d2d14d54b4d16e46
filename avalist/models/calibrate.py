"""From a margin to a probability: a strictly increasing, piecewise linear map of log-odds.

The map starts as Platt's line (1999), fitted with Gaussian priors that its slope is 1 and its shift 0. With 50 frauds
or more the line is corrected where the data say so: rows are cut by margin into bins of equal Fisher information, ten
frauds or so each, and a bin's odds are multiplied by its credibility factor (κ + O)/(κ + E), of frauds observed and
expected, over the same for honest payments. Pooling adjacent violators (isotonic regression) makes the bins' log-odds
increase; the result is interpolated between bin centres and leaves the outer centres with Platt's slope.

Reports come late: a fraud of age e is seen with probability F(e), so what is seen is Bernoulli(p·F). That likelihood is
fitted; it weighs a payment by what its age can tell, where o/F would give a young one's luck a weight of twenty.

The map ends where the evidence does. No probability is above the largest of (O + ½)/(N + 1) over the groups of
riskiest payments of the slice, none below the least over the groups of safest, with O the frauds seen and N = ΣF
payments: the mean of a rate under Jeffreys' prior, as Platt's own targets are under Laplace's. Within one log-odds of
either bound the map bends towards it, and runs nearly flat from there on.

Isotonic regression proper has flat steps: thousands of payments with one probability, whose ranking is lost to whoever
sorts by it (average precision, review queues). Here pooled bins become *one knot* with a sloping line on either side,
so two margins give equal probabilities only where the clip to [1e-6, 1 − 1e-6] or the rounding to 1e-9 makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from avalist.domain.errors import BadInput
from avalist.features.elementary import ln, sigmoid
from avalist.features.jit import jit
from avalist.models.trees import F32, F64, I64

FEWEST_FRAUDS: Final = 50
"""Below this Platt's line stands alone."""
LEAST: Final = 1e-6
_FRAUDS_PER_BIN: Final = 10
_MOST_BINS: Final = 64
_CREDIBILITY: Final = 2.0
"""κ: frauds, and honest payments, of belief in Platt's line per bin."""
_SLOPE_PRECISION: Final = 4.0
_LEVEL_PRECISION: Final = 4.0
_LEAST_SLOPE: Final = 0.05
_BEND: Final = 1.0
"""Log-odds from a bound at which the map begins to bend."""
_BENT: Final = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5])
_FLAT: Final = 0.01
"""Slope beyond the last bend."""


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


def calibrate(margins: F64, y: F64, reported: F64 | None = None) -> Calibration:
    """Fit the map on payments later than the trees' training.

    Parameters
    ----------
    margins
        The trees' margins [n].
    y
        1 where a fraud report was logged, else 0 [n].
    reported
        F, the probability that a fraud would have been reported by now [n]; None: every label is known.

    Raises
    ------
    BadInput
        If there is no row, no fraud or nothing but fraud.
    """
    frauds = int(np.count_nonzero(y))
    if not 0 < frauds < len(y):
        raise BadInput("calibration needs frauds and honest payments: widen its slice", got=f"{frauds} of {len(y)}")
    order = np.argsort(margins, kind="stable")
    seen = _Seen(margins[order], y[order], np.ones(len(y)) if reported is None else reported[order])
    slope, intercept = _platt(seen)
    if frauds < FEWEST_FRAUDS:
        knots, log_odds = np.zeros(1), np.array([intercept])
    else:
        knots, log_odds = _pool(*_bins(seen, slope, intercept))
    return _bounded(knots, log_odds, slope, *_bounds(seen))


def calibrate_scores(scores: F64, y: F64, reported: F64 | None = None) -> Calibration:
    """Fit the map on scores of any scale, such as a regression's: as :func:`calibrate`, whose belief is about log-odds.

    They are first put on a scale where that belief is sound: variance 1, and a mean at which it expects the frauds that
    there are (of odds whose logarithm is normal the mean is half a variance above the median).
    """
    rate = (np.count_nonzero(y) + 0.5) / (len(y) + 1.0)
    middle, mean, spread = math.log(rate / (1.0 - rate)) - 0.5, float(scores.mean()), float(scores.std()) or 1.0
    made = calibrate((scores - mean) / spread + middle, y, reported)
    return Calibration((made.knots - middle) * spread + mean, made.log_odds, made.slope / spread)


def _sigmoid(z: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -500.0, 500.0))), dtype=np.float64)


class _Seen(NamedTuple):
    """Payments by ascending margin: whether each was reported, and with what probability it would be, were it fraud."""

    margins: F64
    y: F64
    reported: F64


def report_loss(z: F64, y: F64, reported: F64) -> F64:
    """Return −log likelihood of reports y ~ Bernoulli(F·σ(z)) [n], less a constant log F per report."""
    loss = np.empty(len(z))
    _losses(z, y, reported, loss)
    return loss


def recalibrated_loss(margins: F64, y: F64, reported: F64) -> F64:
    """Return :func:`report_loss` of margins after Platt's line, fitted on them [n]: what is lost by their order.

    Minima of the loss itself come too early where trees grow too sure (Berta, Holzmüller, Jordan and Bach, "Rethinking
    early stopping: refine, then calibrate", 2025).
    """
    slope, intercept = _platt(_Seen(margins, y, reported))
    return report_loss(slope * margins + intercept, y, reported)


@jit
def _losses(z: F64, y: F64, reported: F64, loss: F64) -> None:
    for n in range(z.size):
        growth = math.exp(-abs(z[n]))  # of the rarer side, so that nothing overflows
        rarer, other = growth / (1.0 + growth), 1.0 / (1.0 + growth)
        if y[n] > 0.0:
            loss[n] = max(-z[n], 0.0) + math.log1p(growth)
        else:
            p, honest = (other, rarer) if z[n] > 0.0 else (rarer, other)
            loss[n] = -math.log(max(honest + p * (1.0 - reported[n]), 1e-300))


def report_gradient(z: F64, y: F64, reported: F64) -> tuple[F64, F64]:
    """Return the derivative in z of :func:`report_loss`, and its Fisher information, both [n]."""
    gradient, information = np.empty(len(z)), np.empty(len(z))
    _gradients(z, y, reported, np.ones(len(z)), gradient, information)
    return gradient, information


def weighted_gradient(z: F64, y: F64, reported: F64, weight: F64) -> tuple[F32, F32]:
    """Return :func:`report_gradient` of weighted rows as LightGBM takes it, both float32 [n]."""
    gradient, information = np.empty(len(z), np.float32), np.empty(len(z), np.float32)
    _gradients(z, y, reported, weight, gradient, information)
    return gradient, information


@jit
def _gradients(z: F64, y: F64, reported: F64, weight: F64, gradient: F64 | F32, information: F64 | F32) -> None:
    """Fill both in one pass: a training calls this once a tree, for every row."""
    for n in range(z.size):
        p = 1.0 / (1.0 + math.exp(-min(max(z[n], -500.0), 500.0)))
        honest = max(1.0 - p, 1e-15)
        expected = p * reported[n]
        share = honest / (honest + p - expected)
        gradient[n] = weight[n] * (share * (expected - y[n]))
        information[n] = weight[n] * (share * honest * expected)


def _platt(seen: _Seen) -> tuple[float, float]:
    """Return slope and intercept by Fisher scoring with step halving; priors: slope 1, shift 0."""
    centre = float(seen.margins.mean())
    design = np.stack((seen.margins - centre, np.ones(len(seen.y))), axis=1)
    share = min(float(seen.y.sum() / max(seen.reported.sum(), 1.0)), 0.5)
    prior, precision = np.array([1.0, centre]), np.array([_SLOPE_PRECISION, _LEVEL_PRECISION])
    theta = np.array([1.0, float(ln(share / (1.0 - share)))])

    def fit(at: F64) -> tuple[float, F64, F64]:
        loss = report_loss(design @ at, seen.y, seen.reported)
        gradient, information = report_gradient(design @ at, seen.y, seen.reported)
        off = precision * (at - prior)
        curvature = (design.T * information) @ design + np.diag(precision)
        return float(loss.sum() + 0.5 * off @ (at - prior)), design.T @ gradient + off, curvature

    fitted = fit(theta)
    for _ in range(100):
        loss, gradient, curvature = fitted
        step = np.linalg.solve(curvature, gradient)
        while (fitted := fit(theta - step))[0] > loss and np.abs(step).max() > 1e-10:
            step *= 0.5
        if np.abs(step).max() <= 1e-10:
            break
        theta = theta - step
    slope = max(float(theta[0]), _LEAST_SLOPE)
    return slope, float(theta[1]) - slope * centre


def _bins(seen: _Seen, slope: float, intercept: float) -> tuple[F64, F64, F64]:
    """Return each bin's centre, corrected log-odds and information."""
    margins, z = seen.margins, slope * seen.margins + intercept
    information = np.maximum(report_gradient(z, seen.y, seen.reported)[1], 1e-300)
    wanted = int(np.clip(np.count_nonzero(seen.y) // _FRAUDS_PER_BIN, 1, _MOST_BINS))
    cumulative = np.cumsum(information)
    edges = np.searchsorted(cumulative, cumulative[-1] * np.arange(wanted) / wanted)
    starts: I64 = np.unique(edges[np.concatenate(([True], margins[edges[1:]] > margins[edges[1:] - 1]))])
    weight = np.add.reduceat(information, starts)
    centre = np.add.reduceat(information * margins, starts) / weight
    rows, observed = np.add.reduceat(seen.reported, starts), np.add.reduceat(seen.y, starts)
    expected = np.add.reduceat(seen.reported * _sigmoid(z), starts)
    factor = (_CREDIBILITY + observed) / (_CREDIBILITY + expected)
    factor *= (_CREDIBILITY + rows - expected) / (_CREDIBILITY + np.maximum(rows - observed, 0.0))
    return centre, slope * centre + intercept + np.log(factor), weight


def _bounds(seen: _Seen) -> tuple[float, float]:
    """Return the least and the largest log-odds that the safest and the riskiest groups of any size support."""

    def rates(y: F64, reported: F64) -> F64:
        frauds = np.cumsum(y)
        return np.asarray((frauds + 0.5) / (np.maximum(np.cumsum(reported), frauds) + 1.0), dtype=np.float64)

    low = float(rates(seen.y, seen.reported).min())
    high = float(rates(seen.y[::-1], seen.reported[::-1]).max())
    return math.log(low / (1.0 - low)), math.log(high / (1.0 - high))


def _bounded(knots: F64, log_odds: F64, slope: float, low: float, high: float) -> Calibration:
    """Return the map of these knots and outer slope, bent towards its bounds."""
    bend = min(_BEND, max(high - low, 1e-3) / 4.0)
    bends = np.concatenate((low + bend - bend * _BENT[::-1], high - bend + bend * _BENT))
    z = np.unique(np.concatenate((log_odds, bends)))
    at = np.interp(z, log_odds, knots) + (np.minimum(z - log_odds[0], 0.0) + np.maximum(z - log_odds[-1], 0.0)) / slope
    above, below = np.maximum(z - (high - bend), 0.0), np.maximum(low + bend - z, 0.0)
    bent = np.where(above > 0.0, high - bend * np.exp(-above / bend), z)
    bent = np.where(below > 0.0, low + bend * np.exp(-below / bend), bent)
    return Calibration(at, bent, _FLAT)


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
