"""Warnings of a payment that only its merchant's past can tell, or its arrival."""

from __future__ import annotations

from avalist.domain.decisions import WarningCode
from avalist.domain.facts import Facts
from avalist.domain.warnings import FEWEST_PAYMENTS, FUTURE_MS, LONG_AGO_MS, UNUSUAL_TIMES


class Past:
    """What a merchant's payments were like so far: how many, the largest (base minor units), their currencies."""

    def __init__(self) -> None:
        self._payments = 0
        self._largest_minor = 0
        self._currencies: set[str] = set()

    def note(self, facts: Facts) -> None:
        """Count a payment in."""
        self._payments += 1
        self._currencies.add(facts.currency)
        self._largest_minor = max(self._largest_minor, facts.amount_base_minor)

    def warnings(self, facts: Facts, at_ms: int) -> tuple[WarningCode, ...]:
        """Return the warnings of a payment that arrived at `at_ms`: its own, its time's, and the past's."""
        found: list[WarningCode] = []
        if facts.occurred_at_ms > at_ms + FUTURE_MS:
            found.append(WarningCode.OCCURRED_IN_FUTURE)
        elif facts.occurred_at_ms < at_ms - LONG_AGO_MS:
            found.append(WarningCode.OCCURRED_LONG_AGO)
        if self._payments >= FEWEST_PAYMENTS:
            if facts.currency not in self._currencies:
                found.append(WarningCode.CURRENCY_NEW)
            if facts.amount_base_minor > UNUSUAL_TIMES * self._largest_minor:
                found.append(WarningCode.AMOUNT_UNUSUAL)
        return (*facts.warnings, *found) if found else facts.warnings
