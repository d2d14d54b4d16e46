"""What a decider says: replies, profiles, dead letters; and what profiles others publish."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, Message, Producer

from avalist.adapters.kafka.errors import translated
from avalist.adapters.kafka.reading import Client, at_end, values_of
from avalist.adapters.kafka.topics import Topics
from avalist.domain.errors import LogFailed
from avalist.ports.asking import Came

# What comes while a request is under way goes together in the next: an acknowledged write costs brokers the same
# whether it holds one message or a hundred. A quiet moment waits for nothing but those of the same step.
BATCHING = {"linger.ms": 0.5, "max.in.flight.requests.per.connection": 1}
"""Settings of producers that an installation may change."""
SENDING = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 30_000,
    "queue.buffering.max.messages": 200_000,
}
REASON, MERCHANT, FROM, AT_MS = "reason", "merchant", "from", "at_ms"
"""Headers of a dead letter; `from` is its partition and offset in ``events``."""
_BURY_S = 10.0
_MOST = 1000


class KafkaOutbox:
    """One producer for all of them."""

    def __init__(self, client: Client, topics: Topics) -> None:
        self._client, self._topics = dict(client), topics
        self._hearing: Consumer | None = None
        self._profiles: dict[str, bytes] = {}  # those on their way, by merchant
        self._lost: set[str] = set()
        with translated("replies"):
            self._producer = Producer({**BATCHING, **client, **SENDING})

    def reply(self, to: int, value: bytes) -> None:
        """Send a reply to a gateway; where there is no room it is dropped: the gateway asks again, or falls back."""
        if to >= 0:
            try:
                self._producer.produce(self._topics.replies, value, partition=to)
            except BufferError:
                self._producer.poll(0)
        self._producer.poll(0)

    def bury(self, came: Came, merchant: str, reason: str, at_ms: int) -> None:
        """Lay a message among the dead letters; it is safe there when this returns. Raises ``LogFailed``."""
        headers = {
            REASON: reason.encode(), MERCHANT: merchant.encode(), FROM: f"{came.partition}:{came.offset}".encode(),
            AT_MS: str(at_ms).encode(),
        }  # fmt: skip
        with translated("dead letters"):
            self._producer.produce(self._topics.dead_letters, came.value, merchant, 0, headers=list(headers.items()))
        if not self.flush(_BURY_S):
            raise LogFailed("dead letters: no broker acknowledged; the message is taken again")

    def publish(self, merchant: str, profile: bytes) -> None:
        """Tell every gateway what it must know of a merchant; what no broker took is sent again by :meth:`flush`."""
        self._profiles[merchant] = profile
        self._send(merchant, profile)

    def heard(self) -> list[bytes]:
        """Return the profiles that were published since the last call, by whomever; nothing at the first one."""
        with translated("profiles"):
            if self._hearing is None:
                self._hearing = at_end(self._client, self._topics.merchants, 0)
            return values_of(self._hearing.consume(_MOST, 0.0))

    def close(self) -> None:
        """Hear no more."""
        if self._hearing is not None:
            self._hearing.close()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was given is safe; tell whether it is."""
        lost, self._lost = self._lost, set()
        for merchant in lost:
            self._send(merchant, self._profiles[merchant])
        return self._left(timeout_s) == 0 and not self._lost

    def _left(self, timeout_s: float) -> int:
        """Return how many messages are on their way. Only whoever waits has the library flush: that wakes each of its
        threads, also where there is nothing to send.
        """
        if timeout_s > 0:
            return self._producer.flush(timeout_s)
        self._producer.poll(0)
        return len(self._producer)

    def _send(self, merchant: str, profile: bytes) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if self._profiles.get(merchant) is not profile:  # a newer one follows
                return
            if error is None:
                del self._profiles[merchant]
            else:
                self._lost.add(merchant)

        try:
            self._producer.produce(self._topics.merchants, profile, merchant, 0, on_delivery=delivered)
        except BufferError:
            self._lost.add(merchant)
