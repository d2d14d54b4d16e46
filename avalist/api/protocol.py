"""The HTTP/1.1 of the service: uvicorn's, but that decisions take a short way (:mod:`avalist.api.exchange`), what is no
HTTP gets a problem document, and a head has a limit.
"""

from __future__ import annotations

from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from avalist.api.app import App, Head
from avalist.api.errors import Problem
from avalist.api.exchange import Exchange
from avalist.api.http import PROBLEM, Header, encode_json, response
from avalist.api.routes.decisions import PATH

LARGEST_HEAD_BYTES: Final = 65_536
_END: Final = b"\r\n\r\n"
MOST_KNOWN: Final = 4096
LARGEST_KNOWN_BYTES: Final = 1024
_DECISIONS: Final = PATH.encode()
_NO_HTTP: Final = Problem(
    type="about:blank",
    title="Bad Request",
    status=400,
    detail="what came is no HTTP/1.1 request: see RFC 9112",
    field="request",
    expected="HTTP/1.1",
)
_NO_UPGRADE: Final = Problem(
    type="about:blank",
    title="Bad Request",
    status=400,
    detail="this service speaks HTTP/1.1 alone: tell your HTTP client not to ask for another protocol",
    field="header Upgrade",
    expected="no Upgrade header",
)
_HEAD_TOO_LARGE: Final = Problem(
    type="about:blank",
    title="Request Header Fields Too Large",
    status=431,
    detail="the request line and headers are too large",
    field="headers",
    expected=f"at most {LARGEST_HEAD_BYTES} bytes",
    got="more",
)


class Protocol(HttpToolsProtocol):
    """One connection."""

    _dry_bytes = 0
    _moved = False
    _between = True
    """Whether the parser is where a message may begin."""
    _exchange: Exchange | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came: a decision whose head was parsed before, or else what the parser makes of it."""
        body_at = data.find(_END) + len(_END)
        between, before = self._between, self._exchange
        if between and self._known(data, body_at):
            return
        self._parse(data)
        if between and self._exchange is not before:
            self._remember(data, body_at)

    def _known(self, data: bytes, body_at: int) -> bool:
        """Begin a decision, if `data` is one request and the parser said before what its head means (ADR 42)."""
        head = cast(App, self.app).heads.get(data[:body_at])
        cycle = self.cycle
        if head is None or len(data) != body_at + head.body_bytes or not (cycle is None or cycle.response_complete):
            return False
        self._unset_keepalive_if_required()
        self._dry_bytes = 0
        self._begin(head.headers, keep_alive=True)
        self.on_body(data[body_at:])
        self.on_message_complete()
        return True

    def _remember(self, data: bytes, body_at: int) -> None:
        """Keep the head of a decision that was let in and goes on, if `data` is that one request, whole: its body is as
        long as the head says. A second request, or a blank line before the first, would make it longer.
        """
        exchange, heads, body_bytes = self._exchange, cast(App, self.app).heads, len(data) - body_at
        if not self._between or exchange is None or exchange.done() or not exchange.keep_alive:
            return
        if body_at <= LARGEST_KNOWN_BYTES and dict(self.headers).get(b"content-length") == b"%d" % body_bytes:
            if len(heads) >= MOST_KNOWN:
                heads.clear()
            heads[data[:body_at]] = Head(self.headers, body_bytes)

    def _parse(self, data: bytes) -> None:
        """Parse; bytes that end no head and are no body may not go on for ever: heads, trailers, chunks."""
        self._moved = False
        super().data_received(data)
        self._dry_bytes = 0 if self._moved else self._dry_bytes + len(data)
        if self._dry_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_HEAD_TOO_LARGE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the request: each holds the other, and nobody collects cycles here."""
        super().connection_lost(exc)
        self._exchange = None
        self.cycle = None  # type: ignore[assignment]

    def on_message_begin(self) -> None:
        """Begin a request; the scope is made where it is wanted."""
        self._between = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Begin a decision, or what else is asked."""
        self._moved = True
        if self._is_decision():
            self._begin(self.headers, keep_alive=self.parser.should_keep_alive())
        else:
            self._exchange = None
            url, headers, expect = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expect
            self.headers += headers
            super().on_headers_complete()

    def _begin(self, headers: list[Header], *, keep_alive: bool) -> None:
        app = cast(App, self.app)
        self._exchange = Exchange(app.service, app.turn, headers, self.transport, keep_alive, self.on_response_complete)
        self.cycle = self._exchange  # type: ignore[assignment]

    def _is_decision(self) -> bool:
        """Tell whether a decision is asked, and nothing special of HTTP with it."""
        return (
            self.url == _DECISIONS
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """Note a piece of the body: bodies have a limit of their own."""
        self._moved = True
        if self._exchange is None:
            super().on_body(body)
        elif not self._exchange.response_complete:
            self._exchange.add(body)

    def on_message_complete(self) -> None:
        """Ask, or let the application know."""
        self._between = True
        if self._exchange is None:
            super().on_message_complete()
        elif not self._exchange.response_complete:
            cast(App, self.app).turn.add(self._exchange)

    def handle_websocket_upgrade(self) -> None:
        """Refuse to switch protocols."""
        self._unsupported_upgrade_warning()

    def _unsupported_upgrade_warning(self) -> None:
        """Refuse to switch protocols: what follows the head would be taken for the next request."""
        self._refuse(_NO_UPGRADE)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(_NO_HTTP)

    def _refuse(self, problem: Problem) -> None:
        if self.cycle is not None:  # its answer is not wanted any more
            self.cycle.disconnected = True
        self.transport.write(response(problem.status, [PROBLEM], encode_json(problem), keep_alive=False))
        self.transport.close()
