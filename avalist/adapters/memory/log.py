"""A log in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avalist.domain.errors import LogFailed, NotFound
from avalist.domain.records import Record


class MemoryLog:
    """Keep the records in a list; a position is an index. ``sync`` only moves ``durable_end``.

    >>> log = MemoryLog()
    >>> log.append([Record("m", 1, 1, 0, b"a"), Record("m", 1, 3, 0, b"b")])
    [0, 1]
    >>> log.get(1).core, log.durable_end, log.sync()
    (b'b', 0, 2)
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._durable_end = 0
        self._closed = False

    @property
    def begin(self) -> int:
        """Return 0: nothing is ever removed."""
        return 0

    @property
    def end(self) -> int:
        """Return the position after the last appended record."""
        return len(self._records)

    @property
    def durable_end(self) -> int:
        """Return the end as of the last ``sync``."""
        return self._durable_end

    def append(self, records: Sequence[Record]) -> list[int]:
        """Append records and return their positions."""
        self._check_open()
        start = len(self._records)
        self._records.extend(records)
        return list(range(start, start + len(records)))

    def sync(self) -> int:
        """Count all that was appended as durable."""
        self._check_open()
        self._durable_end = len(self._records)
        return self._durable_end

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield records from `start` on, up to the end as it is now."""
        self._check_open()
        return iter(list(enumerate(self._records[start:stop], start)))

    def get(self, position: int) -> Record:
        """Return the record at `position`. Raises ``NotFound``."""
        self._check_open()
        if not 0 <= position < len(self._records):
            raise NotFound(f"no record begins at position {position}")
        return self._records[position]

    def close(self) -> None:
        """Refuse every later call but this one."""
        if not self._closed:
            self.sync()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogFailed("the log is closed")
