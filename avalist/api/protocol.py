"""The HTTP/1.1 of the service: uvicorn's, but that decisions take a short way (:mod:`avalist.api.exchange`), what is no
HTTP gets a problem document, and a head has a limit.
"""

from __future__ import annotations

from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from avalist.api.app import App
from avalist.api.errors import Problem
from avalist.api.exchange import Exchange
from avalist.api.http import PROBLEM, encode_json, response
from avalist.api.routes.decisions import PATH

LARGEST_HEAD_BYTES: Final = 65_536
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
    _exchange: Exchange | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; bytes that end no head and are no body may not go on for ever: heads, trailers, chunks."""
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
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Begin a decision, or what else is asked."""
        self._moved = True
        if self._is_decision():
            app = cast(App, self.app)
            self._exchange = Exchange(
                app.service,
                app.turn,
                self.headers,
                self.transport,
                self.parser.should_keep_alive(),
                self.on_response_complete,
            )
            self.cycle = self._exchange  # type: ignore[assignment]
        else:
            self._exchange = None
            url, headers, expect = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expect
            self.headers += headers
            super().on_headers_complete()

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
