"""The clock: read at the edge alone, and given to the core as a value."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970 (UTC). It may jump, also back: somebody sets the clock."""
        ...

    def steady_ms(self) -> int:
        """Return milliseconds since some moment. It never jumps: waiting is measured by it."""
        ...
