"""Waves of growing stealth: a ladder of them, and what each decider made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.simulator import HABITS, WavePlan
from bench._protocol import DAY_MS, I64, Mask

F64 = npt.NDArray[np.float64]
RUNGS: Final = (
    (1000.0, 5, 5), (20.0, 5, 10), (5.0, 5, 20), (2.0, 5, 30),
    (1.0, 5, 45), (1.0, 4, 90), (1.0, 4, 120), (1.0, 3, 240),
    (1.0, 3, 360), (1.0, 2, 600), (1.0, 2, 900), (1.0, 1, 1440),
)  # fmt: skip
"""Payments per identity, habits shared, minutes: from one card tried again and again to strangers over a day."""
FIRST_EXTRA: Final = 1_000_000


def plans(start_ms: int, every_d: float, rounds: int, payments: int) -> tuple[WavePlan, ...]:
    """Return the ladder, climbed `rounds` times from `start_ms` on, a wave each `every_d` days at differing hours."""
    made = []
    for n in range(rounds * len(RUNGS)):
        identity, habits, minutes = RUNGS[n % len(RUNGS)]
        shared = tuple(HABITS[(n + k + n // len(RUNGS)) % len(HABITS)] for k in range(habits))
        at = start_ms + round((n * every_d + (n * 7 % 24) / 24) * DAY_MS)
        wave = WavePlan(
            start_ms=at, minutes=float(minutes), payments=payments, habits=shared, payments_per_identity=identity
        )
        made.append(wave)
    return tuple(made)


@dataclass(frozen=True)
class Fared:
    """What a wave cost under one decider: in payments and base minor units approved, and when it was first blocked.

    `first_block` counts the wave's payments up to and with the first declined, one more than all if none was.
    """

    rung: int
    payments: int
    first_block: int
    lost_before_minor: int
    lost_minor: int
    delay_min: float


def fared(wave: I64, t_ms: I64, amount: I64, fraud: Mask, declined: Mask, first_ms: int, waves: int) -> list[Fared]:
    """Return how each extra wave fared; arrays [n], `wave` the id of a payment's wave or −1."""
    out = []
    for number in range(waves):
        mine = np.flatnonzero(wave == FIRST_EXTRA + number)
        blocked = np.flatnonzero(declined[mine])
        first = int(blocked[0]) if len(blocked) else len(mine)
        lost = np.where(fraud[mine] & ~declined[mine], amount[mine], 0)
        until = t_ms[mine[first]] if len(blocked) else t_ms[mine[-1]]
        delay = float(until - t_ms[mine[0]]) / 60_000
        rung = number % len(RUNGS)
        out.append(Fared(rung, len(mine), first + 1, int(lost[:first].sum()), int(lost.sum()), round(delay, 2)))
    return out


def best_limits(counts: F64, names: list[str], gain: F64, honest: Mask, budget: int) -> tuple[Mask, dict[str, int]]:
    """Return what the best grid of limits declines, and the limits: `counts` [n, columns], `gain` [n] the money that
    declining a payment saves.

    Chosen greedily in hindsight on the payments that it is judged by, so better than anybody could set it: again and
    again the limit that saves most for each honest payment it declines, until `budget` honest ones are declined.
    """
    declined, limits = np.zeros(len(gain), dtype=np.bool_), dict[str, int]()
    steps = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100)
    while True:
        best = (0.0, 0, 0, declined)
        room = budget - int((declined & honest).sum())
        for column in range(counts.shape[1]):
            for limit in steps:
                more = (counts[:, column] > limit) & ~declined
                cost = int((more & honest).sum())
                saved = float(gain[more].sum())
                if cost <= room and saved / (cost + 1.0) > best[0]:
                    best = saved / (cost + 1.0), column, limit, declined | more
        if best[0] <= 0.0:
            return declined, limits
        declined, limits[names[best[1]]] = best[3], best[2]
