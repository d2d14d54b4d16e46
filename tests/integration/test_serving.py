"""A service that cannot start ends its server, and tells why."""

from __future__ import annotations

import msgspec
import pytest
import uvicorn

from avalist.api.app import App
from avalist.cli.serve import listening, run_server, uvicorn_config
from avalist.domain.errors import LogFailed
from tests.live import free_port
from tests.shop import Shop

pytestmark = pytest.mark.sockets


def test_a_service_that_cannot_start_does_not_stay_unready(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    service = shop.installation.service()

    def fail() -> None:
        raise LogFailed("no broker leads")

    monkeypatch.setattr(service, "start", fail)
    settings = msgspec.structs.replace(shop.installation.settings, port=free_port())
    app = App(service)
    server = uvicorn.Server(uvicorn_config(app, settings))
    with listening(settings) as listener, pytest.raises(LogFailed, match="no broker leads"):
        run_server(server, app, listener)
