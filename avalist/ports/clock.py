"""The clock: read at the edge alone, and given to the core as a value."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time in milliseconds since 1970 (UTC)."""

    def now_ms(self) -> int:
        """Return the current time."""
        ...
