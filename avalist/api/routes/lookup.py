"""Reading decisions back: one by its payment, or those that share something."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
from starlette.requests import Request

from avalist.api.http import headers_of, read_body
from avalist.api.limits import Caller
from avalist.api.scan import check_body
from avalist.api.service import Service
from avalist.app.flags import CHECKPOINTS
from avalist.app.lookup import Found, FoundDecision, Lookup, page_of
from avalist.app.stored import StoredDecision
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.events import UNDECODABLE, bad_body

_LOOKUP = msgspec.json.Decoder(Lookup)


async def get_decision(service: Service, request: Request, caller: Caller) -> StoredDecision:
    """Return one decision; it reads through the log, then the documents."""
    checkpoint = request.query_params.get("checkpoint", "pre_auth")
    if checkpoint not in CHECKPOINTS:
        raise BadInput("no such checkpoint", field="checkpoint", expected=" or ".join(CHECKPOINTS), got=checkpoint[:32])
    return await service.read_decision(caller.key.merchant, request.path_params["payment_id"], checkpoint)


async def _of_payment(service: Service, merchant: str, wanted: Lookup) -> Found:
    """Return the decisions of a payment, one a checkpoint."""
    found = []
    for checkpoint in CHECKPOINTS:
        with suppress(NotFound):
            one = await service.read_decision(merchant, wanted.value, checkpoint)
            found.append(FoundDecision(decision=one.decision, facts=one.facts))
    return page_of(found, wanted)


def decode_lookup(body: bytes) -> Lookup:
    """Decode what is looked for from JSON. Raises ``BadInput``."""
    try:
        return _LOOKUP.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error, kind=Lookup) from None


async def look_up(service: Service, request: Request, caller: Caller) -> Found:
    """Return the decisions on payments that share a value; off the event loop."""
    body = await read_body(headers_of(request.scope["headers"]), request.receive, service.settings.body_limit_bytes)
    wanted = decode_lookup(body)
    check_body(body, wanted)
    archive, merchant = service.archive, caller.key.merchant
    if wanted.by == "payment_id":
        return await _of_payment(service, merchant, wanted)
    key = archive.key(merchant, wanted)
    with service.waiting_look_up(merchant):
        async with service.look_up:
            return await asyncio.to_thread(archive.find, merchant, key, wanted)
