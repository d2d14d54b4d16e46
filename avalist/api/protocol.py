"""The HTTP/1.1 of the service: uvicorn's, but that what is no HTTP gets a problem document, and a head has a limit."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from avalist.api.errors import Problem
from avalist.api.http import encode_json

LARGEST_HEAD_BYTES: Final = 65_536
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

    def data_received(self, data: bytes) -> None:
        """Parse what came; bytes that end no head and are no body may not go on for ever: heads, trailers, chunks."""
        self._moved = False
        super().data_received(data)
        self._dry_bytes = 0 if self._moved else self._dry_bytes + len(data)
        if self._dry_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._moved = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note a piece of the body: bodies have a limit of their own."""
        self._moved = True
        super().on_body(body)

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
        body = encode_json(problem)
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        if self.cycle is not None:  # its answer is not wanted any more
            self.cycle.disconnected = True
        self.transport.write(head.encode() + body)
        self.transport.close()
