"""``POST /v1/decisions``: the main path, raw ASGI (architecture §3)."""

from __future__ import annotations

import asyncio
import time

from avalist.api.http import (
    Given,
    Receive,
    Scope,
    Send,
    encode_json,
    headers_of,
    read_body,
    refuse_in_address,
    send_json,
)
from avalist.api.operations import DECIDE
from avalist.api.scan import check_body
from avalist.api.service import Service, check_clock
from avalist.api.version import deprecation_headers
from avalist.app.rehearse import DEGRADED, PROBLEMS, SLOW, SLOW_S, told
from avalist.app.writer import Answer, Asked
from avalist.domain.decisions import Decision
from avalist.domain.errors import BadInput
from avalist.domain.events import Payment, decode_payment
from avalist.domain.keys import ApiKey
from avalist.enrich.shapes import email_domain

_MAX_DEADLINE_MS = 10_000


async def decide(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one payment: authenticate, decode, decide, make durable, answer."""
    service.commit  # noqa: B018  raises what keeps the service from answering
    if scope["query_string"]:
        refuse_in_address(scope)
    given = headers_of(scope)
    asked_ms = service.clock.now_ms()
    caller = scope["caller"] = service.authenticate(given, asked_ms)
    caller.admit("decisions:write", asked_ms)
    key = caller.key
    body = await read_body(given, receive, service.settings.body_limit_bytes)
    started_s, started_ms = time.perf_counter(), service.clock.now_ms()
    event = decode_payment(body)
    check_body(body, event)
    check_clock(key, event)
    timeout_s = _timeout_s(service, given, key.merchant)
    word = _rehearsal(key, event) if key.kind == "sandbox" else ""
    if service.waiting >= service.settings.queue_limit and not service.writer.knows(key.merchant, event.event_id):
        decision = service.writer.answer_unscored(key.merchant, event, started_ms)
        service.metrics.fallbacks.labels("overloaded").inc()
    else:
        answer, durable = await service.decider.ask(Asked(key.merchant, event, started_ms), timeout_s)
        if durable and word != DEGRADED:
            decision = service.writer.first(key.merchant, answer)
        else:
            decision = _too_late(service, key.merchant, answer)
        if word == SLOW and not answer.again:
            await asyncio.sleep(SLOW_S)
    service.metrics.answered(decision.action, time.perf_counter() - started_s)
    await send_json(send, encode_json(decision), [*caller.headers(started_ms), *deprecation_headers(DECIDE.id)])


def _rehearsal(key: ApiKey, event: Payment) -> str:
    """Return the word by which a sandbox's payment asks for its answer. Raises the problem that it asks for."""
    word = told(event.payment_id, email_domain(event.customer.email or "") if event.customer else "")
    if word in PROBLEMS:
        raise PROBLEMS[word](f"a test payment asked for this problem ({word}); nothing was stored")
    return word


def _too_late(service: Service, merchant: str, answer: Answer) -> Decision:
    """Answer by fallback: the decision is in the log's queue and becomes advice."""
    service.metrics.fallbacks.labels("deadline").inc()
    return service.writer.fallback(merchant, answer, service.clock.now_ms(), "deadline")


def _timeout_s(service: Service, headers: Given, merchant: str) -> float:
    given = headers.get(b"avalist-deadline-ms")
    if not given:
        return service.writer.merchants[merchant].policy.deadline_ms / 1000.0
    if not given.isdigit() or len(given) > 5 or not 1 <= int(given) <= _MAX_DEADLINE_MS:
        raise BadInput(
            "not a deadline",
            field="header Avalist-Deadline-Ms",
            expected=f"1 to {_MAX_DEADLINE_MS}",
            got=given[:16].decode("latin-1"),
        )
    return int(given) / 1000.0
