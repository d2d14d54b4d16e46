"""Off-policy evaluation: what another policy would have earned, from decisions whose propensities were logged.

Two things can be done with a payment: let it in, or not. What letting it in earns is seen only where it was let in;
exploration sees to it that some of what would have been declined is. The sources: inverse propensity scoring, clipping
(Horvitz & Thompson 1952; Bottou et al. 2013), self-normalised (Swaminathan & Joachims 2015), doubly robust (Dudík,
Langford & Li 2011), effective sample size (Kish 1965), intervals corrected for skewness (Hall 1992).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.errors import BadInput
from avalist.models.metrics import Interval
from avalist.models.trees import F64, I64

MOST_WEIGHT: Final = 200.0
"""Weights end here: a payment let in with a smaller probability than 1/200 counts as if it were 1/200."""
_Z: Final = NormalDist().inv_cdf(0.95)
_FEWEST_CLUSTERS: Final = 2
_STRAIGHT: Final = 1e-9
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Logged:
    """Decisions that were made, and what became of those let in; float64 [n] but for the first and the last.

    `propensity` is the logged probability that a payment is let in: 1 where no draw could have declined it, 0 where
    none could have released it. `taken` (captured) and `fraud` are what became of it, 0 where it was not let in;
    a fraud that was reported counts 1/`reported`, the share of frauds that is reported at the payment's age. `p_taken`
    and `p_fraud` are what was expected without knowing them: fitted on earlier payments, so nothing need be split.
    Payments of one `cluster` share a draw.

    Raises
    ------
    BadInput
        If a propensity is no probability, or says that what was done could not be done.
    """

    let_in: Bools
    propensity: F64
    taken: F64
    fraud: F64
    p_taken: F64
    p_fraud: F64
    reported: F64
    cluster: I64

    def __post_init__(self) -> None:
        e = self.propensity
        possible = np.where(self.let_in, e > 0.0, e < 1.0) & (e >= 0.0) & (e <= 1.0)
        if not possible.all():
            n = int(np.flatnonzero(~possible)[0])
            raise BadInput(
                "the logged propensity contradicts what was done",
                field=f"propensity[{n}]",
                expected="above 0 where a payment was let in, below 1 where it was not",
                got=f"{e[n]}",
            )

    @property
    def explored(self) -> Bools:
        """Return which payments a draw decided."""
        return np.asarray((self.propensity > 0.0) & (self.propensity < 1.0))

    @property
    def weight(self) -> F64:
        """Return 1 / propensity where let in, clipped, else 0."""
        return np.asarray(self.let_in / np.maximum(self.propensity, 1.0 / MOST_WEIGHT), dtype=np.float64)

    def only(self, rows: Bools | I64) -> Logged:
        """Return some of the decisions."""
        return Logged(*(getattr(self, field.name)[rows] for field in fields(self)))


class Worth(NamedTuple):
    """What letting in brings more than declining: `sale` if the payment is taken, and `fraud` more if it is a fraud.

    Every figure of a policy is of this form: profit, chargebacks, honest payments (1, −1), money of frauds (0, amount).
    """

    sale: F64
    fraud: F64

    def of(self, taken: F64, fraud: F64) -> F64:
        """Return the worth of payments that were taken, and frauds, so much."""
        return np.asarray(self.sale * taken + self.fraud * fraud, dtype=np.float64)

    def only(self, rows: Bools | I64) -> Worth:
        """Return that of some payments."""
        return Worth(self.sale[rows], self.fraud[rows])


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate's worth over declining everything, a payment's mean.

    `effective` is the number of payments that would tell as much without weights; `clipped` weights were cut;
    `unseen` payments the candidate would let in and the log never could have: there `doubly_robust` has the model's
    word alone, and the others count nothing.
    """

    ips: Interval
    snips: Interval
    doubly_robust: Interval
    effective: float
    clipped: int
    unseen: float


def evaluate(logged: Logged, share: F64, worth: Worth) -> Estimate:
    """Estimate a candidate that lets in a share [n] (0 to 1) of each payment."""
    seen = worth.of(logged.taken, logged.fraud)
    return Estimate(
        ips=mean(share * logged.weight * seen, logged.cluster),
        snips=mean(_normalised(logged, share, seen), logged.cluster),
        doubly_robust=difference(logged, share, worth),
        effective=effective_size(_weights(logged, share)),
        clipped=int((logged.let_in & (logged.propensity * MOST_WEIGHT < 1.0) & (share > 0.0)).sum()),
        unseen=float(share[logged.propensity == 0.0].sum()),
    )


def difference(logged: Logged, share: F64, worth: Worth) -> Interval:
    """Return the doubly robust mean of Σ share · worth; shares of two policies' difference tell what one earns more.

    The interval holds two (ADR 53): by how far what came scatters, and by how far the model expects what a draw
    released to. A draw releases few, and without a fraud among them, by luck, the first is too narrow; a model may be
    wrong, and then the second is.
    """
    values = share * pseudo(logged, worth)
    seen = mean(values, logged.cluster)
    still = np.where(logged.explored, share * worth.of(logged.p_taken, logged.p_fraud), values)
    told = mean(still, logged.cluster, _noise(logged, share, worth))
    lower, upper = told.low - told.value, told.high - told.value
    return Interval(seen.value, min(seen.low, seen.value + lower), max(seen.high, seen.value + upper))


def pseudo(logged: Logged, worth: Worth) -> F64:
    """Return what letting each payment in is worth, doubly robust: right on average if propensity or model is."""
    expected = worth.of(logged.p_taken, logged.p_fraud)
    return np.asarray(expected + logged.weight * (worth.of(logged.taken, logged.fraud) - expected), dtype=np.float64)


def false_declines(logged: Logged, declined: Bools) -> Estimate | None:
    """Estimate the share of `declined` payments that would have been taken and honest, from those that were released.

    It is of *economic* declines: of those that a draw could release. None where none was released.
    """
    rows = declined & logged.explored
    if not (rows & logged.let_in).any():
        return None
    one = np.ones(int(rows.sum()))
    return evaluate(logged.only(rows), one, Worth(one, -one))


def _weights(logged: Logged, share: F64) -> F64:
    """Return the weight of each payment, let in or not: the candidate's probability of what was done over the log's."""
    declined = (1.0 - share) / np.maximum(1.0 - logged.propensity, 1.0 / MOST_WEIGHT)
    return np.where(logged.let_in, share * logged.weight, declined)


def _normalised(logged: Logged, share: F64, seen: F64) -> F64:
    """Return values whose mean is the self-normalised estimate, and whose spread is its own.

    Only where a draw decided are weights random, so only there are they normalised.
    """
    weights, drawn = _weights(logged, share), logged.explored
    values, normal = weights * seen, weights[drawn].mean() if drawn.any() else 0.0
    if normal:
        level = values[drawn].mean() / normal
        values[drawn] = level + weights[drawn] * (seen[drawn] - level) / normal
    return values


def _noise(logged: Logged, share: F64, worth: Worth) -> tuple[float, float]:
    """Return the sums of squares and of cubes by which a draw's weighted outcomes are expected to miss the model."""
    drawn = logged.explored
    e = np.maximum(logged.propensity[drawn], 1.0 / MOST_WEIGHT)
    sale, fraud = share[drawn] * worth.sale[drawn], share[drawn] * worth.fraud[drawn]
    c, p, known = logged.p_taken[drawn], logged.p_fraud[drawn], logged.reported[drawn]
    centre = sale * c + fraud * p
    outcomes = ((p * known, sale + fraud / known), (c - p * known, sale), (1.0 - c, 0.0 * sale))
    squares, cubes = (float((sum(q * (v - centre) ** k for q, v in outcomes) / e ** (k - 1)).sum()) for k in (2, 3))
    return squares, cubes


def effective_size(weight: F64) -> float:
    """Return Kish's effective sample size, (Σw)²/Σw².

    >>> effective_size(np.array([1.0, 1.0, 0.0])), effective_size(np.array([3.0, 1.0]))
    (2.0, 1.6)
    """
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def mean(values: F64, cluster: I64, noise: tuple[float, float] = (0.0, 0.0)) -> Interval:
    """Return the mean of values [n] with a 90 % interval; payments of one cluster are not independent.

    Values are skewed, a rare loss is many times a gain, and a symmetric interval would miss on one side. `noise` is
    known beforehand, the squares and cubes that it adds to the sum: its spread does not grow with what came, so its
    skewness bends the interval the other way. NaN ends with fewer than two clusters.
    """
    value = float(values.mean()) if len(values) else np.nan
    _, place = np.unique(cluster, return_inverse=True)
    sums = np.bincount(place, values - value) if len(values) else np.empty(0)
    n = len(sums)
    if n < _FEWEST_CLUSTERS:
        return Interval(value, np.nan, np.nan)
    own = float(sums @ sums)
    squares = own + noise[0]
    if squares == 0.0:
        return Interval(value, value, value)
    skew, known = float((sums**3).sum()) / squares**1.5, noise[1] / squares**1.5
    unit = float(np.sqrt(own * n / (n - 1) + noise[0])) / len(values)
    return Interval(value, value - unit * _bent(_Z, skew, known), value - unit * _bent(-_Z, skew, known))


def _bent(z: float, skew: float, known: float) -> float:
    """Return the t of a normal quantile z with ((1 + at)³ − 1)/3a + b = z, Hall's cubic transformation turned back.

    By Cornish and Fisher a sum with its estimated spread needs a = γ/3, b = γ/6; with a known spread a = −γ/6, b = γ/6.
    """
    a, x = (2.0 * skew - known) / 6.0, z - (skew + known) / 6.0
    return x if abs(a) < _STRAIGHT else float((np.cbrt(1.0 + 3.0 * a * x) - 1.0) / a)
