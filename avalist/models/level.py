"""Is a level right? Frauds reported by now against those expected by now, by a test that labels need not ripen for.

Of a payment of age e a report is seen with probability p·F(e), so young payments take part, each by what its age can
tell (modelling §2.6). A level is never quite right, and a small error over many payments is soon significant: so the
test asks whether it is off by more than a factor, not whether it is off (a minimum-effect test: Murphy and Myors,
J. Applied Psychology 1999). Frauds come in waves, and days vary by more than chance: by how much the merchant's own
days tell (quasi-likelihood: McCullagh and Nelder, Generalized Linear Models, 1989, §6.2).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from avalist.models.judge import MOST_OFF
from avalist.models.trees import F64, I64

ALARM_Z: Final = 4.0
"""For one question that is asked again and again; of many at once ``significant`` tells which stand."""
_LEAST_MEAN: Final = 0.5
"""Fewer are never taken as expected: of the youngest payments that hangs on a tail of the delay law nobody knows."""


def z_beyond(observed: float, expected: float, dispersion: float = 1.0, most_off: float = MOST_OFF) -> float:
    """Return by how many standard deviations a count is beyond `most_off` times what is expected; 0 where it is not.

    Above, it is positive; below the expected by more than that factor, negative. It is the signed root of the
    likelihood ratio over `dispersion`, of Poisson counts whose mean lies within the factor: nearer to normal where
    counts are small than (O − E)/√E (Pierce and Schafer, JASA 1986).

    >>> z_beyond(30.0, 10.0) > 4.0, z_beyond(12.0, 10.0), z_beyond(0.0, 30.0) < -4.0
    (True, 0.0, True)
    """
    highest = max(expected * most_off, _LEAST_MEAN)
    mean = min(max(observed, expected / most_off), highest)
    ratio = observed * math.log(observed / mean) if observed else 0.0
    deviance = 2.0 * (ratio - (observed - mean))
    return math.copysign(math.sqrt(max(deviance, 0.0) / dispersion), observed - mean)


def dispersion(y: F64, expected: F64, day: I64) -> float:
    """Return the variance of whole days' counts over that of Poisson counts, at least 1.

    It is taken from the differences of successive days (von Neumann, Ann. Math. Statist. 1941), about the level that
    they have in common: so a miss that lasts, or that began some weeks ago, does not excuse itself.

    Parameters
    ----------
    y
        1 where a fraud report was logged [n].
    expected
        pF: P(fraud) as decided times the share of reports of its age that are in [n].
    day
        Payments of one day are counted together [n].
    """
    place = np.unique(day, return_inverse=True)[1]
    seen, due = np.bincount(place, y), np.bincount(place, expected)
    if len(seen) < 2 or not seen.sum() or not due.sum():
        return 1.0
    fitted = due * seen.sum() / due.sum()
    steps = np.diff(seen - fitted)
    return max(float(steps @ steps) / 2.0 / float(fitted.sum()) * len(seen) / (len(seen) - 1), 1.0)
