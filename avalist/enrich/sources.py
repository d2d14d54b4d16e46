"""Where a declared source stands in an event, and how all of a schema's sources are read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import (
    Address,
    Bank,
    Card,
    CryptoAddress,
    CryptoPurchase,
    Customer,
    Device,
    DeviceTraits,
    GiftCard,
    IdentityEvent,
    Login,
    Payee,
    Payment,
    Pointer,
    PrepaidTopUp,
    SessionSummary,
    Timings,
    Touch,
    Typing,
)
from avalist.domain.facts import OF_TABLES, Facts
from avalist.domain.schema import WAVE_SOURCES
from avalist.enrich.patterns import PATTERNS
from avalist.enrich.shapes import email_parts, network_of

Source = Payment | IdentityEvent
Getter = Callable[[Source, Facts], object]
Reader = Callable[[Source, Facts], list[object]]


def _instrument(event: Source, facts: Facts) -> object:
    method = getattr(event, "method", None)
    if method is None:
        return None
    if isinstance(method, (Card, Bank)):  # to ask for a union costs twice as much
        return method.fingerprint
    return method.address if isinstance(method, CryptoAddress) else method.account


def _email(event: Source, facts: Facts) -> object:
    customer = event.customer
    return email_parts(customer.email)[2] if customer and customer.email else None


def _ip24(event: Source, facts: Facts) -> object:
    return network_of(event.ip) if event.ip else None


def _receiver(event: Source, facts: Facts) -> object:
    """Return who gets the goods: the payee, or where the cart's first item that says so is sent."""
    payee = getattr(event, "payee", None)
    if payee is not None:
        return payee.id
    for item in getattr(event, "cart", ()):
        match item:
            case CryptoPurchase(address=str(to)) | PrepaidTopUp(phone=str(to)):
                return to
            case GiftCard(recipient_email=str(to)):
                return email_parts(to)[2]
    return None


def _steps(event: Source, facts: Facts) -> object:
    journey = event.session.journey if event.session is not None else None
    return None if journey is None else len(journey)


def _tells(event: Source, facts: Facts) -> object:
    tells = event.session.tells if event.session is not None else None
    return None if tells is None else len(tells)


_DERIVED: dict[str, Getter] = {
    "method.fingerprint": _instrument,
    "email": _email,
    "ip24": _ip24,
    "receiver": _receiver,
    "ip": lambda event, facts: event.ip,
    "session_steps": _steps,
    "session_tells": _tells,
}
"""Sources that are computed; a fact of the same name gives way."""
_NO_SOURCES = {"categories", "tables_version", "warnings", "missing", "tells"}
_FACTS = frozenset(Facts.__struct_fields__) - _NO_SOURCES - _DERIVED.keys()
_OF_PAYMENTS = frozenset(
    {
        "method.fingerprint", "receiver", "currency", "method_kind", "bin", "issuer_country", "billing_country",
        "item_kind", "product", "session_state", "card_brand", *PATTERNS, *WAVE_SOURCES,
    }
)  # fmt: skip
_SHAPES = {shape: shape.__name__ for shapes in PATTERNS.values() for shape in shapes}
_PARTS: dict[str, type[msgspec.Struct]] = {
    "customer": Customer, "device": Device, "session": SessionSummary, "billing": Address, "payee": Payee,
    "session.timings": Timings, "session.typing": Typing, "session.pointer": Pointer, "session.touch": Touch,
    "session.device": DeviceTraits,
}  # fmt: skip
_NO_VALUES = {*(part.rpartition(".")[2] for part in _PARTS if "." in part), "journey", "pasted", "tells"}
"""Fields of a session that hold more than one value."""
_DETAILS = frozenset({"session_steps", "session_tells", "session_state"})
_NUMBERS = frozenset(
    {
        "items", "account_age_s", "amount_minor", "amount_base_minor", "occurred_at_ms", "session",
        "customer.created_at", "session_steps", "session_tells", "countries", "ip_billing_km", "ip_issuer_km",
        "ip_timezone_km", "phone_billing_km", "phone_ip_km", "phone_issuer_km",
    }
)  # fmt: skip


def is_text(source: str) -> bool:
    """Tell whether a source always gives text, or nothing."""
    head = source.partition(".")[0]
    return source not in _NUMBERS and (head not in ("custom", "session") or source == "session.id")


def is_given(source: str) -> bool:
    """Tell whether a source is something that callers send, not something made of it, nor a detail of a session."""
    if source in PATTERNS or source in WAVE_SOURCES or source in OF_TABLES or source in _DETAILS:
        return False
    return source.count(".") < 2 or source.startswith("custom.")


def is_of_identity(source: str) -> bool:
    """Tell whether an identity event may give a source as a key."""
    return source not in _OF_PAYMENTS and not source.startswith(("billing.", "payee."))


class Sources:
    """Reads all of a schema's sources at once: each list is one expression, compiled when the schema is.

    `payment` and `identity` take an event with its facts and return the values in order, None where the event does not
    carry one. `forms` say what is made of each value: expressions with ``{}`` in its place, which may call `names`.

    Raises
    ------
    BadInput
        For a source that cannot exist.

    Examples
    --------
    >>> from avalist.domain.events import decode_payment
    >>> paid = b'{"event_id":"e","payment_id":"p","occurred_at":"2026-01-01T00:00:00Z","currency":"EUR",'
    >>> event = decode_payment(paid + b'"amount_minor":1,"customer":{"id":"ann"}}')
    >>> Sources(["customer.id", "payee.id", "currency"]).payment(event, Facts(currency="EUR"))
    ['ann', None, 'EUR']
    """

    def __init__(self, sources: Sequence[str], forms: Sequence[str] = (), **names: object) -> None:
        forms = forms or ["{}"] * len(sources)
        self.payment = _compiled(sources, forms, names, Payment)
        self.identity = _compiled(sources, forms, names, Login)


def _compiled(
    sources: Sequence[str], forms: Sequence[str], called: dict[str, object], event: type[msgspec.Struct]
) -> Reader:
    """Return a reader of one kind of event; what its type lacks is None. Shapes that patterns share are made once."""
    names: dict[str, object] = {f"_{n}": _DERIVED[source] for n, source in enumerate(sources) if source in _DERIVED}
    names |= called
    fields = event.__struct_fields__
    parts = [
        form.format(_expression(n, source, fields)) for n, (source, form) in enumerate(zip(sources, forms, strict=True))
    ]
    read = f"[{', '.join(parts)}]"
    shapes = {shape: None for source in sources for shape in PATTERNS.get(source, ())} if event is Payment else {}
    if shapes:
        names |= {f"make{_SHAPES[shape]}": shape for shape in shapes}
        made = ", ".join(f"make{_SHAPES[shape]}(event, facts)" for shape in shapes)
        read = f"(lambda {', '.join(map(_SHAPES.__getitem__, shapes))}: {read})({made})"
    return cast(Reader, eval(f"lambda event, facts: {read}", names))


def _pattern(shapes: Sequence[str]) -> str:
    if len(shapes) == 1:
        return shapes[0]
    lacks = " or ".join(f"{shape} is None" for shape in shapes)
    text = "|".join(f"{{{shape}}}" for shape in shapes)
    return f"(None if {lacks} else f'{text}')"


def _expression(n: int, source: str, fields: tuple[str, ...]) -> str:
    head, _, tail = source.partition(".")
    part, _, last = source.rpartition(".")
    if source in _DERIVED:
        return f"_{n}(event, facts)"
    if source == "customer.id" and "customer" in fields:
        return "((event.customer.id or event.customer.email or None) if event.customer is not None else None)"
    if source in PATTERNS:  # only payments have patterns
        return _pattern([_SHAPES[shape] for shape in PATTERNS[source]]) if "payment_id" in fields else "None"
    if source in WAVE_SOURCES:  # the merchant's state gives them
        return "None"
    if part in _PARTS and last in _PARTS[part].__struct_fields__ and (head != "session" or last not in _NO_VALUES):
        there = f"event.{head} is not None" + (f" and event.{part} is not None" if part != head else "")
        return f"(event.{source} if {there} else None)" if head in fields else "None"
    if head == "custom" and tail:
        return f"event.custom.get({tail!r})"
    if source in _FACTS:
        return f"facts.{source}"
    raise _unknown(source)


def _unknown(source: str) -> BadInput:
    known = ", ".join(
        sorted((*_DERIVED, *PATTERNS, *_FACTS, *WAVE_SOURCES, "custom.<name>", *(f"{p}.<field>" for p in _PARTS)))
    )
    return BadInput("no such source", field="$.entities.source", expected=known, got=source)
