"""What is asked of deciders: the topic ``events``, its partitions shared out by a consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from avalist.adapters.kafka.errors import mapped, translated
from avalist.adapters.kafka.reading import Client, offset_of
from avalist.ports.asking import Came, Turns

REPLY_TO = "reply_to"
"""Header of a message: the partition of ``replies`` that its gateway hears."""
TRACEPARENT = "traceparent"
"""Header of a message that is traced: the span of its sending, as W3C Trace Context writes it."""

_SHARED = {
    "partition.assignment.strategy": "cooperative-sticky",  # only what changes hands stands still
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": 16_384,
    "fetch.error.backoff.ms": 50,
    "fetch.wait.max.ms": 100,  # so long a partition that was just taken over may wait for a fetch without it
    "check.crcs": True,
}
_TRANSIENT = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF, KafkaError._TIMED_OUT}
_UNKNOWN_BEHIND = 1
_HEARTBEAT_MS = 1000
"""At least so often, however patient the group is: a heartbeat's answer is what tells that partitions change hands."""
_NUDGE_S = 0.05


class KafkaShare:
    """A member of a consumer group: tells `turns` which partitions of a topic are ours. Positions are not committed.

    A member that is not heard for `session_timeout_ms` loses its partitions to the others.
    """

    def __init__(self, client: Client, topic: str, group: str, turns: Turns, *, session_timeout_ms: int) -> None:
        self._topic, self._turns = topic, turns
        self._name = f"group {group} of {topic}"
        self._nudge_s = 0.0
        with translated(self._name):
            self._consumer = Consumer({
                **client, **_SHARED, "group.id": group, "session.timeout.ms": session_timeout_ms,
                "heartbeat.interval.ms": min(max(session_timeout_ms // 10, 100), _HEARTBEAT_MS),
            })  # fmt: skip
            self._consumer.subscribe(
                [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    def attend(self, timeout_s: float) -> None:
        """Show that we are alive; tell of partitions won and lost."""
        with translated(self._name):
            self._keep_time()
            self._consumer.poll(timeout_s)

    def close(self) -> None:
        """Leave, so that others get the partitions at once."""
        with translated(self._name):
            self._consumer.close()

    def _keep_time(self) -> None:
        """Have the library look at the clock: by itself its thread does so twice a second, and heartbeats wait for it.

        It wakes to answer a question.
        """
        now_s = time.monotonic()
        if now_s >= self._nudge_s:
            self._nudge_s = now_s + _NUDGE_S
            self._consumer.assignment()

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        given = [TopicPartition(self._topic, place.partition, 0) for place in places]
        consumer.incremental_assign(given)
        if given:
            consumer.pause(given)  # until whoever takes over knows from where on
        self._tell(self._turns.assigned, places)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._tell(self._turns.revoked, places)
        consumer.incremental_unassign(places)

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._tell(self._turns.lost, places)
        consumer.incremental_unassign(places)

    @staticmethod
    def _tell(tell: Callable[[list[int]], None], places: list[TopicPartition]) -> None:
        tell([place.partition for place in places])


class KafkaInbox(KafkaShare):
    """The messages of our partitions."""

    def take(self, most: int, timeout_s: float) -> list[Came]:
        """Return what came, after waiting so long for a first message; tell of partitions won and lost meanwhile."""
        with translated(self._name):
            self._keep_time()
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            return [came for message in (first, *self._consumer.consume(most - 1, 0.0)) for came in self._came(message)]

    def begin(self, partition: int, offset: int) -> None:
        """Begin to read an assigned partition, or begin again, at `offset`."""
        place = TopicPartition(self._topic, partition, offset)
        with translated(self._name):
            self._consumer.seek(place)
            self._consumer.resume([place])
            self._consumer.seek(place)  # this wakes the library's thread, which resuming does not: it sleeps a second

    def behind(self, partition: int, offset: int) -> int:
        """Return how many messages lie from `offset` on, as far as it is known here."""
        with translated(self._name):
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return end - offset if end >= 0 else _UNKNOWN_BEHIND

    def _came(self, message: Message) -> list[Came]:
        error = message.error()
        if error is not None:
            if error.code() in _TRANSIENT or error.retriable():
                return []
            raise mapped(error, self._name)
        partition, value = message.partition(), message.value()
        assert partition is not None
        headers = dict(message.headers() or ())
        reply_to, traced = headers.get(REPLY_TO), headers.get(TRACEPARENT)
        return [
            Came(
                partition, offset_of(message), value or b"",
                int.from_bytes(reply_to, "big") if isinstance(reply_to, bytes) and len(reply_to) == 4 else -1,
                traced if isinstance(traced, bytes) else b"",
            )
        ]  # fmt: skip
