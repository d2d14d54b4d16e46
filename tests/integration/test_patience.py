"""Callers that send half a request and wait: they are waited for, though not for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from avalist.api.patience import Patient
from tests.doors import OverHttp
from tests.shop import Shop

pytestmark = pytest.mark.sockets
PATIENCE_S = 0.4
LONG_S = 1.5
"""The patience where a test must be quicker than it: with room for a busy machine."""
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def patience_s() -> float:
    return PATIENCE_S


@pytest.fixture
def door(shop: Shop, monkeypatch: pytest.MonkeyPatch, patience_s: float) -> Iterator[OverHttp]:
    monkeypatch.setattr(Patient, "patience_s", patience_s)
    monkeypatch.setattr(Patient, "most_connections", 3)
    door = OverHttp(shop)
    yield door
    door.close()


def connected(door: OverHttp) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), 10)


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    "sent", [b"G", b"GET /healthz HTTP/1.1\r\nHost:", HEAD, HEAD + b"\r\n{", HEALTH + b"GET /"],
    ids=["byte", "head", "no end of head", "body", "second"],
)  # fmt: skip
def test_half_a_request_is_answered_and_closed(door: OverHttp, sent: bytes) -> None:
    with connected(door) as connection:
        start = time.monotonic()
        connection.sendall(sent)
        answer = all_of(connection)
    assert b"HTTP/1.1 408 Request Timeout" in answer or sent.startswith(HEALTH)
    assert time.monotonic() - start < 8


def test_a_byte_now_and_then_gains_no_time(door: OverHttp) -> None:
    def drip(connection: socket.socket) -> None:
        for n in range(len(HEAD)):
            connection.sendall(HEAD[n : n + 1])
            time.sleep(PATIENCE_S / 5)

    with connected(door) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip(connection)


def test_a_connection_that_says_nothing_is_closed(door: OverHttp) -> None:
    with connected(door) as connection:
        assert all_of(connection) == b""


@pytest.mark.parametrize("patience_s", [LONG_S])
def test_whole_requests_may_follow_each_other_for_longer(door: OverHttp) -> None:
    with connected(door) as connection:
        for _ in range(5):
            connection.sendall(HEALTH)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(LONG_S / 4)


@pytest.mark.parametrize("patience_s", [20.0])
def test_more_connections_than_there_may_be_are_refused(door: OverHttp) -> None:
    held = [connected(door) for _ in range(3)]
    for connection in held:
        connection.sendall(HEALTH)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    with connected(door) as one_more:
        assert all_of(one_more).startswith(b"HTTP/1.1 503")
    for connection in held:
        connection.close()
