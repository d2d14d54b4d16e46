"""The log in a partition, for reading alone: beside its writer, without a mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avalist.adapters.kafka.reading import Client, Reading
from avalist.domain.errors import LogFailed, NotFound
from avalist.domain.records import Record, decode_record

_READ_ONLY = "the log is open for reading alone"


class KafkaTail(Reading):
    """What a follower reads: everything that the brokers acknowledged. Raises as ``KafkaLog``."""

    def __init__(self, client: Client, topic: str, partition: int = 0, *, timeout_s: float = 60.0) -> None:
        super().__init__(client, topic, partition, timeout_s)
        try:
            self.check_partition_exists()
        except BaseException:
            self.close_reading()
            raise

    @property
    def end(self) -> int:
        """Return the position after the last acknowledged record."""
        return self.bounds()[1]

    @property
    def durable_end(self) -> int:
        """Return the position after the last acknowledged record."""
        return self.bounds()[1]

    def append(self, records: Sequence[Record]) -> list[int]:
        """Raise ``LogFailed``."""
        raise LogFailed(_READ_ONLY)

    def sync(self) -> int:
        """Raise ``LogFailed``."""
        raise LogFailed(_READ_ONLY)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of the records in [`start`, `stop`)."""
        first, end = self.bounds()
        return self.records(max(start, first), end if stop is None else min(stop, end))

    def get(self, position: int) -> Record:
        """Return the record at `position`. Raises ``NotFound``."""
        payload = self.payload(position) if 0 <= position < self.bounds()[1] else None
        if payload is None:
            raise NotFound(f"no record begins at position {position}")
        return decode_record(payload, position)

    def close(self) -> None:
        """Release every resource. Closing twice is harmless."""
        if not self._closed:
            self.close_reading()
