"""The ends of logs that the follower has not folded yet, for look-ups by a gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from avalist.adapters.kafka.reading import Client, Reading
from avalist.adapters.kafka.topics import Topics
from avalist.app.asked import partition_of
from avalist.app.lookup import BEHIND
from avalist.domain.errors import LogFailed, Unavailable
from avalist.domain.records import Record

_MOST_BEHIND: Final = 4096
"""Records that one look-up may read beyond the documents."""
_WAIT_S: Final = 5.0


class Ends:
    """Called with a merchant, by any thread: yields its records that are not folded into the documents yet. `mark` says
    of a partition how far it is.

    Raises ``Unavailable`` where those are far behind, or no broker answers.
    """

    def __init__(self, client: Client, topics: Topics, mark: Callable[[int], int]) -> None:
        self._client, self._topics, self._mark = client, topics, mark
        self._readings: dict[int, Reading] = {}
        self._opening = threading.Lock()

    def __call__(self, merchant: str) -> Iterator[Record]:
        """Yield a merchant's records."""
        partition = partition_of(merchant, self._topics.partitions)
        begin = self._mark(partition)
        try:
            reading = self._reading(partition)
            _, end = reading.bounds()
            begin = begin if begin <= end else 0  # else the log was replaced
            if end - begin > _MOST_BEHIND:
                raise Unavailable(BEHIND)
            for _, record in reading.records(begin, end):
                if record.merchant == merchant:
                    yield record
        except LogFailed as error:
            raise Unavailable(f"{error}; look up again in a moment") from None

    def close(self) -> None:
        """Release what reads."""
        for reading in self._readings.values():
            reading.close_reading()

    def _reading(self, partition: int) -> Reading:
        with self._opening:
            if partition not in self._readings:
                self._readings[partition] = Reading(self._client, self._topics.decisions, partition, _WAIT_S)
            return self._readings[partition]
