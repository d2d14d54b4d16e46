"""The other routes, on Starlette: look-ups, events, outcomes, administration, health."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from avalist.api.errors import Problem, problem_of, shown
from avalist.api.http import encode_json, read_body, refuse_in_address
from avalist.api.scan import check_body
from avalist.api.service import Service, check_clock
from avalist.app.administer import decode_request
from avalist.app.merchant import CHECKPOINTS
from avalist.app.stored import StoredDecision, stored_decision
from avalist.domain.errors import AvalistError, BadInput, LogFailed, NotFound, Overloaded
from avalist.domain.events import UNDECODABLE, OutcomeEvent, WireEvent, bad_body, decode_any, decode_event

_BATCH_FACTOR = 64
_MOST_EVENTS = 10_000
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many events were recorded, and why the others were not, by place in the batch."""

    recorded: int
    errors: list[dict[str, Any]] = []


def rest(service: Service) -> Starlette:
    """Return the framework app."""

    def route(path: str, method: str, handler: Any) -> Route:
        async def answer(request: Request) -> Response:
            try:
                refuse_in_address(request.scope)
                status, body = await handler(service, request)
            except AvalistError as error:
                if isinstance(error, LogFailed):
                    service.on_log_failure()
                problem = problem_of(error)
                service.metrics.problems.labels(problem.title).inc()
                return Response(encode_json(problem), problem.status, media_type="application/problem+json")
            kind = "application/json" if not isinstance(body, bytes) else "text/plain; version=0.0.4"
            return Response(body if isinstance(body, bytes) else encode_json(body), status, media_type=kind)

        return Route(path, answer, methods=[method])

    app = Starlette(
        routes=[
            route("/v1/decisions/{payment_id:path}", "GET", _decision),
            route("/v1/events", "POST", _events),
            route("/v1/outcomes", "POST", _outcomes),
            route("/v1/admin", "POST", _admin),
            route("/healthz", "GET", _healthz),
            route("/readyz", "GET", _readyz),
            route("/metrics", "GET", _metrics),
        ],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(
        type="about:blank",
        title=error.detail,
        status=error.status_code,
        detail=f"{request.method} {shown(request.url.path)[:64]} is no endpoint; see docs/reference/api.md",
    )
    return Response(encode_json(problem), error.status_code, error.headers, media_type="application/problem+json")


async def _decision(service: Service, request: Request) -> tuple[int, StoredDecision]:
    merchant = service.authenticate(request.scope).merchant
    checkpoint = request.query_params.get("checkpoint", "pre_auth")
    if checkpoint not in CHECKPOINTS:
        raise BadInput("no such checkpoint", field="checkpoint", expected=" or ".join(CHECKPOINTS), got=checkpoint[:32])
    payment_id = request.path_params["payment_id"]
    try:
        core, decided = service.writer.lookup(merchant, payment_id, checkpoint)
    except NotFound:
        stored = service.documents.get(merchant, "decisions", f"{payment_id}/{checkpoint}")
        if stored is None:
            raise
        return 200, msgspec.json.decode(stored, type=StoredDecision)
    columns = service.writer.merchant(merchant).plan.columns
    return 200, stored_decision(columns, core, decided)


async def _events(service: Service, request: Request) -> tuple[int, Recorded]:
    return await _record(service, request, outcomes_only=False)


async def _outcomes(service: Service, request: Request) -> tuple[int, Recorded]:
    return await _record(service, request, outcomes_only=True)


async def _record(service: Service, request: Request, *, outcomes_only: bool) -> tuple[int, Recorded]:
    """Record one event or a list: a body that does not decode stores nothing; events that do not fit are named."""
    key = service.authenticate(request.scope)
    commit = service.commit
    if commit.depth >= service.settings.queue_limit:
        raise Overloaded("too many requests wait for the log: retry after a second")
    body = await _body(service, request)
    events = await asyncio.to_thread(_decode_batch, body, outcomes_only)  # a long batch stalls no decision
    for event in events:
        check_clock(key, event)
    errors: list[dict[str, Any]] = []
    last, problem = -1, None
    for place, event in enumerate(events):
        try:
            last = max(last, service.writer.record(key.merchant, event, service.clock.now_ms()))
            service.metrics.events.labels(event.type).inc()
        except AvalistError as error:
            problem = error
            errors.append({"at": place, "event_id": event.event_id, "problem": problem_of(error)})
        if place % 500 == 499:
            await asyncio.sleep(0)
    if problem is not None and len(errors) == len(events):
        raise problem
    if last >= 0:
        await service.durable(last)
    return 200, Recorded(recorded=len(events) - len(errors), errors=errors)


async def _body(service: Service, request: Request) -> bytes:
    return await read_body(request.scope, request.receive, service.settings.body_limit_bytes * _BATCH_FACTOR)


def _decode_batch(body: bytes, outcomes_only: bool) -> list[WireEvent]:
    single = body.lstrip()[:1] != b"["
    try:
        raw = [msgspec.Raw(body)] if single else _RAW_LIST.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error) from None
    if len(raw) > _MOST_EVENTS:
        raise BadInput("too many events in one batch", field="$", expected=f"at most {_MOST_EVENTS}", got=str(len(raw)))
    events = []
    for place, part in enumerate(raw):
        try:
            event = decode_event(bytes(part))
            check_body(bytes(part), event)
        except BadInput as error:
            if not single:
                error.field = error.field.replace("$", f"$[{place}]", 1)
            raise
        if outcomes_only and not isinstance(event, OutcomeEvent):
            expected = "an outcome: authorisation_result, capture, void, refund, early_fraud_warning, chargeback, label"
            raise BadInput("not an outcome", field=f"$[{place}].type", expected=expected, got=event.type)
        events.append(event)
    return events


async def _admin(service: Service, request: Request) -> tuple[int, dict[str, object]]:
    service.authenticate_admin(request.scope)
    body = await _body(service, request)
    wanted = decode_request(body)
    check_body(body, decode_any(body))
    await asyncio.to_thread(service.administration.prepare, wanted)
    answer = service.administration.carry_out(wanted, service.clock.now_ms())
    await service.durable(service.end - 1)
    return 200, answer


async def _healthz(service: Service, request: Request) -> tuple[int, dict[str, str]]:
    return 200, {"status": "alive"}


async def _readyz(service: Service, request: Request) -> tuple[int, dict[str, object]]:
    service.commit  # noqa: B018  raises what makes the service not ready
    return 200, {"status": "ready", "merchants": len(service.writer.merchants)}


async def _metrics(service: Service, request: Request) -> tuple[int, bytes]:
    service.metrics.waiting.set(service.waiting)
    service.metrics.entities.set(sum(m.features.live_keys for m in service.writer.merchants.values()))
    return 200, generate_latest(service.metrics.registry)
