"""The lock on a folder: one owner at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from avalist.domain.errors import DataFolderLocked


class FolderLock:
    """A lock that is held; ``close`` or leaving the ``with`` block releases it, and so does the death of the process.

    A forked child that outlives its parent keeps the lock: start workers by ``spawn``.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Release the lock. Closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lock_folder(folder: Path) -> FolderLock:
    """Take ``<folder>/lock`` (flock) and write this process's id into it. The file stays; only the lock counts.

    Raises
    ------
    DataFolderLocked
        If another holder lives; the message names its process id and what to do.
    OSError
        If the file cannot be opened or written.
    """
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise DataFolderLocked(
            f"{folder} belongs to the running process {owner}: use that service, or stop it and try again"
        ) from None
    except BaseException:
        os.close(fd)
        raise
    return FolderLock(fd)
