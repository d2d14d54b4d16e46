"""A simple reading of rows, one by one: what the reading by columns has to agree with."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from avalist.domain.delay import DelayLaw
from avalist.domain.events import AuthorisationResult, Capture, Chargeback, EarlyFraudWarning, Label, Payment, WireEvent
from avalist.domain.money import minor_from_text
from avalist.domain.schema import Schema
from avalist.history.mapping import Mapping

Row = dict[str, Any]


def one_by_one(rows: Iterable[Row], mapping: Mapping, schema: Schema, key: bytes) -> list[WireEvent]:
    """Return the events of sound rows in known-time order; of a payment id that comes again, the first known row's."""
    ordered = sorted(enumerate(rows), key=lambda numbered: (numbered[1]["t"], numbered[0]))
    found: list[tuple[tuple[Any, ...], WireEvent]] = []
    seen: set[str] = set()
    for line, row in ordered:
        if row["id"] in seen:
            continue
        seen.add(row["id"])
        payment = _payment(row, mapping, key)
        found.append(((payment.occurred_at, 1, line, 0), payment))
        for kind, event in _outcomes(row, payment, mapping, schema):
            at_once = event.occurred_at == payment.occurred_at
            found.append(((event.occurred_at, int(at_once), line, kind), event))
    return [event for _, event in sorted(found, key=lambda keyed: keyed[0])]


def _payment(row: Row, mapping: Mapping, key: bytes) -> Payment:
    pan = row["pan"] and "h" + hashlib.blake2b(row["pan"].encode(), digest_size=16, key=key).hexdigest()
    whole: Row = {
        "type": "payment", "event_id": f"pay:{row['id']}", "payment_id": row["id"], "occurred_at": row["t"],
        "received_at": row["t"],
        "amount_minor": minor_from_text(str(row["amt"]), "EUR"), "currency": "EUR",
        "custom": {} if row["lat"] is None else {"lat": row["lat"]},
    }  # fmt: skip
    if row["user"]:
        whole["customer"] = {"id": row["user"]}
    if pan:
        whole["method"] = {"kind": "card", "fingerprint": pan}
    if row["sku"]:
        whole["cart"] = [{"kind": "other", "sku": row["sku"]}]
    if mapping.outcomes.captured:
        whole["captured"] = False if mapping.schema.settings["capture"] == "explicit" else row["cap"]
    return msgspec.convert(whole, Payment)


def _outcomes(row: Row, payment: Payment, mapping: Mapping, schema: Schema) -> Iterator[tuple[int, WireEvent]]:
    o, id, now = mapping.outcomes, payment.payment_id, payment.occurred_at

    def when(name: str, at: dt.datetime) -> dict[str, Any]:
        return {"event_id": f"{name}:{id}", "occurred_at": at, "received_at": at, "payment_id": id}

    if o.auth_approved and row["ok"] is not None:
        yield 1, AuthorisationResult(**when("auth", now), approved=row["ok"])
    if o.captured and schema.capture == "explicit" and row["cap"]:
        yield 2, Capture(**when("capture", now))
    if o.early_warning_at and row["efw"]:
        yield 3, EarlyFraudWarning(**when("efw", max(row["efw"], now)))
    if o.fraud_reported_at and row["cb"]:
        yield 4, Chargeback(**when("chargeback", max(row["cb"], now)))
    elif o.fraud and not o.fraud_reported_at and row["bad"]:
        at = now + dt.timedelta(days=DelayLaw(*schema.report_delay_d).draw_d(id))
        yield 5, Label(**when("label", at), fraud=True, source="imputed")
