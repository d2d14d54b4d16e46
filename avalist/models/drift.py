"""Drift that shows before labels are ripe: frauds reported by now against those expected by now (modelling §2.6).

Of a payment of age e a report is seen with probability p·F(e), so young payments take part, each by what its age can
tell. A level is never quite right, and a small error over many payments is soon significant; so the alarm does not ask
whether the level is off, but whether it is off by more than MOST_OFF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from avalist.domain.schema import DAY_MS
from avalist.models.judge import MOST_OFF
from avalist.models.trees import F64, I64

WINDOWS_D: Final = (7, 14, 28)
ALARM_Z: Final = 4.0
_FEWEST_REPORTS: Final = 5


class Alarm(msgspec.Struct, frozen=True):
    """A group of payments of the last `days` of which more frauds are reported than expected: `z` above `MOST_OFF`."""

    group: str
    days: int
    observed: float
    expected: float
    z: float

    @property
    def words(self) -> str:
        """Say it."""
        return (
            f"{self.group}, last {self.days} days: {self.observed:.0f} frauds are reported, "
            f"{self.expected:.1f} were expected by now (Z {self.z:.1f})"
        )


def z_above(observed: float, expected: float, tolerance: float = 1.0) -> float:
    """Return (O − tE)/√(tE): how far reports exceed what is expected `tolerance` times, in standard deviations.

    Σ pF(1 − pF) is Σ pF but for a share of p, and its root never above √Σ pF.

    >>> z_above(30.0, 10.0, 1.3) > 4.0, z_above(14.0, 10.0, 1.3) < 1.0
    (True, True)
    """
    mean = tolerance * expected
    return (observed - mean) / math.sqrt(max(mean, 0.5))


def worst(
    t_ms: I64, y: F64, expected: F64, now_ms: int, groups: Mapping[str, tuple[Sequence[str], I64]] | None = None
) -> Alarm | None:
    """Return the loudest alarm of all windows and groups, or None where all is as expected.

    `y` is 1 where a fraud is reported, `expected` p·F, [n] of captured payments; `groups` names each payment's place.
    """
    found = [alarm for alarm in _alarms(t_ms, y, expected, now_ms, groups or {}) if alarm.z >= ALARM_Z]
    return max(found, key=lambda alarm: alarm.z, default=None)


def _alarms(
    t_ms: I64, y: F64, expected: F64, now_ms: int, groups: Mapping[str, tuple[Sequence[str], I64]]
) -> Iterator[Alarm]:
    for days in WINDOWS_D:
        rows = t_ms >= now_ms - days * DAY_MS
        yield from _group("all payments", days, y[rows].sum(), expected[rows].sum())
        for by, (names, place) in groups.items():
            seen, due = (np.bincount(place[rows], of[rows], len(names)) for of in (y, expected))
            for name, o, e in zip(names, seen.tolist(), due.tolist(), strict=True):
                yield from _group(f"{by} {name}", days, o, e)


def _group(name: str, days: int, observed: float, expected: float) -> Iterator[Alarm]:
    if observed >= _FEWEST_REPORTS:
        yield Alarm(name, days, float(observed), float(expected), z_above(observed, expected, MOST_OFF))
