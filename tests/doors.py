"""The real service behind two doors: called in this process, and over HTTP as ``avalist up`` serves it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import NamedTuple, Protocol

import httpx
import msgspec
import uvicorn

from avalist.api.app import App
from avalist.cli.serve import uvicorn_config
from tests.cluster.running import PATIENCE_S, until
from tests.gateway import Gateway, knows
from tests.live import free_port
from tests.shop import Shop


class Answer(NamedTuple):
    """What came back."""

    status: int
    media: str
    body: bytes


class Door(Protocol):
    """A way to send a request: `headers` replace the usual ones."""

    key: str
    admin: str

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer: ...


def _encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


class InProcess:
    """The ASGI application without a socket."""

    def __init__(self, shop: Shop) -> None:
        self._gateway = Gateway(shop)
        self.key, self.admin = self._gateway.key, self._gateway.admin

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        request = self._gateway.client.request(method, path, content=body, headers=_encoded(headers))
        answer: httpx.Response = self._gateway.run(request)
        return Answer(answer.status_code, answer.headers["content-type"], answer.content)

    def close(self) -> None:
        self._gateway.close()


class OverHttp:
    """The server of ``avalist up`` on a thread of its own, on loopback."""

    def __init__(self, shop: Shop) -> None:
        self.key, self.admin = shop.key(), shop.installation.secrets.admin_token()
        settings = msgspec.structs.replace(shop.installation.settings, port=free_port())
        self.port = settings.port
        service = shop.installation.service()
        service.timeout_s = lambda merchant: PATIENCE_S  # type: ignore[method-assign]  # a busy machine is not what is tested
        self._server = uvicorn.Server(uvicorn_config(App(service), settings))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        assert until(lambda: knows(service, self.key))  # a gateway before deciders hears of it a moment later

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers["content-type"], answer.read())
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are, end the sending, and return all that comes."""
        with socket.create_connection(("127.0.0.1", self.port), 120) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
