"""What a network may do: the messages of a topic come again, late and out of order."""

from __future__ import annotations

import random
import time
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.cluster.running import PATIENCE_S

_HELD, _LEAST = 16, 24


def again_and_out_of_order(client: dict[str, Any], topic: str, seconds: float) -> int:
    """Send what comes to a topic a second time, some messages later and shuffled, for so long and until they are many;
    return how many.

    Their headers come with them, so gateways hear the replies again too.
    """
    consumer, producer, draw = _from_now_on(client, topic), Producer(client), random.Random(8)
    held: list[Message] = []
    count, until_s = 0, time.monotonic() + seconds
    while (goes_on := time.monotonic() < until_s or count < _LEAST) or held:
        message = consumer.poll(0.05) if goes_on else None
        if message is not None and message.error() is None and "again" not in dict(message.headers() or ()):
            held.append(message)
        if held and (message is None or len(held) >= _HELD):
            draw.shuffle(held)
            for one in held[: len(held) // 2 + 1]:
                headers = [*(one.headers() or ()), ("again", b"")]
                producer.produce(topic, one.value(), one.key(), one.partition() or 0, headers=headers)
                count += 1
            held = held[len(held) // 2 + 1 :]
            assert producer.flush(PATIENCE_S) == 0
    consumer.close()
    return count


def _from_now_on(client: dict[str, Any], topic: str) -> Consumer:
    consumer = Consumer({**client, "group.id": "twice", "enable.auto.commit": False})
    places = [TopicPartition(topic, partition) for partition in consumer.list_topics(topic).topics[topic].partitions]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)[1]
    consumer.assign(places)
    return consumer
