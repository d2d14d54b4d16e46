"""What an inbox asks of the client library. Nothing answers at the address, so no broker is needed."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from avalist.adapters.kafka import inbox as inboxes
from avalist.adapters.kafka.inbox import KafkaInbox


@pytest.fixture
def inbox() -> Iterator[KafkaInbox]:
    """Return an inbox whose library notes what it is asked."""
    inbox = KafkaInbox(
        {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "here.events", "deciders", Mock(), session_timeout_ms=6000
    )
    library, inbox._consumer = inbox._consumer, Mock()
    yield inbox
    library.close()


def asked(inbox: KafkaInbox) -> list[str]:
    return [name for name, *_ in inbox._consumer.method_calls]  # type: ignore[attr-defined]


def test_the_last_word_on_a_partition_that_begins_is_one_that_wakes_the_library(inbox: KafkaInbox) -> None:
    inbox.begin(0, 7)
    assert asked(inbox) == ["seek", "resume", "seek"]


def test_the_library_is_woken_for_its_heartbeats_and_not_at_each_step(
    inbox: KafkaInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = iter([10.0, 10.01, 10.0 + inboxes._NUDGE_S])
    monkeypatch.setattr(inboxes, "time", Mock(monotonic=lambda: next(now_s)))
    for _ in range(3):
        inbox.attend(0.0)
    assert asked(inbox) == ["assignment", "poll", "poll", "assignment", "poll"]
