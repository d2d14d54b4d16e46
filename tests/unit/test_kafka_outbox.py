"""What a decider says while no broker listens. Nothing answers at the address, so no broker is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from avalist.adapters.kafka.outbox import KafkaOutbox
from avalist.adapters.kafka.topics import Topics


@pytest.fixture
def outbox() -> Iterator[KafkaOutbox]:
    outbox = KafkaOutbox({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, Topics("here", 1))
    yield outbox
    give_up(outbox)


class Unflushed:
    """A producer that must not be flushed."""

    def __init__(self, producer: Producer) -> None:
        self.poll, self._producer = producer.poll, producer

    def __len__(self) -> int:
        return len(self._producer)


def give_up(outbox: KafkaOutbox) -> None:
    """Have everything that waits fail, as it does when its time is out."""
    outbox._producer.purge()
    outbox._producer.poll(0)


def test_a_profile_that_no_broker_took_is_sent_again(outbox: KafkaOutbox) -> None:
    outbox.publish("shop", b"with a key")
    give_up(outbox)
    assert not outbox.flush(0.0)
    assert len(outbox._producer) == 1


def test_an_older_profile_is_not_sent_after_a_newer_one(outbox: KafkaOutbox) -> None:
    outbox.publish("shop", b"old")
    outbox.publish("shop", b"new")
    give_up(outbox)
    outbox.flush(0.0)
    assert len(outbox._producer) == 1
    assert outbox._profiles == {"shop": b"new"}


def test_a_reply_that_no_broker_took_is_not_sent_again(outbox: KafkaOutbox) -> None:
    outbox.reply(0, b"approve")
    give_up(outbox)
    assert outbox.flush(0.0)


def test_whoever_does_not_wait_wakes_no_thread(outbox: KafkaOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.reply(0, b"approve")
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_producer", Unflushed(outbox._producer))
        assert not outbox.flush(0.0)
