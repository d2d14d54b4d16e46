"""What an inbox asks of the client library. Nothing answers at the address, so no broker is needed."""

from __future__ import annotations

from unittest.mock import Mock

from avalist.adapters.kafka.inbox import KafkaInbox


def test_the_last_word_on_a_partition_that_begins_is_one_that_wakes_the_library() -> None:
    inbox = KafkaInbox(
        {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "here.events", "deciders", Mock(), session_timeout_ms=6000
    )
    library, inbox._consumer = inbox._consumer, Mock()
    inbox.begin(0, 7)
    did = [name for name, *_ in inbox._consumer.method_calls]
    assert did == ["seek", "resume", "seek"]
    library.close()
