"""The ASGI application: the decision route raw, the rest by framework, errors by the table."""

from __future__ import annotations

import gc
from typing import NamedTuple

from avalist.api.exchange import Turn
from avalist.api.http import PROBLEM, Header, Receive, Scope, Send, encode_json, send_json, status_headers
from avalist.api.routes.decisions import PATH, Asking, decide
from avalist.api.routes.rest import rest
from avalist.api.scan import check_body
from avalist.api.service import Service
from avalist.domain.errors import AvalistError


class Head(NamedTuple):
    """What a head means: `headers`, and how long the body is that follows."""

    headers: list[Header]
    body_bytes: int


class App:
    """Routes requests. One app serves one :class:`Service`; `heads` are those of decisions that came before."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.failed: Exception | None = None
        """Why the service did not start."""
        self.heads: dict[bytes, Head] = {}
        self.turn = Turn(service)
        service.on_settled = self.turn.send
        self._rest = rest(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            asking = Asking(self.service)
            try:
                await decide(self.service, asking, scope, receive, send)
            except AvalistError as error:
                problem = asking.refuse(error)
                headers = [*asking.headers_of_refusal(), *status_headers(problem.status)]
                await send_json(send, encode_json(problem), headers, problem.status, PROBLEM)
        else:
            await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._start()
        except Exception as error:  # noqa: BLE001  a server that goes on unready would tell nobody
            self.failed = error
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.service.stop()
        gc.enable()
        gc.unfreeze()
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        self.service.start()
        self.service.warm_up()
        check_body(rb'{"\u00e9": 1}', {"\u00e9": 1})  # compiled, and the tables of the slow search made
        # A decision leaves no reference cycles (a test asserts it), so collection only costs pauses.
        gc.collect()
        gc.freeze()
        if self.service.tracer is None:  # what tells a collector of spans leaves cycles
            gc.disable()
