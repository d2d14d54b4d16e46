"""The log in a partition, for reading alone: beside its writer, without a mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, Message, TopicPartition

from avalist.adapters.kafka.errors import translated
from avalist.adapters.kafka.reading import READING, Client, Reading, offset_of, stands
from avalist.domain.errors import AvalistError, LogFailed, NotFound
from avalist.domain.records import Record, decode_record

_READ_ONLY = "the log is open for reading alone"
# A follower has one of these for each of its partitions, and each keeps so much of what it did not read yet.
_FOLLOWING = {"queued.max.messages.kbytes": 8192, "queued.min.messages": 10_000}
_NOWHERE = -1


class KafkaTail(Reading):
    """What a follower reads: everything that the brokers acknowledged. For one thread. Raises as ``KafkaLog``.

    Whoever reads on where the last reading ended asks the brokers nothing: they send what is new by themselves, and say
    with it how far the log reaches. So ``durable_end`` is known a moment late, and a log where nothing happens costs
    nothing.
    """

    def __init__(self, client: Client, topic: str, partition: int = 0, *, timeout_s: float = 60.0) -> None:
        super().__init__(client, topic, partition, timeout_s)
        self._next = _NOWHERE
        try:
            with translated(self._name):
                self._following = Consumer({**self._client, **READING, **_FOLLOWING})
            self.check_partition_exists()
        except BaseException:
            self.close_reading()
            raise

    @property
    def end(self) -> int:
        """Return the position after the last acknowledged record."""
        return self.durable_end

    @property
    def durable_end(self) -> int:
        """Return the position after the last acknowledged record."""
        with translated(self._name):
            _, end = self._following.get_watermark_offsets(TopicPartition(self._topic, self._partition), cached=True)
        return end if end >= self._next != _NOWHERE else self.bounds()[1]

    def append(self, records: Sequence[Record]) -> list[int]:
        """Raise ``LogFailed``."""
        raise LogFailed(_READ_ONLY)

    def sync(self) -> int:
        """Raise ``LogFailed``."""
        raise LogFailed(_READ_ONLY)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of the records in [`start`, `stop`)."""
        if start != self._next:
            start = max(start, self.bounds()[0])
            self._go_to(start)
        end = self.durable_end
        return self._records(start, end if stop is None else min(stop, end))

    def get(self, position: int) -> Record:
        """Return the record at `position`. Raises ``NotFound``."""
        payload = self.payload(position) if 0 <= position < self.bounds()[1] else None
        if payload is None:
            raise NotFound(f"no record begins at position {position}")
        return decode_record(payload, position)

    def close(self) -> None:
        """Release every resource. Closing twice is harmless."""
        if not self._closed:
            self._following.close()
            self.close_reading()

    def _go_to(self, position: int) -> None:
        with translated(self._name):
            self._following.assign([TopicPartition(self._topic, self._partition, position)])
        self._next = position

    def _records(self, position: int, stop: int) -> Iterator[tuple[int, Record]]:
        while position < stop:
            if position != self._next:  # another reading went elsewhere
                self._go_to(position)
            message = self._message()
            at = offset_of(message)
            position = self._next = at + 1
            value = message.value()
            if at < stop and value is not None and stands(message):
                yield at, decode_record(value, at)

    def _message(self) -> Message:
        try:
            return self.next_of(self._following)
        except AvalistError:
            self._next = _NOWHERE
            raise
