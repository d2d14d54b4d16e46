"""What a connection takes for a decision: the same, whether the parser sees a head or it was parsed before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from avalist.api import protocol
from avalist.api.protocol import Protocol

FORMS = (
    b"POST /v1/decisions HTTP/1.1\r\nAuthorization: Bearer a\r\nContent-Length: %d\r\n\r\n%b",
    b"POST /v1/decisions HTTP/1.1\r\nauthorization: Bearer b\r\ncontent-length:%d\r\n\r\n%b",
    b"\r\n\r\nPOST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b",
    b"POST /v1/decisions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n",
)
BODIES = (b"", b"{}", b'{"a": 1}', b"POST /v1/decisions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"{}\r\n\r\n")
REQUESTS = st.builds(lambda form, body: form % (len(body), body), st.sampled_from(FORMS), st.sampled_from(BODIES))


class Seen:
    """An exchange that is answered as soon as it is asked, and what it was asked."""

    message_event = Mock()

    def __init__(
        self, service: Any, turn: Any, headers: Sequence[Any], transport: Any, keep_alive: bool, sent: Any
    ) -> None:
        self.headers, self.keep_alive, self.body = list(headers), keep_alive, b""
        self.response_complete = False

    def add(self, body: bytes) -> None:
        self.body += body

    def done(self) -> bool:
        return False


@pytest.fixture(scope="module", autouse=True)
def recorded() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "Exchange", Seen)
        yield


class Connection:
    """A connection to an application that knows `heads`."""

    def __init__(self, heads: dict[bytes, Any]) -> None:
        self.seen: list[tuple[list[Any], bytes]] = []
        app = SimpleNamespace(service=None, heads=heads, turn=SimpleNamespace(add=self._answer))
        config = uvicorn.Config(app, log_config=None)  # type: ignore[arg-type]
        config.load()
        config.loaded_app = app
        self.protocol = Protocol(config, ServerState(), {}, _loop=Mock())
        self.protocol.transport = Mock(is_closing=lambda: False)

    def _answer(self, exchange: Seen) -> None:
        exchange.response_complete = True
        self.seen.append((exchange.headers, exchange.body))


def told(pieces: Sequence[bytes], heads: dict[bytes, Any], *, forget: bool) -> list[tuple[list[Any], bytes]]:
    connection = Connection(heads)
    for piece in pieces:
        if forget:
            heads.clear()
        connection.protocol.data_received(piece)
    return connection.seen


CUTS = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 90)), max_size=8)
"""Where a stream of requests is cut: so many bytes from where one of them begins."""


@given(st.lists(REQUESTS, min_size=1, max_size=6), CUTS, st.booleans())
def test_a_known_head_means_what_the_parser_says(
    requests: list[bytes], cuts: list[tuple[int, int]], whole: bool
) -> None:
    stream, begins = b"".join(requests), list(accumulate(map(len, requests), initial=0))
    places = {begins[n % len(requests)] + offset for n, offset in cuts} | (set(begins) if whole else set())
    ends = sorted(place for place in places | {0, len(stream)} if 0 <= place <= len(stream))
    pieces = [stream[a:b] for a, b in pairwise(ends)]
    known: dict[bytes, Any] = {}
    told(pieces, known, forget=False)
    assert told(pieces, known, forget=False) == told(pieces, {}, forget=True)


def test_a_head_that_came_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Mock(side_effect=HttpToolsProtocol.data_received, autospec=True)
    monkeypatch.setattr(HttpToolsProtocol, "data_received", lambda self, data: parsed(self, data))
    requests = [FORMS[0] % (2, b"{}")] * 3
    assert len(told(requests, {}, forget=False)) == 3
    assert parsed.call_count == 1


def test_what_asks_for_an_end_is_not_remembered() -> None:
    heads: dict[bytes, Any] = {}
    told([b"POST /v1/decisions HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"], heads, forget=False)
    assert not heads


def test_no_more_heads_are_known_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_KNOWN", 2)
    heads: dict[bytes, Any] = {}
    told([FORMS[0] % (n, b"x" * n) for n in range(1, 6)], heads, forget=False)
    assert len(heads) == 1
    told([FORMS[0].replace(b"a", b"a" * protocol.LARGEST_KNOWN_BYTES) % (9, b"x" * 9)], heads, forget=False)
    assert len(heads) == 1


def test_a_blank_line_after_a_request_is_no_head() -> None:
    pieces = [FORMS[0] % (0, b""), b"\r\n\r\n", b"\r\n\r\n"]
    assert len(told(pieces, {}, forget=False)) == 1
