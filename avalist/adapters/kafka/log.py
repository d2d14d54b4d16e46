"""The log in one partition of a Kafka topic; ADR 8 tells why it is made so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from typing import TypeAlias

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from avalist.adapters.kafka.errors import mapped, translated
from avalist.domain.errors import AvalistError, LogFailed, NotFound
from avalist.domain.records import Record, decode_record, encode_record

Client: TypeAlias = Mapping[str, str | int | float | bool]

PLACE = "place"
"""Header of every record: the offset that its writer meant it to have, eight bytes, big-endian."""

_WRITING = {
    "enable.idempotence": True,
    "acks": "all",
    # What reaches the log is then a prefix of what was produced: a message that times out would leave a hole.
    "enable.gapless.guarantee": True,
    "message.timeout.ms": 0,
    "linger.ms": 0,
    "queue.buffering.max.messages": 0,
}
_READING = {
    "group.id": "avalist-log",  # the library asks for one; nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "check.crcs": True,
}
# One record is wanted: no more than the batch that holds it is fetched ahead, and none is waited for behind it.
_GETTING = {
    "queued.min.messages": 1,
    "fetch.message.max.bytes": 1 << 16,
    "fetch.queue.backoff.ms": 0,
    "fetch.wait.max.ms": 1,
}
_POLL_S = 0.1


class KafkaLog:
    """A log in one partition; a position is an offset. Some offsets hold no record of ours.

    ``append`` hands records to the client library, whose own thread sends them; ``sync`` waits for the brokers to
    acknowledge (``acks=all``). How much a crash can take is the topic's matter: its replication and
    ``min.insync.replicas``.

    *One writer.* Opening writes a mark, and a record carries the offset that its writer meant it to have: the one after
    its last. A record that stands elsewhere does not count, for any reader, and its writer fails when it is told where
    it stands. So the mark of a new writer ends the turn of every other: what those append later is shifted by it, is
    never acknowledged and never read.

    *A broker that stands still* blocks ``sync`` up to `timeout_s`, then the log fails. What was on its way may still
    arrive: a prefix of what was appended.

    Parameters
    ----------
    client
        Settings of librdkafka that both producer and consumer share: ``bootstrap.servers``, security, logging.
    topic, partition
        Where the log lies; the topic exists, and is not compacted.
    timeout_s
        How long to wait for brokers: on opening, in ``sync``, and for each record read.

    Raises
    ------
    NotFound
        On opening, if there is no such partition; on reading, for a position that retention deleted.
    LogCorrupt
        On reading, for a record that does not check out.
    LogFailed
        For every other error of Kafka, and from every method but ``close`` after a failed ``append`` or ``sync`` or
        when closed: memory is ahead of the log, and only a new opening helps.
    """

    def __init__(self, client: Client, topic: str, partition: int = 0, *, timeout_s: float = 60.0) -> None:
        self._client, self._topic, self._partition, self._timeout_s = dict(client), topic, partition, timeout_s
        self._name = f"log {topic}[{partition}]"
        # Payloads by position, appended and not yet acknowledged.
        self._unsynced: dict[int, bytes] = {}
        self._memory = threading.Lock()
        self._kept = threading.Lock()
        self._refusal = ""
        self._closed = False
        self._end = self._durable_end = 0
        with translated(self._name):
            self._producer = Producer({**self._client, **_WRITING})
            self._getter = Consumer({**self._client, **_READING, **_GETTING})
        try:
            self._check_partition_exists()
            self._end = self._durable_end = self._take_over() + 1
        except BaseException:
            self._release()
            raise

    @property
    def end(self) -> int:
        """Return the position after the last appended record."""
        return self._end

    @property
    def durable_end(self) -> int:
        """Return the position up to which the brokers acknowledged everything."""
        return self._durable_end

    def append(self, records: Sequence[Record]) -> list[int]:
        """Append records in memory, from where they are sent, and return their positions."""
        try:
            payloads = [encode_record(record) for record in records]
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise self._fail(f"a record cannot be encoded: {error}") from error
        with self._memory:
            self._check_open()
            start = self._end
            try:
                for record, payload in zip(records, payloads, strict=True):
                    self._produce(record.merchant, payload, self._end)
            except AvalistError as error:
                raise self._fail(str(error)) from error
            return list(range(start, self._end))

    def sync(self) -> int:
        """Wait until everything appended before the call is acknowledged; return ``durable_end``."""
        self._check_open()
        target = self._end
        try:
            self._wait(lambda: self._durable_end >= target)
        except AvalistError as error:
            raise self._fail(str(error)) from error
        return self._durable_end

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of the records in [`start`, `stop`).

        What was appended by the time of the call is read, whatever happens meanwhile.
        """
        with self._memory:
            self._check_open()
            durable = self._durable_end
            stop = self._end if stop is None else min(stop, self._end)
            unsynced = [(position, self._unsynced[position]) for position in range(max(start, durable), stop)]
        late = ((position, decode_record(payload, position)) for position, payload in unsynced)
        return chain(self._read_durable(start, min(stop, durable)), late)

    def get(self, position: int) -> Record:
        """Return the record at `position`, synced or not: one round trip where it is. Raises ``NotFound``."""
        with self._memory:
            self._check_open()
            payload = self._unsynced.get(position)
            durable = self._durable_end
        if payload is None:
            payload = self._get_durable(position) if 0 <= position < durable else None
        if payload is None:
            raise NotFound(f"no record begins at position {position}")
        return decode_record(payload, position)

    def close(self) -> None:
        """Sync, unless the log has failed, and release every resource. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._refusal:
                self.sync()
        finally:
            self._refusal = self._refusal or "the log is closed"
            self._release()

    # --- writing ---------------------------------------------------------------------------------------------------

    def _check_partition_exists(self) -> None:
        with translated(self._name):
            found = self._getter.list_topics(self._topic, timeout=self._timeout_s).topics[self._topic]
        if found.error is not None:
            raise mapped(found.error, self._name)
        if self._partition not in found.partitions:
            raise NotFound(f"{self._name}: the topic has partitions 0 to {len(found.partitions) - 1}")

    def _take_over(self) -> int:
        """Write this writer's mark, which carries no place and so is no record; return its offset."""
        reports: list[tuple[KafkaError | None, Message]] = []
        with translated(self._name):
            self._producer.produce(
                self._topic, partition=self._partition, on_delivery=lambda *report: reports.append(report)
            )
        self._wait(lambda: bool(reports))
        error, mark = reports[0]
        if error is not None:
            raise mapped(error, self._name)
        return _offset(mark)

    def _produce(self, merchant: str, payload: bytes, position: int) -> None:
        with translated(self._name):
            self._producer.produce(
                self._topic, payload, merchant, self._partition, headers=[(PLACE, _place(position))],
                on_delivery=partial(self._delivered, position),
            )  # fmt: skip
        self._unsynced[position] = payload
        self._end = position + 1

    def _delivered(self, position: int, error: KafkaError | None, message: Message) -> None:
        """Note where a record came to stand; called by the poll in ``sync``, in order."""
        if self._refusal:
            return
        if error is not None:
            self._fail(str(mapped(error, self._name)))
        elif _offset(message) != position:
            self._fail(f"another writer took over {self._name}; this one must stop")
        else:
            with self._memory:
                self._durable_end = position + 1
                del self._unsynced[position]

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + self._timeout_s
        while not reached():
            self._check_open()
            if time.monotonic() > until:
                raise LogFailed(f"{self._name}: no broker acknowledged in {self._timeout_s:g} s; start again")
            with translated(self._name):
                self._producer.poll(_POLL_S)

    def _fail(self, what: str) -> LogFailed:
        """Refuse all that comes later; what was not yet sent is dropped."""
        if not self._refusal:
            self._refusal = what
            self._producer.purge(blocking=False)
        return LogFailed(self._refusal)

    def _check_open(self) -> None:
        if self._refusal:
            raise LogFailed(self._refusal)

    def _release(self) -> None:
        with suppress(KafkaException):  # it says once more why it failed
            self._producer.purge()
            self._producer.close()
        self._getter.close()

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read_durable(self, start: int, stop: int) -> Iterator[tuple[int, Record]]:
        if start >= stop:
            return
        with translated(self._name), closing(Consumer({**self._client, **_READING})) as reader:
            for message in self._messages(reader, start):
                position = _offset(message)
                payload = _counted(message)
                if payload is not None and position < stop:
                    yield position, decode_record(payload, position)
                if position + 1 >= stop:
                    return

    def _get_durable(self, position: int) -> bytes | None:
        with self._kept:
            message = next(self._messages(self._getter, position))
            with translated(self._name):
                self._getter.unassign()
        return _counted(message) if _offset(message) == position else None

    def _messages(self, reader: Consumer, start: int) -> Iterator[Message]:
        """Yield the messages from offset `start` on; the caller knows where to stop."""
        with translated(self._name):
            reader.assign([TopicPartition(self._topic, self._partition, start)])
            while (message := reader.poll(self._timeout_s)) is not None:
                error = message.error()
                if error is not None:
                    raise mapped(error, self._name)
                yield message
        raise LogFailed(f"{self._name}: no broker sent what was acknowledged in {self._timeout_s:g} s; try again")


def _counted(message: Message) -> bytes | None:
    """Return the payload of a message that stands where its writer meant it to, else None."""
    headers = message.headers()
    value: bytes | None = message.value()
    return value if headers and dict(headers).get(PLACE) == _place(_offset(message)) else None


def _place(position: int) -> bytes:
    return position.to_bytes(8, "big")


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset
