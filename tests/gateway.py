"""The real ASGI app in this process, called one request at a time or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import httpx
import msgspec

from avalist.api.app import App
from avalist.api.service import Service
from avalist.domain.errors import Unavailable
from avalist.domain.keys import key_hash
from tests.cluster.running import PATIENCE_S, until
from tests.shop import Shop, payment_json

T = TypeVar("T")


def knows(service: Service, key: str) -> bool:
    """Tell whether a service is ready and has heard of a key."""
    with suppress(Unavailable):
        service.check()
        return key_hash(key) in service._keyring.keys
    return False


class Gateway:
    """Requests to a shop's service; `key` is a live key of merchant ``shop``."""

    def __init__(self, shop: Shop, **settings: object) -> None:
        self.shop = shop
        self.service = shop.installation.service()
        self.service.settings = msgspec.structs.replace(self.service.settings, **settings)
        self.service.timeout_s = lambda merchant: PATIENCE_S  # type: ignore[method-assign]  # a busy machine is not what is tested
        self.key = shop.key()
        self.admin = shop.installation.secrets.admin_token()
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(App(self.service))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://avalist", timeout=20)
        self.run(self._start())
        self.know(self.key)

    def know(self, key: str) -> None:
        """Wait until a new key is known: a gateway before deciders hears of it a moment later."""
        assert until(lambda: self.run(self._knows(key)))

    async def _knows(self, key: str) -> bool:
        await asyncio.sleep(0)
        return knows(self.service, key)

    async def _start(self) -> None:
        self.service.start()

    async def _stop(self) -> None:
        await self.client.aclose()
        self.service.stop()

    def close(self) -> None:
        self.run(self._stop())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def send(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        bearer = {"Authorization": f"Bearer {self.key if key is None else key}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, content=content, headers={**bearer, **named})

    def get(self, path: str, *, key: str | None = None) -> httpx.Response:
        return self.run(self.send("GET", path, key=key))

    def post(self, path: str, body: object, *, key: str | None = None, **headers: str) -> httpx.Response:
        return self.run(self.send("POST", path, body, key=key, **headers))

    def decide(self, n: int | str = 1, *, key: str | None = None, **changes: Any) -> httpx.Response:
        return self.post("/v1/decisions", payment_json(n, **changes), key=key)

    def metric(self, name: str) -> float:
        """Return the value of a metric, such as ``avalist_events_total{type="login"}``; 0 where there is none."""
        lines = (
            line.rpartition(" ")
            for line in self.get("/metrics", key=self.shop.installation.secrets.metrics_token()).text.splitlines()
        )
        return next((float(value) for shown, _, value in lines if shown == name), 0.0)
