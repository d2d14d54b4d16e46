"""From a typed event to its fold row: keyed hashes of entities and categories, scaled numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from operator import attrgetter

from avalist.domain.errors import BadInput
from avalist.domain.events import (
    Address,
    Bank,
    CryptoAddress,
    Customer,
    Device,
    IdentityEvent,
    KycStep,
    Login,
    Payee,
    Payment,
    ProfileChange,
    SessionClosed,
    SessionSummary,
    SignUp,
)
from avalist.domain.facts import Facts
from avalist.domain.records import FoldKind
from avalist.domain.row import MISSING
from avalist.domain.schema import Schema
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.shapes import network_of, normal_email

Source = Payment | IdentityEvent
Getter = Callable[[Source, Facts], object]

_MAX_WORD = 2**62
_CACHED_KEYS = 16_384
_FOLD_KIND = {
    SignUp: FoldKind.SIGN_UP,
    ProfileChange: FoldKind.PROFILE_CHANGE,
    KycStep: FoldKind.KYC_STEP,
    SessionClosed: FoldKind.SESSION,
}


class Intake:
    """Turns one merchant's events into facts and fold rows.

    `secret` keys the hashes (32 bytes): without it a key cannot be tied to a clear value. The ``at`` and ``t`` words
    stay 0: the writer stamps them.
    """

    def __init__(self, schema: Schema, secret: bytes) -> None:
        self._schema = schema
        self._keyed = hashlib.blake2b(digest_size=8, key=secret)
        self._texts = _reader([d.source for d in schema.entities] + [d.source for d in schema.categories])
        self._names = [c.name for c in schema.categories]
        self._values = _reader([d.source for d in schema.numbers])
        self._numbers = [(d.name, 10**d.decimals) for d in schema.numbers]
        self._assumed = schema.capture == "assumed"
        self._cache: dict[str, int] = {}

    def payment(self, event: Payment) -> tuple[list[int], Facts]:
        """Return the fold row's words and the facts of a payment. Raises ``BadInput``."""
        facts = payment_facts(event, self._schema)
        captured = self._assumed if event.captured is None else event.captured
        return self._row(event, facts, FoldKind.PAYMENT, facts.amount_base_minor, int(captured))

    def identity(self, event: IdentityEvent) -> tuple[list[int], Facts]:
        """Return the fold row's words and the facts of an identity event. Raises ``BadInput``."""
        if isinstance(event, Login):
            kind = FoldKind.LOGIN_OK if event.ok else FoldKind.LOGIN_FAILED
        else:
            kind = _FOLD_KIND[type(event)]
        return self._row(event, identity_facts(event), kind, MISSING, 0)

    def _row(self, event: Source, facts: Facts, kind: int, amount: int, captured: int) -> tuple[list[int], Facts]:
        words = [kind, 0, 0, captured, 0, facts.occurred_at_ms, amount]
        for (name, scale), value in zip(self._numbers, self._values(event, facts), strict=True):
            words.append(MISSING if value is None else _number(name, value, scale))
        texts = self._texts(event, facts)
        cached = self._cache.get
        for text in texts:
            if text is None or text == "":
                words.append(0)
            else:
                words.append((cached(text) if text.__class__ is str else None) or self.key(text))
        if self._names:
            offset = len(texts) - len(self._names)
            for name, text in zip(self._names, texts[offset:], strict=True):
                if text is not None and text != "":
                    facts.categories[name] = str(text)
        return words, facts

    def key(self, value: object) -> int:
        """Return the keyed hash of a value: a signed 64-bit word, never 0."""
        text = value if isinstance(value, str) else str(value)
        key = self._cache.get(text)
        if key is None:
            keyed = self._keyed.copy()
            keyed.update(text.encode())
            key = int.from_bytes(keyed.digest(), "little", signed=True) or 1
            if len(self._cache) >= _CACHED_KEYS:
                self._cache.clear()
            self._cache[text] = key
        return key


def _number(name: str, value: object, scale: int) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput("not a number", field=f"number {name}", expected="a finite number", got=str(value)[:32])
    scaled = round(value * scale)
    if abs(scaled) > _MAX_WORD:
        raise BadInput("the number is too large", field=f"number {name}", expected="below 4.6e18", got=str(value)[:32])
    return scaled


# --- where a declared source stands ------------------------------------------------------------------------------


def _instrument(event: Source, facts: Facts) -> object:
    method = getattr(event, "method", None)
    if method is None:
        return None
    if isinstance(method, CryptoAddress):
        return method.address
    return method.fingerprint if isinstance(method, Bank) or hasattr(method, "fingerprint") else method.account


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
_FACTS = frozenset(Facts.__struct_fields__) - {"categories", "tables_version"}
_PARTS = {"customer": Customer, "device": Device, "session": SessionSummary, "billing": Address, "payee": Payee}


def _reader(sources: list[str]) -> Callable[[Source, Facts], list[object]]:
    """Return how to read all the sources at once: every fact in one call, the others one by one."""
    facts_at = [(place, source) for place, source in enumerate(sources) if source in _FACTS and source not in _DERIVED]
    others = [(place, _getter(source)) for place, source in enumerate(sources) if (place, source) not in facts_at]
    take = _taker([source for _, source in facts_at])

    def read(event: Source, facts: Facts) -> list[object]:
        values: list[object] = [None] * len(sources)
        for (place, _), value in zip(facts_at, take(facts), strict=True):
            values[place] = value
        for place, get in others:
            values[place] = get(event, facts)
        return values

    return read


def _taker(names: list[str]) -> Callable[[Facts], tuple[object, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda facts: tuple([getattr(facts, name) for name in names])


def _getter(source: str) -> Getter:
    """Return how to read a declared source from an event. Raises ``BadInput`` for one that cannot exist."""
    if source in _DERIVED:
        return _DERIVED[source]
    head, _, tail = source.partition(".")
    if head == "custom" and tail:
        return lambda event, facts: event.custom.get(tail)
    if head in _PARTS and tail in _PARTS[head].__struct_fields__:

        def part(event: Source, facts: Facts) -> object:
            whole = getattr(event, head, None)
            return None if whole is None else getattr(whole, tail, None)

        return part
    known = ", ".join(sorted((*_DERIVED, *_FACTS, "custom.<name>", *(f"{p}.<field>" for p in _PARTS))))
    raise BadInput("no such source", field="$.entities.source", expected=known, got=source)
