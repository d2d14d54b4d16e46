"""The most that anybody can know of the Handbook's frauds: their chances by the laws that its simulator draws from.

A yardstick for aims, never for features: it knows the laws, looks ahead for what a customer usually pays and for which
reports belong to a terminal's siege, and then says how likely each payment is fraud with labels known 7 days late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from bench._protocol import DAY_MS, DELAY_D, I64, Mask, Payments

F64 = npt.NDArray[np.float64]
CERTAIN_MINOR: Final = 22_000
"""Larger payments are fraud."""
SIEGE_D: Final = 28
"""So many days all payments of a terminal under siege are fraud."""
SIEGES: Final = 2 / 10_000
"""Sieges that begin, a terminal and day."""
THEFT_D: Final = 14
"""So many days a card's data are used by a thief, too."""
THEFTS: Final = 3 / 5_000
"""Thefts, a customer and day."""
STOLEN: Final = 1 / 3
"""Share of the payments of these days that are the thief's."""
TIMES: Final = 5.0
"""The thief's amounts over the customer's."""
LEAST_RUN: Final = 4
"""Frauds of a terminal without an honest payment between them: so many are a siege."""
FOLDED: Final = 0.0228
"""Share of the amounts that would be negative; drawn anew between 0 and twice the mean."""


class Laws:
    """The laws over one table of payments."""

    def __init__(self, payments: Payments) -> None:
        self.payments = payments
        self.of_customer, self.of_terminal = _places(payments.customer), _places(payments.terminal)
        self.odds = _times_odds(payments)
        self.siege = _sieges(payments, self.of_terminal)

    def chances(self, index: I64) -> F64:
        """Return P(fraud) of the payments at `index`, float64 [n]."""
        certain = self.payments.amount_minor[index] > CERTAIN_MINOR
        safe = [(1.0 - self._besieged(i)) * (1.0 - self._stolen(i)) for i in index.tolist()]
        return np.where(certain, 1.0, 1.0 - np.array(safe))

    def _stolen(self, i: int) -> float:
        """Return P(made with stolen data | the customer's payments until now, the labels known)."""
        here, day = self.of_customer[int(self.payments.customer[i])], self.payments.day
        before = here[(here < i) & (day[here] > day[i] - THEFT_D)]
        honest = (day[before] < day[i] - DELAY_D) & ~self.payments.fraud[before]
        told = 1.0 - STOLEN + np.where(honest, 0.0, STOLEN * self.odds[before])
        theft = sum(THEFTS * float(told[day[before] >= day[i] - days].prod()) for days in range(THEFT_D))
        fraud = theft * STOLEN * float(self.odds[i])
        return fraud / (1.0 + fraud + theft * (1.0 - STOLEN))

    def _besieged(self, i: int) -> float:
        """Return P(the terminal is under siege | the labels known)."""
        here, t_ms = self.of_terminal[int(self.payments.terminal[i])], self.payments.t_ms
        known = here[t_ms[here] < t_ms[i] - DELAY_D * DAY_MS]
        honest, of_siege = known[~self.payments.fraud[known]], known[self.siege[known] >= 0]
        today = int(self.payments.day[i])
        seen = int(self.payments.day[honest[-1]]) if len(honest) else int(self.payments.day[0])
        new = SIEGES * min(today - seen, SIEGE_D)
        return 1.0 - (1.0 - self._lasts(honest, of_siege, today)) * (1.0 - new) if len(of_siege) else new

    def _lasts(self, honest: I64, of_siege: I64, today: int) -> float:
        """Return P(the latest siege known lasts until today): it began on a day after the last honest payment."""
        day, first, last = self.payments.day, int(self.siege[of_siege[-1]]), int(of_siege[-1])
        before, after = honest[honest < first], honest[honest > last]
        earliest = int(day[before[-1]]) + 1 if len(before) else int(day[first]) - SIEGE_D
        begun = np.arange(min(earliest, int(day[first])), int(day[first]) + 1)
        ends = begun + SIEGE_D
        able = (ends > day[last]) & (ends <= (day[after[0]] if len(after) else np.inf))
        return float((ends[able] > today).mean()) if able.any() else 0.0


def _places(key: I64) -> dict[int, I64]:
    """Return where each key is, in order of time."""
    order = np.argsort(key, kind="stable")
    names, first = np.unique(key[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, first[1:]), strict=True))


def _times_odds(payments: Payments) -> F64:
    """Return how much likelier each amount is when it was multiplied; amounts are normal, half their mean wide."""
    honest, size = ~payments.fraud, int(payments.customer.max()) + 1
    total = np.bincount(payments.customer[honest], payments.amount_minor[honest], size)
    mean = total / np.maximum(np.bincount(payments.customer[honest], minlength=size), 1)
    over_mean = payments.amount_minor / np.maximum(mean, 1.0)[payments.customer]
    odds = _density(over_mean / TIMES) / np.maximum(_density(over_mean), 1e-30)
    return np.asarray(odds / TIMES, dtype=np.float64)


def _density(over_mean: F64) -> F64:
    normal = np.exp(-2.0 * (over_mean - 1.0) ** 2) * np.sqrt(2.0 / np.pi)
    return np.asarray(normal + np.where(over_mean < 2.0, FOLDED / 2.0, 0.0), dtype=np.float64)


def _sieges(payments: Payments, of_terminal: dict[int, I64]) -> I64:
    """Return for each fraud of a siege the place of the siege's first one, else -1 [n]."""
    siege = np.full(len(payments.day), -1)
    small: Mask = payments.amount_minor <= CERTAIN_MINOR
    for here in of_terminal.values():
        for run in _runs(here[payments.fraud[here]], here[~payments.fraud[here]]):
            if len(run) >= LEAST_RUN and small[run].any():
                siege[run[small[run]]] = run[0]
    return siege


def _runs(frauds: I64, honest: I64) -> Sequence[I64]:
    """Return the frauds, split wherever an honest payment lies between two.

    >>> [run.tolist() for run in _runs(np.array([2, 3, 7]), np.array([1, 5]))]
    [[2, 3], [7]]
    """
    between = np.searchsorted(honest, frauds)
    return np.split(frauds, np.flatnonzero(np.diff(between)) + 1)
