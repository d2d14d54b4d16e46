"""The first live payment after a history: an example that has every field which the history had."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import Any

import msgspec

from avalist.api.examples import PAYMENT
from avalist.domain.schema import Schema
from avalist.history.mapping import Mapping
from avalist.history.paths import ID
from avalist.history.plan import Field, Plan


def curl(url: str, merchant: str, data: str, payment: dict[str, Any]) -> str:
    """Return the command that asks for a decision on a payment, with a key of its own."""
    key = f"avalist merchant key {merchant} --data {shlex.quote(data)}"
    body = shlex.quote(msgspec.json.encode(payment).decode())
    return f'curl -s {url}/v1/decisions -H "Authorization: Bearer $({key})" -d {body}'


def first_payment(mapping: Mapping | None, schema: Schema, at: dt.datetime) -> dict[str, Any]:
    """Return a payment with the fields of a mapping, or with all of the usual ones; its values are made up."""
    head: dict[str, Any] = {"event_id": "evt-1", "payment_id": "order-1", "occurred_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    head |= {"amount_minor": 2500, "currency": schema.base_currency}
    if mapping is None:
        return {**PAYMENT, **head}
    plan, payment = Plan(mapping, schema), dict(head)
    for field in plan.fields:
        part, _, name = field.path.partition(".")
        if name:
            payment.setdefault(part, {})[name] = _value(field, head["occurred_at"])
        else:
            payment[part] = _value(field, head["occurred_at"])
    for part, usual in (("method", "card"), ("cart", "other")):
        if part in payment:
            payment[part] = {"kind": plan.kinds[part] or usual, **payment[part]}
    return {**payment, "cart": [payment["cart"]]} if "cart" in payment else payment


def _value(field: Field, at: object) -> Any:
    constant = field.column[1:] if field.column.startswith("=") else None
    if field.rule.kind == "text":
        return constant or _usual(field.path) or ("1" if field.rule.pattern not in ("", ID.pattern) else "example")
    return at if field.rule.kind == "time" else float(constant) if constant else max(field.rule.low, 1)


def _usual(path: str) -> Any:
    """Return the value of a path in the payment that the API's pages show."""
    part, _, name = path.partition(".")
    whole = PAYMENT[part][0] if part == "cart" else PAYMENT[part]
    return whole.get(name) if isinstance(whole, dict) else whole
