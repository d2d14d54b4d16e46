"""How long the service waits for a caller: connections that bring no whole request are closed, and there is a most of
them.

A caller that sends a byte now and then would else hold a connection for ever, and enough of those would shut the door.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from avalist.api.errors import Problem
from avalist.api.protocol import Protocol

PATIENCE_S: Final = 10.0
"""So long a request may take to come in whole; a large body may go on while it brings ``PIECE_BYTES`` in that time."""
PIECE_BYTES: Final = 262_144
MOST_CONNECTIONS: Final = 900
"""Below the 1,024 files that a process may open by default."""
_TOO_SLOW: Final = Problem(
    type="about:blank",
    title="Request Timeout",
    status=408,
    detail="the request did not come in whole",
    field="request",
    expected=f"all of it within {PATIENCE_S:g} s",
    got="a part",
)
_TOO_MANY: Final = Problem(
    type="about:blank",
    title="Service Unavailable",
    status=503,
    detail="too many connections are open: use those you have again, and close the others",
    field="connection",
    expected=f"at most {MOST_CONNECTIONS}",
    got="more",
)


class Patient(Protocol):
    """One connection that is waited for, though not for ever."""

    patience_s = PATIENCE_S
    most_connections = MOST_CONNECTIONS
    _waiting: asyncio.TimerHandle | None = None
    _whole = False
    _came_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self._refuse(_TOO_MANY)
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request of which a part came."""
        self._whole = False
        self._came_bytes += len(data)
        super().data_received(data)
        if self._whole:
            self._stop_waiting()
        elif self._waiting is None and not self.transport.is_closing():
            self._wait()

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        self._whole = True
        super().on_message_complete()

    def _wait(self) -> None:
        self._came_bytes = 0
        self._waiting = self.loop.call_later(self.patience_s, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _lose_patience(self) -> None:
        self._waiting = None
        if self._came_bytes >= PIECE_BYTES:
            self._wait()
        elif self._came_bytes:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()
