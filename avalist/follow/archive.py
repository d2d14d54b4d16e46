"""The fold that archives."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from avalist.app.archive import Archive, Placed
from avalist.app.parts import proof_of
from avalist.domain.records import Record


class ArchiveFold:
    """Archives each `log_bytes` of log or `seconds`, whichever comes first; `position` is how far it has read."""

    def __init__(
        self, archive: Archive, *, log_bytes: int, seconds: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive = archive
        self._log_bytes, self._seconds, self._now_s = log_bytes, seconds, now_s
        self._waiting: list[Placed] = []
        self._last: Record | None = None
        self._since_s = now_s()
        self.position = archive.end

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        if not self._waiting:
            self._since_s = self._now_s()
        self._last = record
        self._waiting.append(Placed(position, msgspec.structs.replace(record, sealed=b"")))

    def keep(self, stop: int) -> int:
        """Archive what was taken, when there is enough of it."""
        self.position = stop
        late = self._now_s() - self._since_s >= self._seconds
        if self._last is not None and (late or stop - self._archive.end >= self._log_bytes):
            self._archive.write(self._waiting, stop, proof_of(self._last))
            self._waiting, self._last = [], None
        return 0
