"""A position that its writer publishes to other processes through eight mapped bytes."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path


class Watermark:
    """One integer in [0, 2**64) in a file, in the machine's byte order.

    It is read and written through a memory map as one aligned word: no system call, and no reader sees half of a
    change. After the death of the writer the file holds the last value; after a power loss it may hold an earlier one,
    but none from before the last opening for writing.

    Parameters
    ----------
    path
        The file; a writer creates it.
    start
        The value a writer begins with, durable on return; None opens for reading.
    """

    def __init__(self, path: Path, start: int | None = None) -> None:
        fd = os.open(path, os.O_RDONLY if start is None else os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if start is not None:
                os.pwrite(fd, start.to_bytes(8, sys.byteorder), 0)
                os.fsync(fd)
            self._map = mmap.mmap(fd, 8, access=mmap.ACCESS_READ if start is None else mmap.ACCESS_WRITE)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("Q")
        self._last: int | None = None

    @staticmethod
    def stored(path: Path) -> int | None:
        """Return the value in the file, or None if there is no whole one."""
        data = path.read_bytes() if path.exists() else b""
        return int.from_bytes(data, sys.byteorder) if len(data) == 8 else None

    @property
    def value(self) -> int:
        """Return the value as it is now; once closed, as it was then."""
        return self._words[0] if self._last is None else self._last

    def publish(self, value: int) -> None:
        """Let every reader see `value`."""
        self._words[0] = value

    def close(self) -> None:
        """Release the map."""
        self._last = self.value
        self._words.release()
        self._map.close()
