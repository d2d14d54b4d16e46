"""The dead letters: messages that no decider could take, each with the reason, and their way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from avalist.adapters.kafka.errors import mapped, translated
from avalist.adapters.kafka.outbox import AT_MS, BATCHING, FROM, MERCHANT, REASON, SENDING
from avalist.adapters.kafka.reading import Client, Headers, bounds_of, offset_of
from avalist.adapters.kafka.topics import Topics
from avalist.domain.errors import LogFailed, NotFound

_REPLAYED: Final = "replayed"
"""Header of a note that a dead letter, by its number, was sent again."""
_READING: Final = {"group.id": "avalist-dead-letters", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
_WAIT_S: Final = 30.0


class DeadLetter(NamedTuple):
    """One message, by its number. `source` is the partition and offset in ``events`` where it was found."""

    number: int
    at_ms: int
    merchant: str
    source: str
    reason: str
    value: bytes


class DeadLetters:
    """Lists and replays them."""

    def __init__(self, client: Client, topics: Topics) -> None:
        self._client, self._topics = dict(client), topics

    def waiting(self) -> list[DeadLetter]:
        """Return those that were not sent again yet, the oldest first; one that was found twice comes once."""
        letters: dict[str, DeadLetter] = {}
        for message in self._messages():
            headers = {name: value for name, value in dict(message.headers() or ()).items() if isinstance(value, bytes)}
            if _REPLAYED in headers:
                letters.pop(headers[_REPLAYED].decode(), None)
            else:
                letter = _letter(message, headers)
                letters.setdefault(letter.source, letter)
        return sorted(letters.values())

    def replay(self, numbers: list[int] | None = None) -> int:
        """Send dead letters to the deciders again, all or some; return how many. Nobody waits for their replies.

        Raises ``NotFound`` for a number that is none.
        """
        letters = {letter.number: letter for letter in self.waiting()}
        wanted = sorted(letters) if numbers is None else numbers
        missing = [number for number in wanted if number not in letters]
        if missing:
            raise NotFound(f"no dead letter {missing[0]}: 'avalist dead-letters list' shows them")
        with translated("dead letters"):
            producer = Producer({**BATCHING, **self._client, **SENDING})
            for number in wanted:
                self._send(producer, letters[number])
        return len(wanted)

    def _send(self, producer: Producer, letter: DeadLetter) -> None:
        """Send one, then note it: a death between sends it once more, which a decider knows again."""
        partition = int(letter.source.partition(":")[0])
        producer.produce(self._topics.events, letter.value, letter.merchant, partition)
        _flush(producer)
        note: Headers = [(_REPLAYED, letter.source.encode())]
        producer.produce(self._topics.dead_letters, b"", letter.merchant, 0, headers=note)
        _flush(producer)

    def _messages(self) -> Iterator[Message]:
        topic = self._topics.dead_letters
        with translated("dead letters"):
            consumer = Consumer({**self._client, **_READING})
            try:
                first, end = bounds_of(consumer, TopicPartition(topic, 0), _WAIT_S)
                consumer.assign([TopicPartition(topic, 0, first)])
                while first < end:
                    message = consumer.poll(_WAIT_S)
                    if message is None:
                        raise LogFailed(f"dead letters: no broker sent them in {_WAIT_S:g} s; try again")
                    error = message.error()
                    if error is not None:
                        raise mapped(error, "dead letters")
                    yield message
                    first = offset_of(message) + 1
            finally:
                consumer.close()


def _letter(message: Message, headers: dict[str, bytes]) -> DeadLetter:
    told = {name: headers.get(name, b"").decode() for name in (AT_MS, MERCHANT, FROM, REASON)}
    return DeadLetter(
        offset_of(message), int(told[AT_MS] or 0), told[MERCHANT], told[FROM], told[REASON], message.value() or b""
    )


def _flush(producer: Producer) -> None:
    if producer.flush(_WAIT_S):
        raise LogFailed(f"dead letters: no broker acknowledged in {_WAIT_S:g} s; replay again")
