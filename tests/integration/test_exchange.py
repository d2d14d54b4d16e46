"""Decisions over real connections: what HTTP/1.1 allows a client to do besides one request after the other."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avalist.api.exchange import Exchange
from avalist.api.routes.decisions import Asking
from tests.cluster.running import until
from tests.doors import OverHttp
from tests.shop import opened, payment_json

pytestmark = pytest.mark.sockets
answer = Asking.answer


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverHttp]:
    folder: Path = tmp_path_factory.mktemp("exchange")
    with opened(folder) as shop:
        shop.create()
        served = OverHttp(shop)
        yield served
        served.close()


def request(door: OverHttp, n: int | str, head: str = "", version: str = "1.1") -> bytes:
    body = json.dumps(payment_json(n, received_at=None) | ({"payment_id": n} if isinstance(n, str) else {})).encode()
    said = (
        f"POST /v1/decisions HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {door.key}\r\n{head}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return said.encode() + body


def exchange(door: OverHttp, sent: bytes) -> bytes:
    """Send bytes and return what comes until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", door.port), 120) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def heads(answers: bytes) -> list[str]:
    return [part.split("\r\n")[0] for part in answers.decode().split("HTTP/1.1 ")[1:]]


def test_requests_sent_at_once_are_answered_in_order(door: OverHttp) -> None:
    last = request(door, 103, "Connection: close\r\n")
    said = exchange(door, request(door, 101) + request(door, 102) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + last)
    assert heads(said) == ["200 OK"] * 4
    places = [said.index(mark) for mark in (b'"p101"', b'"p102"', b'"alive', b'"p103"')]
    assert len(places) == 4
    assert places == sorted(places)


@pytest.mark.parametrize(("head", "version"), [("Connection: close\r\n", "1.1"), ("", "1.0")])
def test_a_connection_ends_where_the_client_wants_it(door: OverHttp, head: str, version: str) -> None:
    said = exchange(door, request(door, 110 + len(head), head, version))
    assert heads(said) == ["200 OK"]
    assert b"connection: close\r\n" in said


def test_a_body_may_come_in_pieces(door: OverHttp) -> None:
    whole = request(door, 120)
    with socket.create_connection(("127.0.0.1", door.port), 120) as connection:
        for piece in (whole[:50], whole[50:-20], whole[-20:]):
            connection.sendall(piece)
            time.sleep(0.02)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_asks_first_is_told_to_go_on(door: OverHttp) -> None:
    said = exchange(door, request(door, 130, "Expect: 100-continue\r\nConnection: close\r\n"))
    assert heads(said) == ["100 Continue", "200 OK"]


def test_a_refused_head_does_not_spoil_the_next_request(door: OverHttp) -> None:
    refused = request(door, 140).replace(door.key.encode(), b"av_live_shop_nobody")
    said = exchange(door, refused + request(door, 141, "Connection: close\r\n"))
    assert heads(said) == ["401 Unauthorized", "200 OK"]


def test_a_head_that_came_before_lets_no_revoked_key_in(door: OverHttp) -> None:
    def asked(do: str, **more: str) -> Any:
        body = json.dumps({"merchant": "shop", "do": do, **more}).encode()
        answer = door.send("POST", "/v1/admin", body, {"authorization": f"Bearer {door.admin}"})
        return json.loads(answer.body)

    issued = asked("issue_key", kind="live")
    sent = [request(door, n).replace(door.key.encode(), issued["key"].encode()) for n in (160, 161, 162)]
    with socket.create_connection(("127.0.0.1", door.port), 120) as connection:
        for one, status in zip(sent, (b"200", b"200", b"401"), strict=True):
            if status == b"401":
                asked("revoke_key", key=issued["id"])
            connection.sendall(one)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 " + status)


def test_a_late_answer_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        log, sync = shop.installation.log, shop.installation.log.sync

        def slow_sync() -> int:
            late.wait()
            return sync()

        def counted(asking: Asking, found: Any) -> bytes:
            settled.append(found)
            late.set()
            return answer(asking, found)

        door = OverHttp(shop)
        door.key = shop.key(kind="sandbox")
        settled: list[object] = []
        late = threading.Event()
        monkeypatch.setattr(log, "sync", slow_sync)
        monkeypatch.setattr(Asking, "answer", counted)
        said = exchange(door, request(door, "test_slow", "Avalist-Deadline-Ms: 1\r\nConnection: close\r\n"))
        door.close()
    assert heads(said) == ["200 OK"]
    assert len(settled) == 1


def test_a_client_that_goes_away_leaves_nothing(door: OverHttp) -> None:
    gc.collect()
    gc.disable()
    try:
        for n in range(5):
            with socket.create_connection(("127.0.0.1", door.port), 120) as connection:
                connection.sendall(request(door, 150 + n)[: -20 * (n % 2) or None])
        assert until(lambda: not any(isinstance(held, Exchange) for held in gc.get_objects()))
    finally:
        gc.enable()
