"""The law of how long a fraud report takes: lognormal by its median and 95th percentile (architecture §7)."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

import msgspec

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)
LONGEST_D = 180.0
"""Drawn delays end here: schemes close disputes after 120 days, and what comes later is rare."""


class DelayLaw(msgspec.Struct, frozen=True):
    """Lognormal delay with the given median and 95th percentile, in days; equal values make it a constant.

    >>> law = DelayLaw(25.0, 90.0)
    >>> round(law.reported_by(25.0), 3), round(law.reported_by(90.0), 3), law.reported_by(0.0)
    (0.5, 0.95, 0.0)
    >>> DelayLaw(7.0, 7.0).draw_d("any payment")
    7.0
    """

    median_d: float
    p95_d: float

    @property
    def sigma(self) -> float:
        """Return the standard deviation of the delay's logarithm."""
        return math.log(self.p95_d / self.median_d) / _Z95

    def reported_by(self, age_d: float) -> float:
        """Return F(e) = P(reported by age e | fraud)."""
        if age_d <= 0:
            return 0.0
        if self.sigma == 0.0:
            return float(age_d >= self.median_d)
        return _NORMAL.cdf(math.log(age_d / self.median_d) / self.sigma)

    def draw_d(self, id: str) -> float:
        """Draw a delay of at most LONGEST_D days, seeded by an id: the same id gives the same delay."""
        word = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")
        return min(self.median_d * math.exp(self.sigma * _NORMAL.inv_cdf((word + 0.5) / 2**64)), LONGEST_D)
