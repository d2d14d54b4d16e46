"""Reading one partition of a topic as a log; ADR 8 tells which of its messages are records."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from avalist.adapters.kafka.errors import mapped, translated
from avalist.domain.errors import LogFailed, NotFound
from avalist.domain.records import Record, decode_record

Client: TypeAlias = Mapping[str, str | int | float | bool]
Headers: TypeAlias = list[tuple[str, str | bytes | None]]

PLACE = "place"
"""Header of every record: the offset that its writer meant it to have, eight bytes, big-endian."""
CURSOR = "cursor"
"""Header of every record: how far its writer had read the inputs, eight bytes, big-endian."""

READING = {
    "group.id": "avalist-log",  # the library asks for one; nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "check.crcs": True,
}
# What is wanted is there: a fetch that waited behind the end, half a second by default, would hold up the next reading.
_TO_AN_END = {"fetch.wait.max.ms": 1}
# One record is wanted: no more than the batch that holds it is fetched ahead, and none is waited for behind it.
_GETTING = {
    "queued.min.messages": 1,
    "fetch.message.max.bytes": 1 << 16,
    "fetch.queue.backoff.ms": 0,
}
_HEARING = {"group.id": "avalist-gateway", "enable.auto.commit": False}
_HEARING_S = 30.0
_NOT_YET = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}
_AGAIN_S = 0.05
_MANY = 1000
_FIRST_LOOK_BACK = 16


class Reading:
    """Reads the records that the brokers have; may be used by several threads."""

    def __init__(self, client: Client, topic: str, partition: int, timeout_s: float) -> None:
        self._client, self._topic, self._partition, self._timeout_s = dict(client), topic, partition, timeout_s
        self._name = f"log {topic}[{partition}]"
        self._got = threading.Lock()
        self._closed = False
        self._idle: Consumer | None = None
        with translated(self._name):
            self._getter = Consumer({**self._client, **READING, **_TO_AN_END, **_GETTING})

    @property
    def begin(self) -> int:
        """Return 0: the topic keeps everything."""
        return 0

    def close_reading(self) -> None:
        """Release what reads."""
        self._closed = True
        self._getter.close()
        if self._idle is not None:
            self._idle.close()

    def check_partition_exists(self) -> None:
        """Raise ``NotFound`` if there is no such partition."""
        with translated(self._name):
            found = self._getter.list_topics(self._topic, timeout=self._timeout_s).topics[self._topic]
        if found.error is not None:
            raise mapped(found.error, self._name)
        if self._partition not in found.partitions:
            raise NotFound(f"{self._name}: the topic has partitions 0 to {len(found.partitions) - 1}")

    def bounds(self) -> tuple[int, int]:
        """Return the first offset that retention left, and the one after the last that every copy has."""
        with translated(self._name):
            place = TopicPartition(self._topic, self._partition)
            first, end = self._getter.get_watermark_offsets(place, timeout=self._timeout_s)
        return first, end

    def cursor_before(self, end: int) -> int:
        """Return the last cursor that was written before `end`; 0 where there is none."""
        first, _ = self.bounds()
        reach = _FIRST_LOOK_BACK
        while True:
            start = max(end - reach, first)
            found = [_header(message, CURSOR) for message in self._standing(start, end)]
            if found or start == first:
                return max(found[-1], 0) if found else 0
            reach *= 8

    def records(self, start: int, stop: int) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of [`start`, `stop`), which the brokers have."""
        for message in self.counted(start, stop):
            position = offset_of(message)
            yield position, decode_record(message.value() or b"", position)

    def payload(self, position: int) -> bytes | None:
        """Return the record at a position, which the brokers have; None where none begins."""
        with self._got:
            message = next(self._messages(self._getter, position))
            with translated(self._name):
                self._getter.unassign()
        return message.value() if offset_of(message) == position and stands(message) else None

    def counted(self, start: int, stop: int) -> Iterator[Message]:
        """Yield the messages of [`start`, `stop`) that are records."""
        return (message for message in self._standing(start, stop) if message.value() is not None)

    def _standing(self, start: int, stop: int) -> Iterator[Message]:
        """Yield the messages that stand where their writer meant them to: to all others nobody listens."""
        if start >= stop:
            return
        with translated(self._name):
            reader, self._idle = self._idle or Consumer({**self._client, **READING, **_TO_AN_END}), None
        try:
            for message in self._messages(reader, start):
                position = offset_of(message)
                if position < stop and stands(message):
                    yield message
                if position + 1 >= stop:
                    break
        finally:
            self._keep(reader)

    def _keep(self, reader: Consumer) -> None:
        """Keep a reader for the next reading; making one takes long."""
        if self._idle is None and not self._closed:
            with translated(self._name):
                reader.unassign()
            self._idle = reader
        else:
            reader.close()

    def _messages(self, reader: Consumer, start: int) -> Iterator[Message]:
        """Yield the messages from offset `start` on; the caller knows where to stop."""
        with translated(self._name):
            reader.assign([TopicPartition(self._topic, self._partition, start)])
        while True:
            yield self.next_of(reader)

    def next_of(self, reader: Consumer) -> Message:
        """Return the next message, which the brokers have. Raises ``LogFailed`` if none comes in time."""
        with translated(self._name):
            message = reader.poll(self._timeout_s)
        if message is None:
            raise LogFailed(f"{self._name}: no broker sent what was acknowledged in {self._timeout_s:g} s; try again")
        error = message.error()
        if error is not None:
            raise mapped(error, self._name)
        return message


def bounds_of(consumer: Consumer, place: TopicPartition, timeout_s: float = _HEARING_S) -> tuple[int, int]:
    """Return a partition's first offset, and the one after its last.

    A topic that another role made a moment ago is waited for: brokers hear of it, and begin to lead, one by one.
    """
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return consumer.get_watermark_offsets(place, timeout=timeout_s)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_YET or time.monotonic() > until_s:
                raise
        time.sleep(_AGAIN_S)


def at_end(client: Client, topic: str, partition: int) -> Consumer:
    """Return a consumer of what comes to a partition from now on."""
    with translated(topic):
        consumer = Consumer({**client, **_HEARING, "auto.offset.reset": "latest"})
        _, end = bounds_of(consumer, TopicPartition(topic, partition))
        consumer.assign([TopicPartition(topic, partition, end)])
    return consumer


def at_begin(client: Client, topic: str, partition: int) -> tuple[Consumer, int, int]:
    """Return a consumer of a partition from its beginning, and the offsets where it begins and ends now."""
    with translated(topic):
        consumer = Consumer({**client, **_HEARING, "auto.offset.reset": "earliest"})
        first, end = bounds_of(consumer, TopicPartition(topic, partition))
        consumer.assign([TopicPartition(topic, partition, first)])
    return consumer, first, end


def offsets_at(client: Client, topic: str, partitions: int, at_ms: int) -> list[int]:
    """Return each partition's first offset of what came at `at_ms` or later; its end where nothing did."""
    with translated(topic):
        consumer = Consumer({**client, **_HEARING})
        try:
            wanted = [TopicPartition(topic, partition, at_ms) for partition in range(partitions)]
            found = consumer.offsets_for_times(wanted, timeout=_HEARING_S)
            return [
                one.offset if one.offset >= 0 else bounds_of(consumer, one)[1]
                for one in sorted(found, key=lambda one: one.partition)
            ]
        finally:
            consumer.close()


def keys_in(client: Client, topic: str) -> set[str]:
    """Return the keys of the messages in a topic's first partition."""
    consumer, position, end = at_begin(client, topic, 0)
    keys: set[str] = set()
    try:
        while position < end:
            with translated(topic):
                messages = consumer.consume(_MANY, _HEARING_S)
            if not messages:
                raise LogFailed(f"{topic}: no broker sent what it has in {_HEARING_S:g} s; try again")
            for message in messages:
                error, key = message.error(), message.key()
                if error is not None:
                    raise mapped(error, topic)
                keys |= {key.decode()} if isinstance(key, bytes) else set()
                position = offset_of(message) + 1
    finally:
        consumer.close()
    return keys


def values_of(messages: Iterable[Message]) -> list[bytes]:
    """Return what messages say; errors that a consumer reports by itself are left out: it tries again."""
    return [value for message in messages if message.error() is None and (value := message.value()) is not None]


def offset_of(message: Message) -> int:
    """Return a message's offset."""
    offset = message.offset()
    return -1 if offset is None else offset


def stands(message: Message) -> bool:
    """Tell whether a message stands where its writer meant it to."""
    return _header(message, PLACE) == offset_of(message)


def _header(message: Message, name: str) -> int:
    """Return a number that a message carries; −1 where it does not."""
    value = dict(message.headers() or ()).get(name)
    return int.from_bytes(value, "big") if isinstance(value, bytes) and len(value) == 8 else -1
