"""Payments about to be made, a process's worth at a time, an array or list per trait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from avalist.domain.events import SessionSummary
from avalist.simulator.behaviour import Manners, Script
from avalist.simulator.config import BehaviourConfig, SessionStyle
from avalist.simulator.draws import F64, I64, Bools, Rng, chance
from avalist.simulator.people import Person

Process = Literal["honest", "lone", "wave"]


@dataclass(slots=True)
class Slots:
    """Everything about `n` payments but their ids, labels and outcomes.

    `signed_ms` is when the account is opened just before the payment, else 0; `failed_logins` and `logs_in` come
    before it too; `p` is P(fraud | everything here).
    """

    process: Process
    wave_id: int | None
    at_ms: I64
    people: list[Person]
    ips: list[str]
    product: I64
    amount: I64
    gift: Bools
    sessions: Sequence[SessionSummary | None]
    signed_ms: I64
    failed_logins: I64
    logs_in: Bools
    p: F64

    def __len__(self) -> int:
        return len(self.people)


class Sessions:
    """Draws session summaries by the number of a style."""

    def __init__(self, styles: Sequence[SessionStyle], behaviour: BehaviourConfig | None = None) -> None:
        self._manners = Manners(behaviour) if behaviour is not None else None
        self._log_ms = np.log([s.duration_s * 1000.0 for s in styles])
        self._spread = np.array([s.spread for s in styles])
        self._means = np.array([[s.pages - 1.0, s.key_presses, s.pointer_moves, s.pastes] for s in styles]).T
        self._means = np.maximum(self._means, 0.0)

    def draw(
        self, rng: Rng, style: I64, people: Sequence[Person], missing: float = 0.0, script: Script | None = None
    ) -> list[SessionSummary | None]:
        """Draw a summary for each style number; a share is missing, as when a beacon is blocked.

        In worlds that say how people behave it has the details of these `people`, or of a `script`.
        """
        n = len(style)
        spread = self._spread[style]
        duration = np.exp(self._log_ms[style] + spread * rng.standard_normal(n))
        busy = np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
        pages, keys, moves, pastes = (rng.poisson(mean[style] * busy).tolist() for mean in self._means)
        columns = zip(duration.astype(np.int64).tolist(), pages, keys, moves, pastes, strict=True)
        drawn = [
            None
            if lost
            else SessionSummary(duration_ms=ms, pages=1 + seen, key_presses=typed, pointer_moves=moved, pastes=pasted)
            for lost, (ms, seen, typed, moved, pasted) in zip(chance(rng, n, missing).tolist(), columns, strict=True)
        ]
        if self._manners is None:
            return drawn
        return self._manners.dress(rng, drawn, [p.hands for p in people], [p.mobile for p in people], script)


def spread_over(rng: Rng, start_ms: int, span_ms: int, n: int) -> I64:
    """Draw `n` times from a span, in order."""
    return np.sort(start_ms + (rng.random(n) * span_ms).astype(np.int64))


def leads(rng: Rng, n: int, mean_s: float) -> I64:
    """Draw `n` lead times in milliseconds, at least 20 s."""
    return 20_000 + (rng.standard_exponential(n) * mean_s * 1000).astype(np.int64)
