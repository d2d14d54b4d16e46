"""The system clock: the one place of the product that reads the time."""

from __future__ import annotations

import time


class SystemClock:
    """Read the machine's clocks.

    >>> SystemClock().now_ms() > 1_700_000_000_000
    True
    """

    def now_ms(self) -> int:
        """Return milliseconds since 1970 (UTC)."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """Return milliseconds since the machine started, or some such moment."""
        return time.monotonic_ns() // 1_000_000
