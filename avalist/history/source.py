"""What a file of rows and a file of our own events have in common: they are checked first, and then told in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from avalist.domain.events import WireEvent
from avalist.history.rejects import Rejects


class Survey(NamedTuple):
    """What a first look through a file found. `left_out` payments were known too late.

    `skipped` counts rows that are no payments, by what they are: nothing is wrong with them. `dropped` counts cells
    that are left out of their payments, by what is wrong with them.
    """

    payments: int
    outcomes: int
    left_out: int
    rejected: int
    read: int
    skipped: dict[str, int]
    dropped: dict[str, int]


class History(Protocol):
    """The events that a file tells."""

    def survey(self, rejects: Rejects, progress: Callable[[int], None] = ...) -> Survey:
        """Read the file through and check all of it."""

    def events(self, since_ms: int = 0) -> Iterator[list[WireEvent]]:
        """Yield the events in known-time order, some thousands at a time; after :meth:`survey`.

        Thousands that were all known before `since_ms` may be left out.
        """

    def numbered(self) -> Iterator[tuple[int, WireEvent]]:
        """Yield the events in known-time order, each with the line that it stands on; after :meth:`survey`."""
