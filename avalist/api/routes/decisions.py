"""``POST /v1/decisions``: the main path (architecture §3), from a head to an answer, without waiting anywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from avalist.api.commit import Kept, Settles
from avalist.api.errors import Problem
from avalist.api.http import (
    Given,
    Header,
    Headers,
    Receive,
    Scope,
    Send,
    check_query,
    encode_json,
    headers_of,
    read_body,
    refuse_in_address,
    send_json,
)
from avalist.api.limits import Caller
from avalist.api.operations import DECIDE
from avalist.api.scan import check_body
from avalist.api.service import Service, check_clock
from avalist.api.version import deprecation_headers
from avalist.app.rehearse import DEGRADED, PROBLEMS, SLOW, SLOW_S, told
from avalist.app.writer import Answer, Asked
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, BadInput
from avalist.domain.events import Payment, decode_payment
from avalist.domain.keys import ApiKey
from avalist.enrich.shapes import email_domain
from avalist.ports.tracing import Said, Span, Tracer

PATH: Final = "/v1/decisions"
_MAX_DEADLINE_MS = 10_000


class Asking:
    """One payment on its way: :meth:`admit` its caller, :meth:`decode` its body, :meth:`check` it, :meth:`ask`, then
    :meth:`answer`.

    Each raises what becomes a problem document.
    """

    __slots__ = (
        "_admitted_ms", "_asked", "_began_ms", "_began_s", "_event", "_service", "_span", "_word", "caller", "given",
    )  # fmt: skip

    def __init__(self, service: Service) -> None:
        self._service = service
        self.caller: Caller | None = None
        self._span: Span | None = None
        self._word = ""

    def admit(self, headers: Sequence[Header]) -> Given:
        """Check a request's head; return its headers. Nothing of the body is wanted before."""
        service = self._service
        service.check()
        given = self.given = headers_of(headers)
        self._admitted_ms = service.clock.steady_ms()
        caller = self.caller = service.authenticate(given, service.clock.now_ms())
        caller.admit("decisions:write", self._admitted_ms)
        return given

    def begin(self) -> None:
        """Take note of the time, for the body is whole."""
        self._began_s, self._began_ms = time.perf_counter(), self._service.clock.now_ms()

    def decode(self, body: bytes) -> None:
        """Decode the payment."""
        if self._service.tracer is not None:
            self._trace(self._service.tracer)
        self._event = decode_payment(body)

    def check(self, body: bytes) -> None:
        """Look for what a decoder lets pass."""
        check_body(body, self._event)

    def ask(self, done: Settles[Kept[Answer] | Decision]) -> None:
        """Ask; `done` gets the answer once it is durable, or when the time is out."""
        service, key, event = self._service, self._key, self._event
        check_clock(key, event)
        timeout_s = _timeout_s(service, self.given, key.merchant) - (time.perf_counter() - self._began_s)
        if key.kind == "sandbox":
            self._word = _rehearsal(key, event)
        degraded = self._word == DEGRADED
        traceparent = b"" if self._span is None else self._span.traceparent
        self._asked = Asked(key.merchant, event, self._began_ms, traceparent, degraded)
        service.ask(self._asked, timeout_s, done)

    def answer(self, found: Kept[Answer] | Decision) -> bytes:
        """Return the answer's body; after :attr:`pause_s`, it may be sent."""
        decision = self._first(found) if isinstance(found, Kept) else found
        self._service.metrics.answered(decision.action, time.perf_counter() - self._began_s)
        if self._span is not None:
            said = Said(seq=decision.seq, action=decision.action.value, degraded=decision.degraded, status=200)
            self._span.end(**said)
        return encode_json(decision)

    def refuse(self, error: AvalistError) -> Problem:
        """Return what an error is told as."""
        problem = self._service.refused(error)
        self.broke(problem.title, problem.status)
        return problem

    def broke(self, what: str, status: int) -> None:
        """End the span, if there is one."""
        if self._span is not None:
            self._span.end(what if status >= 500 else "", status=status)

    def _trace(self, tracer: Tracer) -> None:
        parent = self.given.get(b"traceparent", b"")
        self._span = tracer.begin(f"POST {PATH}", "server", parent, merchant=self._key.merchant)

    def _first(self, kept: Kept[Answer]) -> Decision:
        """Return the first answer: the fallback, where the decision is not durable in time and becomes advice."""
        if self._word == SLOW and kept.what.again:
            self._word = ""
        return self._service.first(self._asked, kept)

    @property
    def pause_s(self) -> float:
        """Return how long a rehearsed answer is to be late; known after :meth:`answer`."""
        return SLOW_S if self._word == SLOW else 0.0

    def headers(self) -> list[Header]:
        """Return the headers of the answer."""
        return [*self._caller.headers(self._admitted_ms), *deprecation_headers(DECIDE.id)]

    def headers_of_refusal(self) -> Headers:
        """Return the headers of a problem document."""
        return self.caller.headers(self._admitted_ms) if self.caller is not None else ()

    @property
    def _caller(self) -> Caller:
        assert self.caller is not None
        return self.caller

    @property
    def _key(self) -> ApiKey:
        return self._caller.key


async def decide(service: Service, asking: Asking, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one payment over ASGI."""
    if scope["query_string"]:
        refuse_in_address(scope)
        check_query(scope, ())
    given = asking.admit(scope["headers"])
    body = await read_body(given, receive, service.settings.body_limit_bytes)
    done: asyncio.Future[Kept[Answer] | Decision] = asyncio.get_running_loop().create_future()
    asking.begin()
    asking.decode(body)
    asking.check(body)
    asking.ask(done)
    answer = asking.answer(await done)
    if asking.pause_s:
        await asyncio.sleep(asking.pause_s)
    await send_json(send, answer, asking.headers())


def _rehearsal(key: ApiKey, event: Payment) -> str:
    """Return the word by which a sandbox's payment asks for its answer. Raises the problem that it asks for."""
    word = told(event.payment_id, email_domain(event.customer.email or "") if event.customer else "")
    if word in PROBLEMS:
        raise PROBLEMS[word](f"a test payment asked for this problem ({word}); nothing was stored")
    return word


def _timeout_s(service: Service, headers: Given, merchant: str) -> float:
    given = headers.get(b"avalist-deadline-ms")
    if not given:
        return service.timeout_s(merchant)
    if not given.isdigit() or len(given) > 5 or not 1 <= int(given) <= _MAX_DEADLINE_MS:
        raise BadInput(
            "not a deadline",
            field="header Avalist-Deadline-Ms",
            expected=f"1 to {_MAX_DEADLINE_MS}",
            got=given[:16].decode("latin-1"),
        )
    return int(given) / 1000.0
