"""Neither a decision nor a refusal nor a fallback leaves reference cycles: where payments are decided nobody looks for
them.

Asked over HTTP: the service that decides by itself, and a gateway before a decider over a broker.
"""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from avalist.models.artefact import Artefact
from tests.doors import OverHttp
from tests.roles import Roles, roles
from tests.shop import Shop, opened, payment_json

pytestmark = pytest.mark.sockets

Ask = Callable[..., int]
"""Sends a payment by its number, and returns the status."""


@pytest.fixture(scope="module", params=["embedded", "roles"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, artefact: Artefact
) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("cycles")
    made = roles(folder, request.getfixturevalue("kafka")) if request.param == "roles" else opened(folder)
    with made as shop:
        if not isinstance(shop, Roles):
            shop.create()
        shop.activate(artefact)
        yield shop


@pytest.fixture(scope="module")
def ask(shop: Shop) -> Iterator[Ask]:
    """Return a caller with one connection, which makes no cycles itself."""
    with closing(OverHttp(shop)) as door, socket.create_connection(("127.0.0.1", door.port), 240) as connection:

        def ask(n: int, deadline_ms: int = 9000, **changes: Any) -> int:
            body = json.dumps(payment_json(n, **changes)).encode()
            head = (
                f"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {door.key}\r\n"
                f"Avalist-Deadline-Ms: {deadline_ms}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            return int(connection.recv(65_536).split()[1])

        yield ask


def cycles(work: Callable[[int], object]) -> int:
    """Return how many objects were left in cycles by some work, which was done before. The least of three times: what
    threads of another test do meanwhile counts, too.
    """
    for n in range(5):
        work(n)
    left = 0
    for first in (1005, 2005, 3005):
        left = left_by(work, first)
        if left == 0:
            break
    return left


def left_by(work: Callable[[int], object], first: int) -> int:
    while gc.collect():
        pass
    gc.disable()
    try:
        for n in range(first, first + 40):
            work(n)
        return gc.collect()
    finally:
        gc.enable()


def test_a_decision_and_its_retry_leave_none(ask: Ask) -> None:
    assert cycles(lambda n: [ask(n), ask(n)]) == 0
    assert ask(1) == 200


def test_refusals_leave_none(ask: Ask) -> None:
    def refusals(n: int) -> list[int]:
        other: dict[str, Any] = {"event_id": f"other{n}", "payment_id": f"other{n}"}
        bad = [{"amount_minor": n + 1}, {**other, "currency": "XXX"}, {**other, "checkpoint": "rescore"}]
        return [ask(5000 + n), *(ask(5000 + n, **changes) for changes in bad)]

    assert refusals(0) == [200, 409, 422, 404]
    assert cycles(refusals) == 0


@pytest.mark.parametrize("look_up_s", [0.0, 0.02])
def test_a_fallback_leaves_none(ask: Ask, monkeypatch: pytest.MonkeyPatch, look_up_s: float) -> None:
    """Before it, a gateway looks for a first answer among the documents: that may take too long."""
    monkeypatch.setattr("avalist.api.gateway._LOOK_UP_S", look_up_s)
    assert cycles(lambda n: ask(10_000 + n, deadline_ms=1)) == 0
