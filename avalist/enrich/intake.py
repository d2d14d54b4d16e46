"""From a typed event to its fold row: keyed hashes of entities and categories, scaled numbers."""

from __future__ import annotations

import hashlib
import math

from avalist.domain.errors import BadInput
from avalist.domain.events import IdentityEvent, KycStep, Login, Payment, ProfileChange, SessionClosed, SignUp
from avalist.domain.facts import NO_TABLES, Facts, SessionState
from avalist.domain.records import FoldKind
from avalist.domain.row import LARGEST_NUMBER, MISSING
from avalist.domain.schema import Schema
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.quality import Quality, with_missing
from avalist.enrich.sources import Sources, is_given, is_text
from avalist.enrich.tables import Tables

_CACHED_KEYS = 16_384
_ABSENT: dict[object, int] = {None: 0, "": 0}
_FOLD_KIND = {
    SignUp: FoldKind.SIGN_UP,
    ProfileChange: FoldKind.PROFILE_CHANGE,
    KycStep: FoldKind.KYC_STEP,
    SessionClosed: FoldKind.SESSION,
}


class Intake:
    """Turns one merchant's events into facts and fold rows.

    `secret` keys the hashes (32 bytes): without it a key cannot be tied to a clear value. The ``at`` and ``t`` words
    stay 0: the writer stamps them. `tables` are those in force, and `asked_for` their number: facts are without them
    where they could not be had.
    """

    def __init__(self, schema: Schema, secret: bytes) -> None:
        self._schema = schema
        self._quality = Quality(schema)
        self._keyed = hashlib.blake2b(digest_size=8, key=secret)
        keys = [d.source for d in schema.entities] + [d.source for d in schema.categories]
        self._keys_of = Sources(keys)
        self._not_text = [place for place, source in enumerate(keys) if not is_text(source)]
        self._names = [c.name for c in schema.categories]
        self._first_category = len(schema.entities)
        numbers = [d.source for d in schema.numbers]
        self._values_of = Sources(numbers)
        self._asked_of_callers = [(place, s) for place, s in enumerate([*numbers, *keys]) if is_given(s)]
        self._numbers = [(d.name, 10**d.decimals, LARGEST_NUMBER // 10**d.decimals) for d in schema.numbers]
        self._assumed = schema.capture == "assumed"
        self._cache: dict[object, int] = dict(_ABSENT)
        self._older = self._cache
        self.tables: Tables | None = None
        self.asked_for = NO_TABLES

    def payment(self, event: Payment, session_state: SessionState = "") -> tuple[list[int], Facts]:
        """Return the fold row's words and the facts of a payment, joined with its session. Raises ``BadInput``."""
        warnings = self._quality.of(event, session_state)
        facts = payment_facts(event, self._schema, warnings, self.tables, session_state)
        captured = self._assumed if event.captured is None else event.captured
        values, texts = self._values_of.payment(event, facts), self._keys_of.payment(event, facts)
        given = values + texts
        missing = [source for place, source in self._asked_of_callers if given[place] is None or given[place] == ""]
        if missing:
            facts = with_missing(facts, tuple(dict.fromkeys(missing)))
        head = [FoldKind.PAYMENT, 0, 0, int(captured), 0, facts.occurred_at_ms, facts.amount_base_minor]
        return self._row(head, values, texts, facts), facts

    def identity(self, event: IdentityEvent) -> tuple[list[int], Facts]:
        """Return the fold row's words and the facts of an identity event. Raises ``BadInput``."""
        if isinstance(event, Login):
            kind = FoldKind.LOGIN_OK if event.ok else FoldKind.LOGIN_FAILED
        else:
            kind = _FOLD_KIND[type(event)]
        facts = identity_facts(event, self.tables)
        values, texts = self._values_of.identity(event, facts), self._keys_of.identity(event, facts)
        return self._row([kind, 0, 0, 0, 0, facts.occurred_at_ms, MISSING], values, texts, facts), facts

    def _row(self, words: list[int], values: list[object], texts: list[object], facts: Facts) -> list[int]:
        """Return the row that begins with `words`; note the categories in `facts`."""
        for (name, scale, most), value in zip(self._numbers, values, strict=True):
            if value is None:
                words.append(MISSING)
            elif value.__class__ is int and -most <= value <= most:
                words.append(value * scale)
            else:
                words.append(_number(name, value, scale))
        for place in self._not_text:
            if texts[place] is not None:
                texts[place] = str(texts[place])
        words += self._keys(texts)
        for name, text in zip(self._names, texts[self._first_category :], strict=True):
            if text:
                facts.categories[name] = str(text)
        return words

    def _keys(self, texts: list[object]) -> list[int]:
        """Return the keys of texts; 0 for None and nothing."""
        keys = list(map(self._cache.get, texts))
        if None not in keys:
            return keys  # type: ignore[return-value]
        return [self.key(text) if key is None else key for key, text in zip(keys, texts, strict=True)]

    def key(self, value: object) -> int:
        """Return the keyed hash of a value: a signed 64-bit word, never 0."""
        text = str(value)
        key = self._cache.get(text, 0) or self._older.get(text, 0)
        if key == 0:
            keyed = self._keyed.copy()
            keyed.update(text.encode())
            key = int.from_bytes(keyed.digest(), "little", signed=True) or 1
        if text:
            if len(self._cache) >= _CACHED_KEYS:
                self._older, self._cache = self._cache, dict(_ABSENT)
            self._cache[text] = key
        return key


def _number(name: str, value: object, scale: int) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput("not a number", field=f"number {name}", expected="a finite number", got=str(value)[:32])
    scaled = value * scale
    if abs(scaled) > LARGEST_NUMBER:  # before rounding: infinity has no integer
        most = f"at most {LARGEST_NUMBER / scale:,.15g}"
        raise BadInput("the number is too large", field=f"number {name}", expected=most, got=str(value)[:32])
    return round(scaled)
