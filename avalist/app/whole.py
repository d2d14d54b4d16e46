"""A log whose oldest segments were removed, and its archive, read as the one log that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Final

from avalist.app.archive import Archive
from avalist.domain.errors import LogCorrupt, NotFound
from avalist.domain.records import Record
from avalist.ports.blobs import Blobs
from avalist.ports.log import Log

_CACHED: Final = 4096


class WholeLog:
    """Keeps the contract of the log that it wraps, but for `begin`: what lies before is read from the archive, without
    the sealed parts. A record from there takes some ten milliseconds, and is remembered for a while.
    """

    def __init__(self, log: Log, blobs: Callable[[], Blobs]) -> None:
        self.held, self._blobs = log, blobs
        self.append, self.sync, self.close = log.append, log.sync, log.close
        self._archive: Archive | None = None
        self._archived = lru_cache(_CACHED)(lambda position: self._archive_to(position + 1).get(position))

    @property
    def begin(self) -> int:
        """Return the position from which on a record is read fast, and with its sealed part."""
        return self.held.begin

    @property
    def end(self) -> int:
        """Return the position after the last appended record."""
        return self.held.end

    @property
    def durable_end(self) -> int:
        """Return the position up to which everything is durable."""
        return self.held.durable_end

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield records from `start` on. Raises ``LogCorrupt`` where the archive lacks what the log lacks."""
        begin, stop = self.held.begin, self.held.end if stop is None else stop
        if start >= begin:
            return self.held.read(start, stop)
        before = self._archive_to(begin).read(start, min(stop, begin))
        return chain(before, self.held.read(begin, stop)) if stop > begin else before

    def get(self, position: int) -> Record:
        """Return one record. Raises ``NotFound``, ``LogCorrupt``."""
        try:
            return self.held.get(position)
        except NotFound:
            if position >= self.held.begin:
                raise
        return self._archived(position)

    def _archive_to(self, stop: int) -> Archive:
        """Return the archive, opened again where it did not reach so far."""
        if self._archive is None or self._archive.end < stop:
            self._archive = Archive(self._blobs(), self.held)
        if self._archive.end < stop:
            raise LogCorrupt(
                f"the log begins at position {self.held.begin:,}, and its archive ends at {self._archive.end:,}: "
                "restore the blobs 'archive/'"
            )
        return self._archive
