"""How much of a log its archive makes needless: nothing is removed that is not archived, word for word."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from avalist.app.archive import Archive
from avalist.domain.errors import LogCorrupt
from avalist.ports.log import Log


def first_needed(needed: Mapping[str, int]) -> tuple[int, str]:
    """Return the position from which on a log is needed, and what needs it, of those that say what they need.

    >>> first_needed({"the archive": 900, "a snapshot": 700})
    (700, 'a snapshot')
    """
    return min((position, what) for what, position in needed.items())


def check_archived(
    log: Log, archive: Archive, stop: int, progress: Callable[[int], None] = lambda position: None
) -> None:
    """Compare each record before `stop`, less its sealed part, with the archive.

    Raises
    ------
    LogCorrupt
        If the archive lacks one, or holds another; or if either cannot be read.
    """
    archived = archive.read(log.begin, stop)
    for position, record in log.read(log.begin, stop):
        if next(archived, None) != (position, msgspec.structs.replace(record, sealed=b"")):
            raise LogCorrupt(f"the archive holds no such record as the log at position {position}: nothing is removed")
        progress(position)
