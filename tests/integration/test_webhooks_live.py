"""A whole service on MongoDB's protocol, processes of their own: keys, look-up, vault, and a webhook that is called."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from tests.integration.test_stores import url_for
from tests.live import Connection, Service, avalist
from tests.services.server import Server
from tests.shop import opened, payment_json

pytestmark = pytest.mark.sockets


class Receiver(http.server.HTTPServer):
    """Takes messages; the first attempt is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.refused = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        if server.refused:
            server.got.put((dict(self.headers.items()), body))
        self.send_response(204 if server.refused else 503)
        self.end_headers()
        server.refused += 1

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return headers["webhook-signature"] == f"v1,{mac}"


def test_an_outcome_reaches_the_webhook_at_the_second_attempt(
    tmp_path: Path, mongodb: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"AVALIST_DOCUMENTS": url_for(mongodb, tmp_path), "AVALIST_WEBHOOK_PRIVATE": "true"}
    monkeypatch.setattr("tests.live.environment", lambda: {**os.environ, "COLUMNS": "200", "TERM": "dumb", **settings})
    data = tmp_path / "data"
    with opened(data) as shop:
        shop.create()
    key = avalist("merchant", "key", "shop", "--data", data).stdout.strip()
    service = Service(data)
    try:
        url = f"http://127.0.0.1:{receiver.server_port}/hooks"
        where = ("--data", data, "--port", service.port)
        said = avalist("webhooks", "add", "shop", url, "--topic", "outcome.recorded", *where)
        assert said.returncode == 0, said.stderr
        with Connection(service.port, key) as connection:
            assert connection.json("POST", "/v1/decisions", payment_json(1))["payment_id"] == "p1"
            headers, body = _told(connection, receiver)
            found = connection.json("POST", "/v1/lookup", {"by": "customer_id", "value": "ann"})
    finally:
        assert service.stop() == 0
    assert signed(headers, body, said.stdout.split()[-1])
    assert msgspec.json.decode(body)["data"]["outcome"] == "capture"
    assert [one["decision"]["payment_id"] for one in found["decisions"]] == ["p1"]
    read = avalist("vault", "read", "shop", "--by", "customer_id", "--value", "ann", "--why", "test", "--data", data)
    assert "ann@example.com" in read.stdout, read.stderr


def _told(connection: Connection, receiver: Receiver) -> tuple[dict[str, str], bytes]:
    """Record captures until the follower has seen the webhook; return the first message that was taken."""
    for n in range(300):
        capture = {"type": "capture", "event_id": f"c{n}", "payment_id": "p1", "occurred_at": "2026-11-26T10:00:00Z"}
        connection.json("POST", "/v1/events", capture)
        with suppress(queue.Empty):
            return receiver.got.get(timeout=1)
    raise AssertionError("the webhook was never called")
