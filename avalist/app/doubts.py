"""Warnings of a payment that only its merchant's past can tell, or its arrival."""

from __future__ import annotations

from collections.abc import Iterable

from avalist.domain.core import EventCore
from avalist.domain.decisions import WarningCode
from avalist.domain.facts import Facts
from avalist.domain.warnings import FEWEST_PAYMENTS, FUTURE_MS, LONG_AGO_MS, UNUSUAL_TIMES


class Past:
    """What a merchant's payments were like so far: how many, the largest (base minor units), their currencies."""

    __slots__ = ("currencies", "largest_minor", "payments")

    def __init__(self) -> None:
        self.payments = 0
        self.largest_minor = 0
        self.currencies: set[str] = set()

    def fold(self, event: EventCore, at_ms: int) -> tuple[WarningCode, ...]:
        """Return the warnings of an event that arrived at `at_ms`; a payment is counted in, after that."""
        facts = event.facts
        if facts is None or not event.payment_id:
            return ()
        found = self._warnings(facts, at_ms)
        self.fold_many((event,))
        return found

    def fold_many(self, events: Iterable[EventCore]) -> None:
        """Count events in, whose warnings nobody asks for."""
        paid = [facts for event in events if (facts := event.facts) is not None and event.payment_id]
        self.payments += len(paid)
        self.largest_minor = max(self.largest_minor, *(facts.amount_base_minor for facts in paid), 0)
        self.currencies.update([facts.currency for facts in paid])

    def _warnings(self, facts: Facts, at_ms: int) -> tuple[WarningCode, ...]:
        """Return a payment's own warnings, its time's, and the past's."""
        ahead_ms = facts.occurred_at_ms - at_ms
        known = self.payments >= FEWEST_PAYMENTS
        new = known and facts.currency not in self.currencies
        unusual = known and facts.amount_base_minor > UNUSUAL_TIMES * self.largest_minor
        if -LONG_AGO_MS <= ahead_ms <= FUTURE_MS and not new and not unusual:
            return facts.warnings
        found = [*facts.warnings]
        if not -LONG_AGO_MS <= ahead_ms <= FUTURE_MS:
            found.append(WarningCode.OCCURRED_IN_FUTURE if ahead_ms > 0 else WarningCode.OCCURRED_LONG_AGO)
        found += [WarningCode.CURRENCY_NEW] if new else []
        found += [WarningCode.AMOUNT_UNUSUAL] if unusual else []
        return tuple(found)
