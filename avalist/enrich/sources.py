"""Where a declared source stands in an event, and how all of a schema's sources are read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter

from avalist.domain.errors import BadInput
from avalist.domain.events import (
    Address,
    Bank,
    Card,
    CryptoAddress,
    Customer,
    Device,
    IdentityEvent,
    Payee,
    Payment,
    SessionSummary,
)
from avalist.domain.facts import Facts
from avalist.enrich.shapes import network_of, normal_email

Source = Payment | IdentityEvent
Getter = Callable[[Source, Facts], object]
Taker = Callable[[object], tuple[object, ...]]


def _instrument(event: Source, facts: Facts) -> object:
    method = getattr(event, "method", None)
    if method is None:
        return None
    if isinstance(method, Card | Bank):
        return method.fingerprint
    return method.address if isinstance(method, CryptoAddress) else method.account


def _email(event: Source, facts: Facts) -> object:
    customer = event.customer
    return normal_email(customer.email) if customer and customer.email else None


def _ip24(event: Source, facts: Facts) -> object:
    return network_of(event.ip) if event.ip else None


_DERIVED: dict[str, Getter] = {
    "method.fingerprint": _instrument,
    "email": _email,
    "ip24": _ip24,
    "ip": lambda event, facts: event.ip,
}
"""Sources that are computed; a fact of the same name gives way."""
_FACTS = frozenset(Facts.__struct_fields__) - {"categories", "tables_version", "warnings"} - _DERIVED.keys()
_PARTS = {"customer": Customer, "device": Device, "session": SessionSummary, "billing": Address, "payee": Payee}
_NUMBERS = frozenset(
    {"items", "account_age_s", "amount_minor", "amount_base_minor", "occurred_at_ms", "session", "customer.created_at"}
)


def is_text(source: str) -> bool:
    """Tell whether a source always gives text, or nothing."""
    head = source.partition(".")[0]
    return source not in _NUMBERS and (head not in ("custom", "session") or source == "session.id")


class Sources:
    """Reads sources of an event: one call a part of the event, one to put the values in the order of `sources`.

    Raises
    ------
    BadInput
        For a source that cannot exist.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        facts = [source for source in sources if source in _FACTS]
        parts: dict[str, list[str]] = {}
        computed: dict[str, Getter] = {}
        for source in sources:
            head, _, tail = source.partition(".")
            if source in _DERIVED:
                computed[source] = _DERIVED[source]
            elif head in _PARTS and tail in _PARTS[head].__struct_fields__:
                parts.setdefault(head, []).append(tail)
            elif head == "custom" and tail:
                computed[source] = _custom(tail)
            elif source not in _FACTS:
                raise _unknown(source)
        self._facts = _taker(facts)
        self._parts = [(head, _taker(fields), (None,) * len(fields)) for head, fields in parts.items()]
        self._computed = list(computed.values())
        found = [*facts, *(f"{head}.{field}" for head, fields in parts.items() for field in fields), *computed]
        self._order = _picker([found.index(source) for source in sources])

    def read(self, event: Source, facts: Facts) -> list[object]:
        """Return the sources' values in order; None where the event does not carry one."""
        found = [*self._facts(facts)]
        for head, take, nothing in self._parts:
            part = getattr(event, head, None)
            found += nothing if part is None else take(part)
        for get in self._computed:
            found.append(get(event, facts))
        return [*self._order(found)]


def _custom(name: str) -> Getter:
    return lambda event, facts: event.custom.get(name)


def _taker(names: list[str]) -> Taker:
    if not names:
        return lambda whole: ()
    take = attrgetter(*names)
    return take if len(names) > 1 else lambda whole: (take(whole),)


def _picker(places: list[int]) -> Callable[[list[object]], tuple[object, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda found: tuple([found[place] for place in places])


def _unknown(source: str) -> BadInput:
    known = ", ".join(sorted((*_DERIVED, *_FACTS, "custom.<name>", *(f"{p}.<field>" for p in _PARTS))))
    return BadInput("no such source", field="$.entities.source", expected=known, got=source)
