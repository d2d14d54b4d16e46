"""The level of a merchant's decisions, asked of all payments and of parts of them: what drift and health go by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset
from avalist.app.train import delay_at
from avalist.domain.schema import DAY_MS
from avalist.models.delay import ReportDelay
from avalist.models.judge import AGES_D
from avalist.models.level import dispersion, z_beyond
from avalist.models.shift import significant, two_sided
from avalist.models.trees import F64, I64

ALL_PAYMENTS: Final = "all payments"
CHANCE: Final = 0.001
"""Chance that a check of one kind raises any alert where nothing is wrong: a thousand checks, one false alert."""
LEVEL_D: Final = 180.0
WINDOWS_D: Final = (LEVEL_D, 60.0, 28.0, 14.0, 7.0)
_LEAST: Final = 5.0
"""Frauds reported or expected: with fewer nothing is said."""
_PARTS: Final = 50


class LevelCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Frauds reported and expected by now of the payments `subject`.

    `z` is by how many standard deviations they differ by more than the factor that a level may be off; 0 where they do
    not.
    """

    subject: str
    payments: int
    observed: float
    expected: float
    z: float

    @property
    def ratio(self) -> float:
        """Return observed over expected."""
        return self.observed / max(self.expected, 1e-9)

    @property
    def words(self) -> str:
        """Say it."""
        return (
            f"of {self.subject} {self.observed:.0f} frauds are reported, {self.expected:.1f} were expected by now "
            f"(Z {self.z:+.1f})"
        )


def level_checks(data: Dataset, cut_ms: int, said: F64, law: ReportDelay | None = None) -> tuple[LevelCheck, ...]:
    """Check the level by what was logged up to a time: of all payments, the latest, each age, each product.

    `said` float64 [n] is P(fraud) as it was when the payment was decided, NaN where nothing was; `law` how long reports
    take, None to estimate it. That of all payments comes first.
    """
    captured, fraud = data.known_at(cut_ms)
    recent = (data.t_ms > cut_ms - LEVEL_D * DAY_MS) & (data.t_ms <= cut_ms)
    rows = np.flatnonzero(captured & ~np.isnan(said) & recent)
    age_d = (cut_ms - data.t_ms[rows]) / DAY_MS
    expected = said[rows] * (law or delay_at(data, cut_ms)).reported_by(age_d)
    counted = _Counted(fraud[rows].astype(np.float64), expected, data.t_ms[rows] // DAY_MS, age_d)
    return tuple(
        check
        for name, inside in _groups(data, rows)
        for check in _of(name, counted.part(inside))
        if max(check.observed, check.expected) >= _LEAST
    )


def off(checks: tuple[LevelCheck, ...]) -> list[LevelCheck]:
    """Return the checks that fail, with control over how many there are (Holm)."""
    stands = significant(np.array([two_sided(one.z) for one in checks]), CHANCE)
    return [one for one, stand in zip(checks, stands.tolist(), strict=True) if stand]


class _Counted(NamedTuple):
    """Reports, those expected by now, day and age of each payment [n]."""

    y: F64
    expected: F64
    day: I64
    age_d: F64

    def part(self, inside: npt.NDArray[np.bool_]) -> _Counted:
        return _Counted(self.y[inside], self.expected[inside], self.day[inside], self.age_d[inside])


def _of(name: str, counted: _Counted) -> Iterator[LevelCheck]:
    """Yield a group's checks: of its latest payments and, of all payments, each age; its own days say how it varies."""
    spread = dispersion(counted.y, counted.expected, counted.day)
    spans = [(0.0, days, name if days == LEVEL_D else f"{name}, last {days:g} days") for days in WINDOWS_D]
    if name == ALL_PAYMENTS:
        bands = [(low, high) for low, high in pairwise(AGES_D) if 0.0 < low < LEVEL_D]
        spans += [(low, high, f"payments {low:g} to {high:g} days old") for low, high in bands]
    for low, high, subject in spans:
        inside = (counted.age_d >= low) & (counted.age_d < high)
        seen, due = float(counted.y[inside].sum()), float(counted.expected[inside].sum())
        z = z_beyond(seen, due, spread)
        yield LevelCheck(subject=subject, payments=int(inside.sum()), observed=seen, expected=due, z=z)


def _groups(data: Dataset, rows: I64) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    yield ALL_PAYMENTS, np.ones(len(rows), np.bool_)
    sold = [data.background.sold[row] for row in rows.tolist()] if data.background.sold else []
    for kind in ("item_kind", "product"):
        names, place = np.unique([getattr(one, kind) for one in sold], return_inverse=True)
        for k in np.argsort(-np.bincount(place, minlength=len(names)), kind="stable")[:_PARTS].tolist():
            if names[k]:
                yield f"{kind.replace('_', ' ')} {names[k]}", place == k
