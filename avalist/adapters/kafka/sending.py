"""Sending messages a parcel at a time: what comes while one is on its way goes together in the next."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from avalist.adapters.kafka.reading import Headers

BATCHING = {"linger.ms": 0.5}
"""Settings of producers that an installation may change."""
SENDING = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 30_000,
    "queue.buffering.max.messages": 200_000,
}
_MOST_WAITING = 200_000

Delivered: TypeAlias = Callable[[KafkaError | None, Message | None], None]
"""Told by a poll of the producer where a message came to stand, or why it did not: then there may be no message."""


class _Parcelled(NamedTuple):
    value: bytes | None
    key: str | None
    headers: Headers | None
    delivered: Delivered


class _Lane:
    """The way to one partition."""

    def __init__(self) -> None:
        self.waiting: deque[_Parcelled] = deque()
        self.under_way = 0


def untold(error: KafkaError | None, message: Message | None) -> None:
    """Take note of nothing: whoever sent it does not ask."""


class Parcels:
    """Sends messages to the partitions of a topic in order, one parcel under way to each. For several threads.

    An acknowledged write costs brokers the same whether it holds one message or a hundred. The client library can wait
    likewise (one request in flight), but it spins meanwhile.
    """

    def __init__(self, producer: Producer, topic: str, most: int = _MOST_WAITING) -> None:
        self._producer, self._topic, self._most = producer, topic, most
        self._lanes: defaultdict[int, _Lane] = defaultdict(_Lane)
        self._lock = threading.RLock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Return how many messages the producer has not got yet."""
        return self._waiting

    def put(
        self,
        partition: int,
        value: bytes | None,
        key: str | None = None,
        headers: Headers | None = None,
        delivered: Delivered = untold,
    ) -> bool:
        """Have a message wait for :meth:`send`, or for the parcel under way; False if there is no room."""
        with self._lock:
            if self._waiting >= self._most:
                return False
            self._lanes[partition].waiting.append(_Parcelled(value, key, headers, delivered))
            self._waiting += 1
            return True

    def send(self) -> None:
        """Send what waits for partitions to which nothing is under way."""
        if self._waiting:
            with self._lock:
                for partition, lane in self._lanes.items():
                    if not lane.under_way:
                        self._hand_over(partition, lane)

    def drop(self) -> None:
        """Forget what waits; nobody is told of it."""
        with self._lock:
            for lane in self._lanes.values():
                lane.waiting.clear()
            self._waiting = 0

    def _hand_over(self, partition: int, lane: _Lane) -> None:
        """Give the producer all that waits; what it has no room for waits on."""
        while lane.waiting:
            value, key, headers, delivered = lane.waiting[0]
            try:
                self._producer.produce(
                    self._topic, value, key, partition, headers=headers or [],
                    on_delivery=partial(self._arrived, partition, lane, delivered),
                )  # fmt: skip
            except BufferError:
                return
            except KafkaException as error:  # this producer sends nothing any more
                self._taken(lane)
                delivered(error.args[0], None)
            else:
                self._taken(lane)
                lane.under_way += 1

    def _taken(self, lane: _Lane) -> None:
        lane.waiting.popleft()
        self._waiting -= 1

    def _arrived(
        self, partition: int, lane: _Lane, delivered: Delivered, error: KafkaError | None, message: Message
    ) -> None:
        delivered(error, message)
        with self._lock:
            lane.under_way -= 1
            if not lane.under_way:
                self._hand_over(partition, lane)
