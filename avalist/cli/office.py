"""Administration from the command line: in place when the data folder is free, else through the running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from avalist.adapters.file.secrets import FolderSecrets
from avalist.app.administer import AdminRequest, SetTables, TablesInForce
from avalist.app.webhook_office import WebhookRequest
from avalist.bootstrap import Installation, build
from avalist.cli.client import Client
from avalist.config import Settings
from avalist.domain.errors import DataFolderLocked


class Office(Protocol):
    """Somebody who carries out operators' requests."""

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        """Carry out one request and return what it says."""
        ...

    def webhooks(self, request: WebhookRequest) -> dict[str, Any]:
        """Carry out one request about webhooks and return what it says."""
        ...

    def set_tables(self, request: SetTables) -> TablesInForce:
        """Put reference tables in force."""
        ...


class _Here:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        answer = self.installation.administration.carry_out(request, self.installation.clock.now_ms())
        self.installation.log.sync()
        return answer

    def webhooks(self, request: WebhookRequest) -> dict[str, Any]:
        return self.installation.administration.webhooks.carry_out(request, self.installation.clock.now_ms())

    def set_tables(self, request: SetTables) -> TablesInForce:
        answer = self.installation.administration.set_tables(request, self.installation.clock.now_ms())
        self.installation.log.sync()
        return answer


class _There:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = FolderSecrets(settings.data / "secrets").admin_token()

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        return self._post("/v1/admin", request)

    def webhooks(self, request: WebhookRequest) -> dict[str, Any]:
        return self._post("/v1/admin/webhooks", request)

    def set_tables(self, request: SetTables) -> TablesInForce:
        return msgspec.convert(self._post("/v1/admin/tables", request), TablesInForce)

    def _post(self, path: str, request: msgspec.Struct) -> dict[str, Any]:
        with Client(self._settings, self._token) as client:
            answer: dict[str, Any] = client.call("POST", path, msgspec.json.encode(request))
        return answer


@contextmanager
def office(settings: Settings) -> Iterator[Office]:
    """Open an office: this process if it can own the data folder, else the service that does, or a gateway."""
    if settings.log.startswith("kafka:"):
        yield _There(settings)
        return
    try:
        installation = build(settings)
    except DataFolderLocked:
        yield _There(settings)
    else:
        with installation:
            yield _Here(installation)


def carry_out(settings: Settings, request: AdminRequest) -> dict[str, Any]:
    """Have an office carry out one request, and return what it says."""
    with office(settings) as here:
        return here.carry_out(request)
