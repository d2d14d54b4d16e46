"""A merchant's past, opened to be read: where the log lies in files, and over Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from avalist.app.archive import Archive
from avalist.app.asked import partition_of
from avalist.bootstrap import open_archive, open_blobs, open_derived, open_log
from avalist.cli.roles import wiring
from avalist.config import Settings


@contextmanager
def open_reading(settings: Settings, merchant: str) -> Iterator[Archive]:
    """Open the archive and the log that hold a merchant, beside a running service or without one.

    Raises ``BadInput`` for a log that no command reads, ``LogCorrupt`` for a damaged archive.
    """
    if settings.log.startswith("kafka:"):
        with wiring().open_cluster(settings) as cluster, cluster.reading(merchant) as archive:
            yield archive
        return
    with closing(open_log(settings, readonly=True)) as log:
        yield open_archive(open_derived(settings, open_blobs(settings)), log)


def part_for(settings: Settings, merchant: str) -> str:
    """Return by what documents tell the log that holds a merchant from others: nothing where there is but one."""
    if not settings.log.startswith("kafka:"):
        return ""
    part: str = wiring().part_of(partition_of(merchant, settings.partitions))
    return part
