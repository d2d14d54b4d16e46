"""The topics of an installation, and how they must be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from avalist.adapters.kafka.errors import translated
from avalist.adapters.kafka.reading import Client
from avalist.domain.errors import BadInput

_DAY_MS: Final = 86_400_000
_WAIT_S: Final = 30.0
REPLY_PARTITIONS: Final = 32


class Topics(NamedTuple):
    """Names of the topics, which begin with the installation's, and how many partitions merchants spread over."""

    prefix: str
    partitions: int
    copies: int = 3

    @property
    def events(self) -> str:
        """What gateways ask, keyed by merchant."""
        return f"{self.prefix}.events"

    @property
    def decisions(self) -> str:
        """The log: events with their ``seq``, facts and decisions, keyed by merchant. Kept for ever."""
        return f"{self.prefix}.decisions"

    @property
    def replies(self) -> str:
        """Answers on their way to gateways."""
        return f"{self.prefix}.replies"

    @property
    def merchants(self) -> str:
        """The newest profile of each merchant; compacted."""
        return f"{self.prefix}.merchants"

    @property
    def dead_letters(self) -> str:
        """Messages that could not be taken."""
        return f"{self.prefix}.dead-letters"

    def wanted(self) -> list[NewTopic]:
        """Return the topics as they must be made."""
        return [
            self._topic(self.events, self.partitions, retention_ms=7 * _DAY_MS),
            self._topic(self.decisions, self.partitions, retention_ms=-1),
            # A reply that is lost is asked for again: two copies outlive a broker, and are there sooner than three.
            self._replace(copies=min(self.copies, 2))._topic(
                self.replies, REPLY_PARTITIONS, retention_ms=600_000, segment_ms=600_000
            ),
            self._topic(self.merchants, 1, cleanup_policy="compact"),
            self._topic(self.dead_letters, 1, retention_ms=90 * _DAY_MS),
        ]

    def _topic(self, name: str, partitions: int, **config: object) -> NewTopic:
        given = {key.replace("_", "."): str(value) for key, value in config.items()}
        given |= {
            "min.insync.replicas": str(max(self.copies - 1, 1)),
            "max.message.bytes": str(4 << 20),
            # Brokers refuse what a clock that is ahead stamps, and soon delete what one that is behind does.
            "message.timestamp.type": "LogAppendTime",
        }
        return NewTopic(name, partitions, self.copies, config=given)


def ensure(client: Client, topics: Topics) -> None:
    """Create the topics that are missing.

    Raises ``BadInput`` where one has another number of partitions, which is for ever, ``LogFailed`` where no broker
    answers.
    """
    with translated(f"topics at {client['bootstrap.servers']}"):
        admin = AdminClient(dict(client))
        there = admin.list_topics(timeout=_WAIT_S).topics
        missing = [topic for topic in topics.wanted() if topic.topic not in there]
        if missing:
            _create(admin, missing)
    for topic in topics.wanted():
        found = there.get(topic.topic)
        if found is not None and len(found.partitions) != topic.num_partitions:
            raise BadInput(
                "a topic has another number of partitions, which is fixed when it is made",
                field="partitions",
                expected=f"{len(found.partitions)}, as {topic.topic} has",
                got=str(topic.num_partitions),
            )


def _create(admin: AdminClient, missing: Sequence[NewTopic]) -> None:
    for future in admin.create_topics(list(missing), operation_timeout=_WAIT_S).values():
        try:
            future.result(_WAIT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another role was faster
                raise
