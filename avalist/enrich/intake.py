"""From a typed event to its fold row: keyed hashes of entities and categories, scaled numbers."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final

from avalist.domain.errors import BadInput
from avalist.domain.events import IdentityEvent, KycStep, Login, Payment, ProfileChange, SessionClosed, SignUp
from avalist.domain.facts import NO_TABLES, Facts, SessionState
from avalist.domain.records import FoldKind
from avalist.domain.row import LARGEST_NUMBER, MISSING, VALUES
from avalist.domain.schema import Schema
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.quality import Quality, add_missing
from avalist.enrich.sources import Sources, is_given, is_of_identity, is_text
from avalist.enrich.tables import Tables

_CACHED_KEYS = 16_384
_NO_KEY: Final = bytes(8)
_FIRST_KEY: Final = (1).to_bytes(8, "little")
_ABSENT: Final[dict[object, bytes]] = {None: _NO_KEY, "": _NO_KEY}
_PAYMENT, _READ_ONLY = int(FoldKind.PAYMENT), int(FoldKind.READ_ONLY)
_LOGIN_OK, _LOGIN_FAILED = int(FoldKind.LOGIN_OK), int(FoldKind.LOGIN_FAILED)
_TEXT: Final = "(None if (value := {}) is None else str(value))"
"""The form of a key whose source may give something else than text."""
_FOLD_KIND = {
    SignUp: int(FoldKind.SIGN_UP),
    ProfileChange: int(FoldKind.PROFILE_CHANGE),
    KycStep: int(FoldKind.KYC_STEP),
    SessionClosed: int(FoldKind.SESSION),
}


class _Keys(dict[object, bytes]):
    """Keys by their texts, as they stand in rows: of nothing all zeros, else never. They are made when they are asked
    for, and held in two generations.
    """

    def __init__(self, secret: bytes) -> None:
        super().__init__(_ABSENT)
        self._keyed = hashlib.blake2b(digest_size=8, key=secret)
        self._older: dict[object, bytes] = {}

    def __missing__(self, text: str) -> bytes:
        key = self._older.get(text) or self.made(text)
        if len(self) >= _CACHED_KEYS:
            self._older = self.copy()
            self.clear()
            self.update(_ABSENT)
        self[text] = key
        return key

    def made(self, text: str) -> bytes:
        """Return the keyed hash of a text."""
        keyed = self._keyed.copy()
        keyed.update(text.encode())
        key = keyed.digest()
        return key if key != _NO_KEY else _FIRST_KEY


class Intake:
    """Turns one merchant's events into facts and fold rows.

    `secret` keys the hashes (32 bytes): without it a key cannot be tied to a clear value. `tables` are those in force,
    and `asked_for` their number: facts are without them where they could not be had.
    """

    def __init__(self, schema: Schema, secret: bytes) -> None:
        self._schema = schema
        self._quality = Quality(schema)
        keys = [d.source for d in schema.entities] + [d.source for d in schema.categories]
        self._keys_of = Sources(keys, list(map(_key_form, keys))).payment
        self._names = [c.name for c in schema.categories]
        self._first_category = len(schema.entities)
        own = list(map(is_of_identity, keys))
        own_keys = list(compress(keys, own))
        self._own_keys_of = Sources(own_keys, list(map(_key_form, own_keys))).identity
        self._own_names = list(compress(self._names, own[self._first_category :]))
        self._first_own_category = len(own_keys) - len(self._own_names)
        self._pack_own_keys = struct.Struct("".join("8s" if mine else "8x" for mine in own)).pack
        numbers = [d.source for d in schema.numbers]
        forms = [_number_form(place, 10**d.decimals) for place, d in enumerate(schema.numbers)]
        names = [d.name for d in schema.numbers]
        self._numbers_of = Sources(numbers, forms, missing=MISSING, number=_number, names=names)
        self._asked_numbers = [(place, source) for place, source in enumerate(numbers) if is_given(source)]
        self._asked_keys = [(place, source) for place, source in enumerate(keys) if is_given(source)]
        self._pack = struct.Struct(f"<{VALUES + 1 + len(numbers)}q").pack
        self._assumed = schema.capture == "assumed"
        self._keys = _Keys(secret)
        self._key_of = self._keys.__getitem__
        self.tables: Tables | None = None
        self.asked_for = NO_TABLES

    def payment(
        self, event: Payment, session_state: SessionState = "", *, at_ms: int = 0, again: bool = False
    ) -> tuple[bytes, Facts]:
        """Return the fold row and the facts of a payment that arrived at `at_ms`, joined with its session.

        One that came before, at another checkpoint, comes `again`: the velocity of its entities holds it already.
        Raises ``BadInput``.
        """
        warnings = self._quality.of(event, session_state)
        facts = payment_facts(event, self._schema, warnings, self.tables, session_state)
        captured = not again and (self._assumed if event.captured is None else event.captured)
        numbers, texts = self._numbers_of.payment(event, facts), self._keys_of(event, facts)
        missing = [source for place, source in self._asked_numbers if numbers[place] == MISSING]
        if not all(texts):
            missing += [source for place, source in self._asked_keys if not texts[place]]
        if missing:
            add_missing(facts, tuple(missing))
        if self._names:
            _note(facts, self._names, texts[self._first_category :])
        row = self._pack(
            _READ_ONLY if again else _PAYMENT, at_ms, at_ms, captured, 0, facts.occurred_at_ms,
            facts.amount_base_minor, *numbers,
        )  # fmt: skip
        return row + b"".join(map(self._key_of, texts)), facts

    def identity(self, event: IdentityEvent, at_ms: int = 0) -> tuple[bytes, Facts]:
        """Return the fold row and the facts of an identity event that arrived at `at_ms`. Raises ``BadInput``."""
        kind = (_LOGIN_OK if event.ok else _LOGIN_FAILED) if isinstance(event, Login) else _FOLD_KIND[type(event)]
        facts = identity_facts(event, self.tables)
        numbers, texts = self._numbers_of.identity(event, facts), self._own_keys_of(event, facts)
        if self._own_names:
            _note(facts, self._own_names, texts[self._first_own_category :])
        occurred_ms = facts.occurred_at_ms
        row = self._pack(kind, at_ms, min(occurred_ms, at_ms), 0, 0, occurred_ms, MISSING, *numbers)
        return row + self._pack_own_keys(*map(self._key_of, texts)), facts

    def key(self, value: object) -> int:
        """Return the keyed hash of a value: a signed 64-bit word, never 0."""
        text = str(value)
        return int.from_bytes(self._keys[text] if text else self._keys.made(text), "little", signed=True)


def _note(facts: Facts, names: Sequence[str], texts: Sequence[Any]) -> None:
    """Note an event's categories in its facts."""
    for name, text in zip(names, texts, strict=True):
        if text:
            facts.categories[name] = text


def _key_form(source: str) -> str:
    return "{}" if is_text(source) else _TEXT


def _number_form(place: int, scale: int) -> str:
    """Return the form of a number: whole ones, which most are, cost no call."""
    most = LARGEST_NUMBER // scale
    whole = f"value * {scale} if value.__class__ is int and {-most} <= value <= {most}"
    return f"(missing if (value := {{}}) is None else {whole} else number(names[{place}], value, {scale}))"


def _number(name: str, value: object, scale: int) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput("not a number", field=f"number {name}", expected="a finite number", got=str(value)[:32])
    scaled = value * scale
    if abs(scaled) > LARGEST_NUMBER:  # before rounding: infinity has no integer
        most = f"at most {LARGEST_NUMBER / scale:,.15g}"
        raise BadInput("the number is too large", field=f"number {name}", expected=most, got=str(value)[:32])
    return round(scaled)
