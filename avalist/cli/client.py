"""A small client of the running service: one keep-alive connection, problems as our errors."""

from __future__ import annotations

import http.client
from types import TracebackType
from typing import Any, Self

import msgspec

from avalist.config import Settings
from avalist.domain.errors import AvalistError, BadInput, Unavailable

_TIMEOUT_S = 60.0


class Client:
    """Calls one service with one key. Not for two threads at once.

    Raises
    ------
    BadInput
        From every call, for a problem document, with its field.
    Unavailable
        From every call, if nothing answers.
    """

    def __init__(self, settings: Settings, key: str) -> None:
        self._url = settings.url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(settings.host, settings.port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: bytes = b"") -> Any:
        """Send a request and return the answer's JSON."""
        status, answer = self.send(method, path, body)
        if status >= 400:
            raise _problem(answer, status)
        return msgspec.json.decode(answer)

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request and return status and body, whatever they are."""
        try:
            self._connection.request(method, path, body or None, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"nothing answers at {self._url} ({error}): give the service's --port") from None


def _problem(body: bytes, status: int) -> AvalistError:
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return Unavailable(f"the service answered {status}: {body[:200].decode(errors='replace')}")
    parts = {name: str(problem.get(name, "")) for name in ("field", "expected", "got")}
    return BadInput(str(problem.get("detail", status)), **parts)
