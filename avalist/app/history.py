"""History in one's own columns: a mapping names them, and rows become events in the order they were known.

A payment is known at its time, a label at its report time. Where a file does not say when a fraud was reported, the
time is drawn from the schema's delay law and the label's source says ``imputed``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
import itertools
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from typing import Any

import msgspec

from avalist.app.mapping import Mapping, decode_mapping
from avalist.domain.cards import refuse_card_numbers
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    Label,
    Payment,
    WireEvent,
    bad_body,
)
from avalist.domain.money import minor_from_text
from avalist.domain.schema import Schema

__all__ = ["Mapping", "Reader", "decode_mapping"]

Cell = Any
RowOf = Map[str, Cell]


class Reader:
    """Makes events of rows. `hash_key` keys the hashes of `hashed` columns."""

    def __init__(self, mapping: Mapping, schema: Schema, hash_key: bytes) -> None:
        self._mapping = mapping
        self._explicit = schema.capture == "explicit"
        self._law = DelayLaw(*schema.report_delay_d)
        self._hash_key = hash_key
        self._fields = [(path.split("."), column) for path, column in mapping.fields.items()]

    def events(self, rows: Iterable[RowOf], until: dt.datetime | None = None) -> Iterator[WireEvent]:
        """Yield the events of `rows` (sorted by time) in known-time order; those known at or after `until` are left
        out.
        """
        outcomes: list[tuple[dt.datetime, int, WireEvent]] = []
        order = itertools.count()
        for row in rows:
            payment = self.payment(row)
            now = payment.occurred_at
            if until is not None and now >= until:
                break
            while outcomes and outcomes[0][0] <= now:
                yield heapq.heappop(outcomes)[2]
            yield msgspec.structs.replace(payment, received_at=now)
            for known_at, event in self.outcomes(row, payment):
                heapq.heappush(outcomes, (known_at, next(order), event))
        while outcomes:
            known_at, _, event = heapq.heappop(outcomes)
            if until is None or known_at < until:
                yield event

    def payment(self, row: RowOf) -> Payment:
        """Return the payment of a row, without ``received_at``. Raises ``BadInput`` naming the column."""
        m = self._mapping
        if m.hashed:
            row = {**row, **{c: self._hash(cell) for c in m.hashed if (cell := _cell(row, c)) is not None}}
        columns = (m.payment_id,) if isinstance(m.payment_id, str) else m.payment_id
        payment_id, currency = "/".join(str(_known(row, c)) for c in columns), str(_known(row, m.currency))
        whole: dict[str, Any] = {
            "type": "payment",
            "event_id": f"pay:{payment_id}",
            "payment_id": payment_id,
            "occurred_at": _instant(_cell(row, m.occurred_at), m.occurred_at),
            "amount_minor": self._amount(row, currency),
            "currency": currency,
            "captured": None
            if not m.outcomes.captured
            else False
            if self._explicit
            else _flag(row, m.outcomes.captured),
        }
        for path, column in self._fields:
            value = _cell(row, column)
            if value is not None and value != "":
                _put(whole, path, value)
        try:
            payment = msgspec.convert(_finished(whole), Payment)
        except msgspec.ValidationError as error:
            raise bad_body(error) from None
        refuse_card_numbers(msgspec.json.encode(payment), payment)
        return payment

    def outcomes(self, row: RowOf, payment: Payment) -> Iterator[tuple[dt.datetime, WireEvent]]:
        """Yield what became of a payment, with the time each became known."""
        o, id, now = self._mapping.outcomes, payment.payment_id, payment.occurred_at

        def when(name: str, at: dt.datetime) -> dict[str, Any]:
            return {"event_id": f"{name}:{id}", "occurred_at": at, "received_at": at, "payment_id": id}

        if o.auth_approved and (approved := _flag(row, o.auth_approved)) is not None:
            code = str(_cell(row, o.issuer_code) or "") if o.issuer_code else ""
            yield now, AuthorisationResult(**when("auth", now), approved=approved, issuer_code=code)
        if o.captured and self._explicit and _flag(row, o.captured):
            yield now, Capture(**when("capture", now))
        if o.early_warning_at and (warned := _cell(row, o.early_warning_at)) is not None:
            at = _instant(warned, o.early_warning_at)
            yield at, EarlyFraudWarning(**when("efw", at))
        if o.fraud_reported_at and (reported := _cell(row, o.fraud_reported_at)) is not None:
            at = _instant(reported, o.fraud_reported_at)
            yield at, Chargeback(**when("chargeback", at))
        elif o.fraud and not o.fraud_reported_at and _flag(row, o.fraud):
            at = now + dt.timedelta(days=self._law.draw_d(id))
            yield at, Label(**when("label", at), fraud=True, source="imputed")

    def _amount(self, row: RowOf, currency: str) -> int:
        if self._mapping.amount_minor:
            text, column = str(_cell(row, self._mapping.amount_minor)), self._mapping.amount_minor
            if not text.isdecimal():
                raise BadInput("not an amount", field=column, expected="an integer of minor units", got=text[:32])
            return int(text)
        return minor_from_text(str(_cell(row, self._mapping.amount)), currency)

    def _hash(self, value: Cell) -> str:
        return "h" + hashlib.blake2b(str(value).encode(), digest_size=16, key=self._hash_key).hexdigest()


def _cell(row: RowOf, column: str) -> Cell:
    if column.startswith("="):
        return column[1:]
    try:
        return row[column]
    except KeyError:
        expected = ", ".join(list(row)[:30])
        raise BadInput("the file has no such column", field="mapping", expected=expected, got=column) from None


def _known(row: RowOf, column: str) -> Cell:
    """Return a cell that may not be empty."""
    value = _cell(row, column)
    if value is None or value == "":
        raise BadInput("the cell is empty", field=column, expected="a value in every row")
    return value


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": None}


def _flag(row: RowOf, column: str) -> bool | None:
    """Return a yes or no; None where the cell is empty. The text "no" is not taken for a yes."""
    value = _cell(row, column)
    text = "" if value is None else str(int(value) if isinstance(value, float) and value in (0, 1) else value)
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        expected = "1 or 0, true or false, yes or no"
        raise BadInput("not a yes or no", field=column, expected=expected, got=text[:32]) from None


def _instant(value: Cell, column: str) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    try:
        instant = dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise BadInput("not a time", field=column, expected="ISO 8601", got=str(value)[:32]) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


_TEXT_PARTS = frozenset({"customer", "device", "billing", "payee", "method", "ip"})


def _put(whole: dict[str, Any], path: list[str], value: Cell) -> None:
    """Set a nested value; identifiers become text."""
    if path[0] in _TEXT_PARTS and not isinstance(value, str | dt.datetime):
        value = str(value)
    for name in path[:-1]:
        whole = whole.setdefault(name, {})
    whole[path[-1]] = value


def _finished(whole: dict[str, Any]) -> dict[str, Any]:
    """Give a flat cart, method and billing the shape of the wire."""
    if "cart" in whole:
        whole["cart"] = [{"kind": "other", **whole["cart"]}]
    if "method" in whole:
        whole["method"] = {"kind": "card", **whole["method"]}
    return whole
