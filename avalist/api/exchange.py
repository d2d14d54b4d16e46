"""A payment's request and answer on a connection: no task, no ASGI messages, one write.

It stands where uvicorn keeps its own ``RequestResponseCycle``, which costs more than a decision may (ADR 12).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from avalist.api.commit import Kept
from avalist.api.http import (
    JSON,
    PROBLEM,
    VERSION,
    Header,
    Headers,
    check_media,
    encode_json,
    response,
    status_headers,
    too_large,
)
from avalist.api.routes.decisions import Asking
from avalist.api.service import Service
from avalist.app.partition import reason_of
from avalist.app.writer import Answer
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError

_LOGGER = logging.getLogger("uvicorn.error")
_BROKEN: Final = b'{"type":"about:blank","title":"Internal Server Error","status":500}'


def _nothing() -> None: ...


class _Ignored:
    """Nobody waits for what comes."""

    def set(self) -> None: ...


class Turn:
    """The requests that are decided in one turn of the event loop, and those that are answered in one: each step is
    done for all of them before the next, so that it finds its code and its tables in the cache.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._whole: list[Exchange] = []
        self._answered: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        """Add a request whose body is whole."""
        exchange.begin()
        self._whole.append(exchange)
        self._service.gather(self._ask)

    def _ask(self) -> None:
        whole, self._whole = self._whole, []
        for exchange in whole:
            exchange.take(Asking.decode, exchange.body)
        for exchange in whole:
            exchange.take(Asking.check, exchange.body)
        for exchange in whole:
            exchange.take(Asking.ask, exchange)

    def answer(self, exchange: Exchange) -> None:
        """Add a request whose answer is made."""
        self._answered.append(exchange)
        if len(self._answered) == 1:
            asyncio.get_running_loop().call_soon(self.send)  # unless someone knows sooner that this is all

    def send(self) -> None:
        """Write the answers."""
        answered, self._answered = self._answered, []
        for exchange in answered:
            exchange.send()


class Exchange:
    """One request whose head is read. What the protocol reads of a cycle is the same here.

    `sent` is called when the answer is written.
    """

    message_event: Final = _Ignored()

    def __init__(
        self,
        service: Service,
        turn: Turn,
        headers: Sequence[Header],
        transport: asyncio.WriteTransport,
        keep_alive: bool,
        sent: Callable[[], None],
    ) -> None:
        self.body = self._answer = b""
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self._settled = False
        self._service = service
        self._turn = turn
        self._transport = transport
        self._sent = sent
        self._asking = Asking(service)
        try:
            check_media(self._asking.admit(headers))
        except AvalistError as error:
            self.set_exception(error)

    def add(self, body: bytes) -> None:
        """Add a piece of the body; refuse one that grows too large."""
        self.body = self.body + body if self.body else body
        limit = self._service.settings.body_limit_bytes
        if len(self.body) > limit:
            self.set_exception(too_large(limit))

    def begin(self) -> None:
        """Take note of when the body was whole."""
        self._asking.begin()

    def take(self, step: Callable[..., None], *given: object) -> None:
        """Take a step towards the answer, if it is not known, and answer what goes wrong."""
        if self._settled:
            return
        try:
            step(self._asking, *given)
        except Exception as error:  # noqa: BLE001  told and logged, as a server does
            self.set_exception(error)

    def done(self) -> bool:
        """Tell whether the answer is known, written or yet to be: a rehearsed one may be late."""
        return self._settled

    def set_result(self, found: Kept[Answer] | Decision, /) -> None:
        """Make the answer, to be written in this turn."""
        self._settled = True
        try:
            body, headers = self._asking.answer(found), [JSON, VERSION, *self._asking.headers()]
        except Exception as error:  # noqa: BLE001  told and logged, as a server does
            self.set_exception(error)
            return
        if self._asking.pause_s:
            asyncio.get_running_loop().call_later(self._asking.pause_s, self._write, 200, headers, body)
        else:
            self._answer = response(200, headers, body, keep_alive=self.keep_alive)
            self._turn.answer(self)

    def set_exception(self, error: BaseException, /) -> None:
        """Write a problem document."""
        if isinstance(error, AvalistError):
            problem = self._asking.refuse(error)
            more = (*self._asking.headers_of_refusal(), *status_headers(problem.status))
            self._write(problem.status, [PROBLEM, VERSION, *more], encode_json(problem))
        else:
            _LOGGER.error("a decision broke: %s", reason_of(error))
            self.keep_alive = False
            self._asking.broke("a decision broke", 500)
            self._write(500, [PROBLEM], _BROKEN)

    def _write(self, status: int, headers: Headers, body: bytes) -> None:
        self._settled = True
        self._answer = response(status, headers, body, keep_alive=self.keep_alive)
        self.send()

    def send(self) -> None:
        """Write the answer, which is made."""
        self.response_complete = True
        sent, self._sent, self.body = self._sent, _nothing, b""  # what is done holds nothing
        answer, self._answer = self._answer, b""
        if self.disconnected or self._transport.is_closing():
            return
        self._transport.write(answer)
        if not self.keep_alive:
            self._transport.close()
        sent()
