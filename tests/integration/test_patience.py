"""Callers that send half a request and wait: they are waited for, though not for ever."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from avalist.api.patience import Patient
from tests.doors import OverHttp
from tests.shop import Shop

pytestmark = pytest.mark.sockets
PATIENCE_S = 0.4
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
    return socket.create_connection(("127.0.0.1", door.port), 120)


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def once_in_time(door: OverHttp, talk: Callable[[socket.socket], bool]) -> bool:
    """Tell whether one of many talks goes well: a busy machine may begin one after the patience has ended."""
    for _ in range(50):
        with connected(door) as connection, suppress(OSError):
            if talk(connection):
                return True
    return False


@pytest.mark.parametrize(
    "sent", [b"G", b"GET /healthz HTTP/1.1\r\nHost:", HEAD, HEAD + b"\r\n{", HEALTH + b"GET /"],
    ids=["byte", "head", "no end of head", "body", "second"],
)  # fmt: skip
def test_half_a_request_is_answered_and_closed(door: OverHttp, sent: bytes) -> None:
    def talk(connection: socket.socket) -> bool:
        connection.sendall(sent)
        return (b"HTTP/1.1 200" if sent.startswith(HEALTH) else b"HTTP/1.1 408 Request Timeout") in all_of(connection)

    assert once_in_time(door, talk)


def test_a_byte_now_and_then_gains_no_time(door: OverHttp) -> None:
    def drip(connection: socket.socket) -> None:
        for n in itertools.count():
            connection.sendall(HEAD[n : n + 1] or b"x")
            time.sleep(PATIENCE_S / 5)

    with connected(door) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        drip(connection)


def test_a_connection_that_says_nothing_is_closed(door: OverHttp) -> None:
    with connected(door) as connection:
        assert all_of(connection) == b""


def test_whole_requests_may_follow_each_other_for_longer(door: OverHttp) -> None:
    def talk(connection: socket.socket) -> bool:
        for _ in range(5):
            connection.sendall(HEALTH)
            if not connection.recv(65_536).startswith(b"HTTP/1.1 200"):
                return False
            time.sleep(PATIENCE_S / 3)
        return True

    assert once_in_time(door, talk)


@pytest.mark.parametrize("patience_s", [3600.0])
def test_more_connections_than_there_may_be_are_refused(door: OverHttp) -> None:
    held = [connected(door) for _ in range(3)]
    for connection in held:
        connection.sendall(HEALTH)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    with connected(door) as one_more:
        assert all_of(one_more).startswith(b"HTTP/1.1 503")
    for connection in held:
        connection.close()
