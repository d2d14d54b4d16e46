"""The ASGI application: the decision route raw, the rest by framework, errors by the table."""

from __future__ import annotations

import gc

from avalist.api.http import Receive, Scope, Send, send_error
from avalist.api.limits import Caller
from avalist.api.routes.decisions import decide
from avalist.api.routes.rest import rest
from avalist.api.scan import check_body
from avalist.api.service import Service
from avalist.app.warm import warm_up
from avalist.domain.errors import AvalistError, LogFailed


class App:
    """Routes requests. One app serves one :class:`Service`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rest = rest(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and scope["path"] == "/v1/decisions" and scope["method"] == "POST":
            try:
                await decide(self._service, scope, receive, send)
            except AvalistError as error:
                if isinstance(error, LogFailed):
                    self._service.on_log_failure()
                caller: Caller | None = scope.get("caller")
                more = caller.headers(self._service.clock.now_ms()) if caller else ()
                problem = await send_error(send, error, more)
                self._service.metrics.problems.labels(problem.title).inc()
        else:
            await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service.start()
        warm_up(list(self._service.writer.merchants.values()))
        check_body(rb'{"\u00e9": 1}', {"\u00e9": 1})  # compiled, and the tables of the slow search made
        # A decision leaves no reference cycles (a test asserts it), so collection only costs pauses.
        gc.collect()
        gc.freeze()
        gc.disable()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._service.stop()
        gc.enable()
        gc.unfreeze()
        await send({"type": "lifespan.shutdown.complete"})
