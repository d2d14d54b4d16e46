"""What the demo counts while it plays: the simulator tells the truth that a merchant learns months later."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from avalist.domain.money import exponent_of
from avalist.simulator import Attempt

_WAVE_FROM = 1_000_000
_RECENT = 2000


class Tally:
    """Counts payments by what they were and what became of them."""

    def __init__(self) -> None:
        self.last_payment = ""
        self._count: dict[tuple[str, bool], int] = {}
        self._minor: dict[tuple[str, bool], int] = {}
        self._latency_s: list[float] = []
        self._currency = "EUR"
        self._degraded = 0
        self._clock = ""

    def add(self, attempt: Attempt, answer: dict[str, Any], latency_s: float) -> None:
        """Count one answer."""
        truth, payment = attempt.truth, attempt.payment
        in_wave = truth.wave_id is not None and truth.wave_id >= _WAVE_FROM
        group = ("wave fraud" if in_wave else "other fraud") if truth.fraud else "honest"
        place = group, answer["action"] == "approve"
        self._count[place] = self._count.get(place, 0) + 1
        self._minor[place] = self._minor.get(place, 0) + payment.amount_minor
        self._latency_s = [*self._latency_s[-_RECENT:], latency_s]
        self._degraded += bool(answer["degraded"])
        self._clock = f"{payment.occurred_at:%Y-%m-%d %H:%M}"
        self.last_payment, self._currency = payment.payment_id, payment.currency

    def table(self) -> Table:
        """Return the table as it stands."""
        table = Table(title=f"live over HTTP · simulated time {self._clock}", box=box.SIMPLE_HEAD)
        money = (f"{self._currency}\napproved", f"{self._currency}\nstopped")
        for name in ("", "payments", "approved", "share", "stopped", *money):
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        for group in ("honest", "other fraud", "wave fraud"):
            table.add_row(*self._row(group))
        p50, p99 = np.quantile(self._latency_s or [0.0], [0.5, 0.99]) * 1e3
        late = f" · {self._degraded} by fallback" if self._degraded else ""
        table.caption = f"answered in p50 {p50:.1f} ms, p99 {p99:.1f} ms, as the client sees it{late}"
        return table

    def _row(self, group: str) -> tuple[str, ...]:
        approved, stopped = self._count.get((group, True), 0), self._count.get((group, False), 0)
        share = f"{approved / (approved + stopped):.1%}" if approved + stopped else "–"
        unit = 10 ** exponent_of(self._currency)
        money = [f"{self._minor.get((group, yes), 0) / unit:,.0f}" for yes in (True, False)]
        return group, f"{approved + stopped:,}", f"{approved:,}", share, f"{stopped:,}", *money
