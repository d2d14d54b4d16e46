"""What is odd of a payment by itself: what the schema would have used and is not there, and what cannot be right."""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import socket

import msgspec

from avalist.domain.decisions import WarningCode
from avalist.domain.events import Card, Customer, Payment, is_address
from avalist.domain.facts import Facts, SessionState
from avalist.domain.schema import Schema
from avalist.domain.warnings import FUTURE_MS

_OF_BUYERS = ("customer.id", "email", "email_shape", "email_domain", "device.id", "ip", "ip24", "session")
_NAMED = frozenset((*_OF_BUYERS, "method.fingerprint", "bin"))
"""Sources of which a warning of their own says that they are missing."""
_OF_SESSIONS = ("pattern.session", "pattern.conduct", "pattern.behaviour")
_SKEW = dt.timedelta(milliseconds=FUTURE_MS)


class Quality:
    """Finds warnings of payments under a schema."""

    def __init__(self, schema: Schema) -> None:
        sources = {d.source for d in schema.entities} | {d.source for d in schema.categories}
        numbers = {d.source for d in schema.numbers}
        self._customer = "customer.id" in sources
        self._email = bool(sources & {"email", "email_shape", "email_domain", "email_class"})
        self._method = "method.fingerprint" in sources
        self._bin = bool(sources & {"bin", "card_brand"})
        self._device = "device.id" in sources
        self._session = any(s.startswith("session") or s in _OF_SESSIONS for s in sources | numbers)
        self._ip = bool(sources & {"ip", "ip24", "ip_country", "asn", "ip_class"})

    def of(self, event: Payment, session_state: SessionState = "") -> tuple[WarningCode, ...]:
        """Return the warnings of a payment, in the order of their codes."""
        found: list[WarningCode] = []
        customer, method = event.customer, event.method
        if customer is None:
            if self._customer:
                found.append(WarningCode.CUSTOMER_MISSING)
            if self._email:
                found.append(WarningCode.EMAIL_MISSING)
        elif not customer.email:
            if self._customer and customer.id is None:
                found.append(WarningCode.CUSTOMER_MISSING)
            if self._email:
                found.append(WarningCode.EMAIL_MISSING)
        elif "@" not in customer.email:
            found.append(WarningCode.EMAIL_MALFORMED)
        if method is None:
            if self._method:
                found.append(WarningCode.METHOD_MISSING)
        elif self._bin and isinstance(method, Card) and not method.bin:
            found.append(WarningCode.BIN_MISSING)
        if self._device and not (event.device and event.device.id):
            found.append(WarningCode.DEVICE_MISSING)
        if not event.ip:
            if self._ip:
                found.append(WarningCode.IP_MISSING)
        elif not is_public(event.ip):
            found.append(WarningCode.IP_NOT_PUBLIC)
        if self._session and session_state in ("none", "not_found"):
            found.append(WarningCode.SESSION_MISSING)
        if customer is not None and _created_after(customer, event):
            found.append(WarningCode.CREATED_AFTER_OCCURRED)
        return tuple(found)


def add_missing(facts: Facts, missing: tuple[str, ...]) -> None:
    """Note in facts that are just made that the payment gives nothing for some of the schema's sources.

    Where no session came it is named once, in place of each source of it.
    """
    missing, more = _told(missing, WarningCode.SESSION_MISSING in facts.warnings)
    msgspec.structs.force_setattr(facts, "missing", missing)  # a copy would cost ten times as much
    if more:
        msgspec.structs.force_setattr(facts, "warnings", facts.warnings + more)


@functools.lru_cache(maxsize=1024)
def _told(missing: tuple[str, ...], no_session: bool) -> tuple[tuple[str, ...], tuple[WarningCode, ...]]:
    missing = tuple(dict.fromkeys("session" if no_session and s.startswith("session.") else s for s in missing))
    unnamed = [source for source in missing if source not in _NAMED]
    return missing, (WarningCode.FIELDS_MISSING,) if unnamed else ()


def _created_after(customer: Customer, event: Payment) -> bool:
    created = customer.created_at
    return created is not None and created > event.occurred_at and created - event.occurred_at > _SKEW


@functools.lru_cache(maxsize=65_536)
def is_public(ip: str) -> bool:
    """Tell whether an address can be a customer's on the public internet.

    >>> is_public("8.8.4.4"), is_public("10.0.0.1"), is_public("192.0.2.1"), is_public("nonsense")
    (True, False, False, False)
    """
    if ip.partition(".")[0] in _PLAIN:
        return is_address(socket.AF_INET, ip)
    try:
        return ipaddress.ip_address(ip).is_global
    except ValueError:
        return False


# First numbers of IPv4 under which every address is public: most are told at once.
_PLAIN = frozenset(map(str, range(1, 224))) - {"10", "100", "127", "169", "172", "192", "198", "203"}
