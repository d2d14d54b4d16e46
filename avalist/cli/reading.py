"""A merchant's past, opened to be read: where the log lies in files, and over Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from avalist.analysis import Analysis
from avalist.app.archive import Archive
from avalist.app.asked import partition_of
from avalist.cli.roles import wiring
from avalist.config import Settings


@contextmanager
def open_reading(settings: Settings, merchant: str) -> Iterator[Archive]:
    """Open the archive and the log that hold a merchant, beside a running service or without one.

    Raises ``NotFound`` where there is no data folder, ``BadInput`` for a log that no command reads, ``LogCorrupt`` for
    a damaged archive.
    """
    with Analysis(settings) as here:
        yield here.past(merchant)


def merchants_in(settings: Settings) -> list[str]:
    """Return every merchant, without the twins of sandboxes. Raises as :func:`open_reading`."""
    with Analysis(settings) as here:
        return here.merchants()


def part_for(settings: Settings, merchant: str) -> str:
    """Return by what documents tell the log that holds a merchant from others: nothing where there is but one."""
    if not settings.log.startswith("kafka:"):
        return ""
    part: str = wiring().part_of(partition_of(merchant, settings.partitions))
    return part
