"""The other routes, on Starlette: look-ups, events, outcomes, administration, health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from avalist.api.errors import Problem, problem_of, problems_page, shown
from avalist.api.http import (
    VERSION,
    check_query,
    encode_json,
    headers_of,
    read_body,
    refuse_in_address,
    status_headers,
)
from avalist.api.limits import Caller
from avalist.api.openapi import rendered
from avalist.api.operations import DECIDE, MOST_EVENTS, OPERATIONS, Operation
from avalist.api.routes.lookup import get_decision, look_up
from avalist.api.scan import check_body
from avalist.api.service import Service, check_clock
from avalist.api.version import check_version, deprecation_headers
from avalist.api.wire import Alerts, Alive, NotRecorded, Ready, Recorded
from avalist.app.administer import TablesInForce, decode_request, decode_tables
from avalist.app.reviews import Queue
from avalist.app.webhook_office import decode_webhook_request
from avalist.domain.errors import AvalistError, BadInput, Overloaded
from avalist.domain.events import (
    UNDECODABLE,
    OutcomeEvent,
    WireEvent,
    bad_body,
    decode_any,
    decode_event,
    decode_session,
)

_BATCH_FACTOR = 64
_MOST_ALERTS = 100
Decode = Callable[[bytes], WireEvent]
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def rest(service: Service) -> Starlette:
    """Return the framework app, with every operation of the table but the raw one."""

    def route(op: Operation) -> Route:
        known = [parameter.name for parameter in op.parameters if parameter.place == "query"]

        async def answer(request: Request) -> Response:
            caller, at_ms = None, service.clock.steady_ms()
            try:
                refuse_in_address(request.scope)
                if op.access not in ("public", "metrics"):  # probes and scrapers add what they like
                    check_query(request.scope, known)
                given = headers_of(request.scope["headers"])
                check_version(given.get(b"avalist-version"))
                if op.scope:
                    caller = service.authenticate(given, service.clock.now_ms())
                    caller.admit(op.scope, at_ms)
                elif op.access == "admin":
                    service.authenticate_admin(given)
                elif op.access == "metrics":
                    service.authenticate_scraper(given)
                response = _answer(op, await _HANDLERS[op.id](service, request, caller))
            except AvalistError as error:
                response = _problem(service.refused(error))
            limits = caller.headers(at_ms) if caller else []
            response.raw_headers += [*limits, *deprecation_headers(op.id)]
            return response

        return Route(op.path.replace("_id}", "_id:path}"), answer, methods=[op.method])

    app = Starlette(
        routes=[route(op) for op in OPERATIONS if op is not DECIDE],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


def _answer(op: Operation, body: object) -> Response:
    media = op.answer if isinstance(op.answer, str) else "application/json"
    content = body if isinstance(body, bytes) else encode_json(body)
    response = Response(content, headers={"content-type": media})
    response.raw_headers.append(VERSION)
    return response


def _problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(encode_json(problem), problem.status, headers, media_type="application/problem+json")
    response.raw_headers += [VERSION, *status_headers(problem.status)]
    return response


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = f"{request.method} {shown(request.url.path)[:64]} is no endpoint; GET /openapi.json lists them"
    problem = Problem(type="about:blank", title=error.detail, status=error.status_code, detail=detail)
    return _problem(problem, error.headers)


async def _events(service: Service, request: Request, caller: Caller) -> Recorded:
    return await _record(service, request, caller, decode_event)


async def _outcomes(service: Service, request: Request, caller: Caller) -> Recorded:
    return await _record(service, request, caller, _decode_outcome)


async def _sessions(service: Service, request: Request, caller: Caller) -> Recorded:
    return await _record(service, request, caller, decode_session)


async def _record(service: Service, request: Request, caller: Caller, decode: Decode) -> Recorded:
    """Record one event or a list: a body that does not decode stores nothing; events that do not fit are named."""
    key = caller.key
    service.check()
    if service.full:
        raise Overloaded("too many requests wait for the log: retry after a second")
    body = await _body(service, request)
    events = await asyncio.to_thread(_decode_batch, body, decode)  # a long batch stalls no decision
    for event in events:
        check_clock(key, event)
    if any(isinstance(event, OutcomeEvent) for event in events):
        caller.need("outcomes:write")
    found = await service.record(key.merchant, events)
    wrong = [problem for problem in found if problem is not None]
    if wrong and len(wrong) == len(events):
        raise wrong[-1]
    for event, problem in zip(events, found, strict=True):
        if problem is None:
            service.metrics.events.labels(event.type).inc()
    errors = tuple(
        NotRecorded(at=place, event_id=event.event_id, problem=problem_of(problem))
        for place, (event, problem) in enumerate(zip(events, found, strict=True))
        if problem is not None
    )
    return Recorded(recorded=len(events) - len(errors), errors=errors)


async def _body(service: Service, request: Request) -> bytes:
    limit = service.settings.body_limit_bytes * _BATCH_FACTOR
    return await read_body(headers_of(request.scope["headers"]), request.receive, limit)


def _decode_batch(body: bytes, decode: Decode) -> list[WireEvent]:
    single = body.lstrip()[:1] != b"["
    try:
        raw = [msgspec.Raw(body)] if single else _RAW_LIST.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error) from None
    if len(raw) > MOST_EVENTS:
        raise BadInput("too many events in one batch", field="$", expected=f"at most {MOST_EVENTS}", got=str(len(raw)))
    events = []
    for place, part in enumerate(raw):
        try:
            event = decode(bytes(part))
            check_body(bytes(part), event)
        except BadInput as error:
            if not single:
                error.field = error.field.replace("$", f"$[{place}]", 1)
            raise
        events.append(event)
    return events


def _decode_outcome(body: bytes) -> WireEvent:
    event = decode_event(body)
    if not isinstance(event, OutcomeEvent):
        expected = "an outcome: authorisation_result, capture, void, refund, early_fraud_warning, chargeback, label"
        raise BadInput("not an outcome", field="$.type", expected=expected, got=event.type)
    return event


async def _alerts(service: Service, request: Request, caller: Caller) -> Alerts:
    given = request.query_params.get("limit", "20")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:4]) <= _MOST_ALERTS or len(given) > 3:
        raise BadInput("not a limit", field="limit", expected=f"1 to {_MOST_ALERTS}", got=ascii(given)[:32])
    return Alerts(alerts=await asyncio.to_thread(service.alerts, caller.key.merchant, int(given)))


async def _reviews(service: Service, request: Request, caller: Caller) -> Queue:
    return await asyncio.to_thread(service.reviews, caller.key.merchant)


async def _admin(service: Service, request: Request, caller: None) -> dict[str, Any]:
    body = await _body(service, request)
    wanted = decode_request(body)
    check_body(body, decode_any(body))
    answer = await service.administer(wanted)
    service.metrics.administered(wanted)
    return answer


async def _tables(service: Service, request: Request, caller: None) -> TablesInForce:
    body = await _body(service, request)
    wanted = decode_tables(body)
    check_body(body, wanted)
    return await service.set_tables(wanted)


async def _webhooks(service: Service, request: Request, caller: None) -> dict[str, Any]:
    body = await _body(service, request)
    wanted = decode_webhook_request(body)
    check_body(body, decode_any(body))
    return await asyncio.to_thread(service.webhooks.carry_out, wanted, service.clock.now_ms())


async def _healthz(service: Service, request: Request, caller: None) -> Alive:
    return Alive()


async def _readyz(service: Service, request: Request, caller: None) -> Ready:
    service.check()
    return Ready()


async def _metrics(service: Service, request: Request, caller: None) -> bytes:
    await service.measure()
    return generate_latest(service.metrics.registry)


async def _openapi(service: Service, request: Request, caller: None) -> bytes:
    return rendered()


async def _problems(service: Service, request: Request, caller: None) -> bytes:
    return problems_page()


_HANDLERS: dict[str, Callable[[Service, Request, Any], Awaitable[object]]] = {
    "get_decision": get_decision,
    "look_up": look_up,
    "alerts": _alerts,
    "reviews": _reviews,
    "record_events": _events,
    "record_outcomes": _outcomes,
    "record_sessions": _sessions,
    "administer": _admin,
    "set_tables": _tables,
    "administer_webhooks": _webhooks,
    "healthz": _healthz,
    "readyz": _readyz,
    "metrics": _metrics,
    "openapi": _openapi,
    "problems": _problems,
}
