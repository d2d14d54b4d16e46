"""Administration from the command line: in place when the data folder is free, else through the running service."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from avalist.adapters.file.secrets import FolderSecrets
from avalist.app.administer import AdminRequest
from avalist.bootstrap import Installation, build
from avalist.config import Settings
from avalist.domain.errors import AvalistError, BadInput, DataFolderLocked, Unavailable


class Office(Protocol):
    """Somebody who carries out operators' requests."""

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        """Carry out one request and return what it says."""
        ...


class _Here:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        answer = self.installation.administration.carry_out(request, self.installation.clock.now_ms())
        self.installation.log.sync()
        return answer


class _There:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = FolderSecrets(settings.data / "secrets").admin_token()

    def carry_out(self, request: AdminRequest) -> dict[str, Any]:
        answer: dict[str, Any] = call(self._settings, "POST", "/v1/admin", self._token, msgspec.json.encode(request))
        return answer


@contextmanager
def office(settings: Settings) -> Iterator[Office]:
    """Open an office: this process if it can own the data folder, else the service that does."""
    try:
        installation = build(settings)
    except DataFolderLocked:
        yield _There(settings)
    else:
        with installation:
            yield _Here(installation)


def call(settings: Settings, method: str, path: str, key: str, body: bytes = b"") -> Any:
    """Call the running service and return its JSON.

    Raises
    ------
    BadInput
        For a problem document, with its field.
    Unavailable
        If nothing answers.
    """
    request = urllib.request.Request(settings.url + path, data=body or None, method=method)
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return msgspec.json.decode(response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise _problem(error.read(), error.code) from None
    except OSError as error:
        raise Unavailable(
            f"the data folder is in use, but nothing answers at {settings.url} ({error}): give the service's --port"
        ) from None


def _problem(body: bytes, status: int) -> AvalistError:
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return Unavailable(f"the service answered {status}: {body[:200].decode(errors='replace')}")
    parts = {name: str(problem.get(name, "")) for name in ("field", "expected", "got")}
    return BadInput(str(problem.get("detail", status)), **parts)
