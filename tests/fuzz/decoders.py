"""What must hold of every decoder for any bytes; shared by the atheris target and the run in ``make test``.

A decoder returns or raises ``BadInput`` that names a field; what it returns encodes and decodes to an equal value; the
compiled scan never misses what the slow search finds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from avalist.api import examples
from avalist.api.errors import Problem, problem_of
from avalist.api.routes.lookup import decode_lookup
from avalist.api.scan import check_body
from avalist.app.administer import CreateMerchant, decode_request, decode_tables
from avalist.app.take import canonical
from avalist.app.webhook_office import decode_webhook_request
from avalist.domain.cards import holds_card_number, refuse_card_numbers
from avalist.domain.duplicates import find_duplicate_key
from avalist.domain.errors import BadInput, CardNumberRefused
from avalist.domain.events import Payment, decode_any, decode_event, decode_payment, decode_session
from avalist.domain.schema import Schema
from avalist.enrich.intake import Intake
from avalist.history.mapping import decode_mapping
from avalist.policy.economics import decode_policy
from bench._payments import payment
from tests.shop import SCHEMA

_INTAKE: Final = Intake(SCHEMA, b"k" * 32)


def check(data: bytes) -> None:
    """Feed one input, whose first byte chooses the decoder, to it. Raises ``AssertionError`` for a defect."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def _event(body: bytes) -> None:
    event = _kept(decode_event, body)
    if event is not None:
        canonical(event)
        _scan(body, event)


def _payment(body: bytes) -> None:
    event = _kept(decode_payment, body)
    if isinstance(event, Payment):
        canonical(event)
        _scan(body, event)
        _or_bad_input(_INTAKE.payment, event)


def _request(body: bytes) -> None:
    request = _or_bad_input(decode_request, body)
    whole = _or_bad_input(decode_any, body)  # as the route does: a policy is decoded later
    if request is not None and whole is not None:
        _scan(body, whole)
    if isinstance(request, CreateMerchant):
        _or_bad_input(Schema.check, request.schema)


def _policy(body: bytes) -> None:
    _kept(decode_policy, body)


def _mapping(body: bytes) -> None:
    mapping = _or_bad_input(decode_mapping, body.decode("utf-8", "replace"))
    if mapping is not None:
        _or_bad_input(lambda m: m.merchant_schema(), mapping)


def _scanned(decode: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """Return what decodes a body and looks it over, as its route does."""

    def target(body: bytes) -> None:
        wanted = _kept(decode, body)
        if wanted is not None:
            _scan(body, wanted)

    return target


TARGETS: Final = (
    _event, _payment, _request, _policy, _mapping,
    _scanned(decode_lookup), _scanned(decode_session), _scanned(decode_webhook_request), _scanned(decode_tables),
)  # fmt: skip


def _or_bad_input(call: Callable[[Any], Any], given: Any) -> Any:
    """Return what a call returns, or None where it raised ``BadInput``, having checked that it says enough."""
    try:
        return call(given)
    except BadInput as error:
        _check_problem(problem_of(error))
        return None


def _check_problem(problem: Problem) -> None:
    assert problem.field, problem
    assert problem.status in (400, 422), problem
    said = msgspec.json.encode(problem)
    assert len(said) < 4000, len(said)
    assert not holds_card_number(said.decode()), said


def _kept(decode: Callable[[bytes], Any], body: bytes) -> Any:
    value = _or_bad_input(decode, body)
    if value is not None:
        assert decode(msgspec.json.encode(value)) == value, value
    return value


def _scan(body: bytes, event: object) -> None:
    """Compare the quick look with the two slow searches that it stands for."""
    found = ""
    try:
        check_body(body, event)
    except CardNumberRefused:
        found = "card"
    except BadInput:
        found = "twice"
    assert (found == "card") == _holds_card(body, event), body
    assert found or not find_duplicate_key(body), body


def _holds_card(body: bytes, event: object) -> bool:
    try:
        refuse_card_numbers(b"\\" + body, event)  # an escape: nothing is settled by a quick look
    except CardNumberRefused:
        return True
    return False


def corpus() -> list[bytes]:
    """Return inputs to begin with: made payments and what else the decoders take."""
    rng = np.random.default_rng(0)
    payments = [json.dumps(payment(n, n, rng, 600)).encode() for n in range(8)]
    at = {"event_id": "e", "occurred_at": "2026-01-01T00:00:00Z"}
    events = [
        {"type": "login", "customer": {"id": "a", "phone": "4111111111111111"}, **at},
        {"type": "kyc_step", "customer": {"id": "\u00e9"}, "step": "id", "result": "passed", **at},
        {"type": "capture", "payment_id": "p", "amount_minor": 5, **at},
        {"type": "chargeback", "payment_id": "p", "stage": "lost", "fraud": False, **at},
        {"type": "payment", "payment_id": "p", "amount_minor": 1, "currency": "EUR", "custom": {"lat": 1e3}, **at},
    ]
    requests = [
        {"do": "create_merchant", "merchant": "a", "schema": msgspec.to_builtins(SCHEMA)},
        {"do": "set_policy", "merchant": "a", "policy": {"margin": 0.1, "fallback": {"beyond": "review"}}},
        {"do": "issue_key", "merchant": "a", "kind": "live"},
    ]
    mapping = (
        'payment_id = "id"\noccurred_at = "at"\ncurrency = "=EUR"\namount = "sum"\n[schema]\nbase_currency = "EUR"\n'
        '[schema.entities]\ncard = "method.fingerprint"\n[schema.numbers]\nlat = "custom.lat:3"\n'
    )
    by_target = (
        [*payments[:2], *(json.dumps(e).encode() for e in events)],
        payments,
        [json.dumps(r).encode() for r in requests],
        [b'{"margin": 0.2, "deadline_ms": 40}'],
        [mapping.encode()],
        [json.dumps(one).encode() for one in (examples.LOOKUP, examples.LOOKUP_PAYMENT)],
        [json.dumps(one).encode() for one in (examples.SESSION, examples.SESSION_LATER)],
        [json.dumps(one).encode() for one in examples.WEBHOOKS.values()],
        [b'{"version": 1}'],
    )
    return [bytes([target]) + body for target, bodies in enumerate(by_target) for body in bodies]
