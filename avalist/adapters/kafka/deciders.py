"""Whom a gateway asks: it writes to ``events``, hears one partition of ``replies``, and every merchant's profile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaError, Message, Producer

from avalist.adapters.kafka.errors import translated
from avalist.adapters.kafka.inbox import REPLY_TO, TRACEPARENT
from avalist.adapters.kafka.outbox import BATCHING, SENDING
from avalist.adapters.kafka.reading import Client, Headers, at_begin, at_end, values_of
from avalist.adapters.kafka.topics import REPLY_PARTITIONS, Topics
from avalist.ports.asking import Delivered

_POLL_S = 0.1
_MOST = 500
_LEAVE_S = 2.0

Hear = Callable[[list[bytes]], None]


class KafkaDeciders:
    """One gateway's connection. Its partition of ``replies`` is drawn by its name; others may hear the same one."""

    def __init__(self, client: Client, topics: Topics) -> None:
        self._client, self._topics = dict(client), topics
        self.partitions = topics.partitions
        self._stopping = threading.Event()
        self._known = threading.Event()
        self._threads: list[threading.Thread] = []
        with translated("gateway"):
            self._producer = Producer({**BATCHING, **client, **SENDING})

    @property
    def ready(self) -> bool:
        """Tell whether every profile that was published is known, and replies would be heard."""
        return self._known.is_set()

    def start(self, name: bytes, replies: Hear, profile: Callable[[bytes], None] | None) -> None:
        """Begin to hear replies to requests that begin with `name`, and profiles where they are wanted."""
        self._loop = asyncio.get_running_loop()
        place = int.from_bytes(name, "big") % REPLY_PARTITIONS
        self._headers: Headers = [(REPLY_TO, place.to_bytes(4, "big"))]

        hearing = at_end(self._client, self._topics.replies, place)
        self._run("replies", lambda: self._hear(hearing, replies))
        if profile is not None:
            self._learn_profiles(profile)
        self._run("deliveries", self._deliver)

    def _learn_profiles(self, profile: Callable[[bytes], None]) -> None:
        def profiles(values: list[bytes]) -> None:
            for value in values:
                profile(value)

        learning, first, end = at_begin(self._client, self._topics.merchants, 0)
        if first == end:
            self._known.set()
        self._run("profiles", lambda: self._learn(learning, end, profiles))

    def send(
        self, partition: int, merchant: str, value: bytes, delivered: Delivered | None = None, traceparent: bytes = b""
    ) -> bool:
        """Send a message; False if there is no room for it."""
        headers = [*self._headers, (TRACEPARENT, traceparent)] if traceparent else self._headers
        try:
            if delivered is None:
                self._producer.produce(self._topics.events, value, merchant, partition, headers=headers)
            else:
                self._producer.produce(
                    self._topics.events, value, merchant, partition, headers=headers,
                    on_delivery=lambda error, _: self._tell(delivered, error),
                )  # fmt: skip
        except BufferError:
            return False
        return True

    def close(self) -> None:
        """Send what waits, for a moment, and hear no more."""
        self._producer.flush(_LEAVE_S)
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _tell(self, delivered: Delivered, error: KafkaError | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(delivered, error is None)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _deliver(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_S)

    def _hear(self, consumer: Consumer, hear: Hear) -> None:
        for messages in self._batches(consumer):
            self._loop.call_soon_threadsafe(hear, values_of(messages))
        consumer.close()

    def _learn(self, consumer: Consumer, end: int, learn: Hear) -> None:
        for messages in self._batches(consumer):
            self._loop.call_soon_threadsafe(learn, values_of(messages))
            if any((message.offset() or 0) >= end - 1 for message in messages if message.error() is None):
                self._loop.call_soon_threadsafe(self._known.set)
        consumer.close()

    def _batches(self, consumer: Consumer) -> Iterator[list[Message]]:
        while not self._stopping.is_set():
            first = consumer.poll(_POLL_S)
            if first is not None:
                yield [first, *consumer.consume(_MOST, 0.0)]
