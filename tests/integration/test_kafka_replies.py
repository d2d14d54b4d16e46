"""A decision over Kafka: ``events`` in, the writer's log, ``replies`` out by gateway; deadline, redelivery.

The decider and the gateway here are the smallest that show it; writer, log, features and policy are the real ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from avalist.adapters.kafka.log import KafkaLog
from avalist.app.writer import Writer
from avalist.domain.core import EventCore, ModelActivated, ModelStaged
from avalist.domain.decisions import Action, Decision, Versions
from avalist.domain.errors import LogFailed
from avalist.domain.events import Payment, decode_event
from avalist.domain.records import RecordKind
from avalist.enrich.intake import Intake
from avalist.models.artefact import Artefact
from avalist.models.score import Model
from avalist.policy.economics import Policy
from avalist.policy.evaluate import fall_back
from tests.cluster.running import PATIENCE_S
from tests.services.kafka import Broker
from tests.shop import SCHEMA, T0_MS, payment, payment_json

pytestmark = pytest.mark.sockets

SECRET = b"s" * 32


def assigned(kafka: Broker, topic: str, partition: int) -> Consumer:
    """Return a consumer of a partition from its beginning: positions are not committed anywhere."""
    consumer = Consumer({**kafka.client, "group.id": "smoke", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0)])
    return consumer


class Decider:
    """The writer of the one partition of ``events``."""

    def __init__(self, kafka: Broker, name: str, artefact: Artefact) -> None:
        self.replies = f"{name}-replies"
        self.log = KafkaLog(kafka.client, f"{name}-log")
        self.writer = Writer(self.log, lambda merchant, version: Model(artefact), lambda merchant: SECRET)
        self.writer.recover()
        self.producer = Producer(kafka.client)
        self.events = assigned(kafka, f"{name}-events", 0)
        if not self.writer.merchants:
            self.writer.create("shop", SCHEMA, T0_MS)
            self.writer.control("shop", ModelStaged(artefact.version, artefact.plan_hash), T0_MS)
            self.writer.control("shop", ModelActivated(artefact.version), T0_MS)
            self.writer.create("other", SCHEMA, T0_MS)
            self.log.sync()

    def step(self, *, dies_before_the_reply: bool = False) -> None:
        """Decide one event and answer once the decision is durable."""
        message = self.events.poll(PATIENCE_S)
        assert message is not None
        event, merchant, reply_to = read(message)
        answer = self.writer.decide(merchant, event, T0_MS)
        self.log.sync()
        if not dies_before_the_reply:
            body = msgspec.json.encode(self.writer.first(merchant, answer))
            self.producer.produce(self.replies, body, event.event_id, reply_to)
            assert self.producer.flush(PATIENCE_S) == 0

    def count_seen(self, n: int | str) -> float:
        """Return how many earlier payments of ten minutes the decision on a payment saw on its card; NaN: a new one."""
        _, decided = self.writer.lookup("shop", f"p{n}", "pre_auth")
        place = self.writer.merchant("shop").plan.columns.index("card__count__events__10m")
        return float(np.frombuffer(decided.features, "<f4")[place])

    def close(self) -> None:
        self.events.close()
        self.producer.close()
        self.log.close()


def read(message: Message) -> tuple[Payment, str, int]:
    """Return an event, its merchant and the partition to reply on."""
    value, key = message.value(), message.key()
    assert value is not None
    assert key is not None
    event = decode_event(value)
    assert isinstance(event, Payment)
    return event, key.decode(), int(dict(message.headers() or [])["reply_to"] or 0)


class Gateway:
    """Asks on ``events`` and hears its own partition of ``replies``."""

    def __init__(self, kafka: Broker, name: str, number: int = 0) -> None:
        self.name, self.number = name, number
        self.producer = Producer({**kafka.client, "enable.idempotence": True})
        self.replies = assigned(kafka, f"{name}-replies", number)

    def send(self, n: int | str, merchant: str = "shop") -> None:
        body = msgspec.json.encode(payment_json(n))
        self.producer.produce(
            f"{self.name}-events", body, merchant, headers=[("reply_to", str(self.number).encode())]
        )  # fmt: skip
        self.producer.poll(0)

    def reply(self, n: int | str, deadline_s: float = PATIENCE_S) -> Decision | None:
        """Return the next reply to an event, or None at the deadline."""
        until = time.monotonic() + deadline_s
        while (left_s := until - time.monotonic()) > 0:
            message = self.replies.poll(left_s)
            if message is not None and message.key() == f"e{n}".encode():
                return msgspec.json.decode(message.value() or b"", type=Decision)
        return None

    def decide(self, n: int | str, deadline_s: float) -> Decision:
        """Ask, and fall back at the deadline: no ``seq`` is known then, and nothing is durable."""
        self.send(n)
        decision = self.reply(n, deadline_s)
        if decision is not None:
            return decision
        event = payment(n)
        row, facts = Intake(SCHEMA, SECRET).payment(event)
        core = EventCore(event.type, event.event_id, b"", event.payment_id, event.checkpoint, row, facts, asked=True)
        return fall_back(core, 0, Policy(), "live", Versions("", ""))

    def close(self) -> None:
        self.replies.close()
        self.producer.close()


StartDecider = Callable[[], Decider]


@pytest.fixture
def name(kafka: Broker, tmp_path: Path) -> str:
    kafka.create(f"{tmp_path.name}-events")
    kafka.create(f"{tmp_path.name}-log")
    kafka.create(f"{tmp_path.name}-replies", partitions=2)
    return tmp_path.name


@pytest.fixture
def start_decider(kafka: Broker, name: str, artefact: Artefact) -> Iterator[StartDecider]:
    started: list[Decider] = []

    def start_decider() -> Decider:
        started.append(Decider(kafka, name, artefact))
        return started[-1]

    yield start_decider
    for decider in started:
        decider.close()


@pytest.fixture
def gateway(kafka: Broker, name: str) -> Iterator[Gateway]:
    with closing(Gateway(kafka, name)) as gateway:
        yield gateway


def test_each_gateway_hears_the_answers_to_its_own_questions(
    kafka: Broker, name: str, gateway: Gateway, start_decider: StartDecider
) -> None:
    decider = start_decider()
    with closing(Gateway(kafka, name, number=1)) as second:
        gateway.send(1)
        decider.step()
        second.send(2)
        decider.step()
        assert second.reply(1, 1.0) is None  # its own came by meanwhile
        first = gateway.reply(1)
    assert first is not None
    assert (first.payment_id, first.seq, first.degraded) == ("p1", 4, False)
    assert first.model_version


def test_seq_is_each_merchants_own_and_offsets_are_shared(gateway: Gateway, start_decider: StartDecider) -> None:
    decider = start_decider()
    for n, merchant in enumerate(("shop", "other", "shop", "other")):
        gateway.send(n, merchant)
        decider.step()
    events = [(r.merchant, r.seq) for _, r in decider.log.read() if r.kind == RecordKind.EVENT]
    assert sorted(events) == [("other", 2), ("other", 3), ("shop", 4), ("shop", 5)]


def test_a_broker_that_stands_still_means_the_fallback_and_later_the_same_decision_once(
    kafka: Broker, gateway: Gateway, start_decider: StartDecider
) -> None:
    decider = start_decider()
    kafka.pause()
    try:
        fallen = gateway.decide(1, deadline_s=0.2)  # it comes while the broker stands still
    finally:
        kafka.resume()
    assert (fallen.degraded, fallen.durable, fallen.action) == (True, False, Action.REVIEW)
    gateway.send(1)  # again, on reconnection: the first went through in the end
    decider.step()
    decider.step()
    first, second = gateway.reply(1), gateway.reply(1)
    assert first is not None
    assert (first.degraded, first == second) == (False, True)
    gateway.send(2)
    decider.step()
    assert (decider.count_seen(2), decider.writer.merchant("shop").seq) == (1.0, first.seq + 1)


def test_a_fallback_that_is_logged_later_is_the_answer_from_then_on(
    gateway: Gateway, start_decider: StartDecider
) -> None:
    decider = start_decider()
    gateway.send(1)
    decider.step()
    computed = gateway.reply(1)
    decider.writer.fallback("shop", decider.writer.decide("shop", payment(1), T0_MS), T0_MS, "deadline")
    gateway.send(1)
    decider.step()
    first = gateway.reply(1)
    assert first is not None
    assert computed is not None
    assert (first.degraded, computed.degraded, first.seq) == (True, False, computed.seq)


def test_a_decider_that_died_before_its_reply_gives_the_same_one_when_it_comes_back(
    gateway: Gateway, start_decider: StartDecider
) -> None:
    dying = start_decider()
    gateway.send(1)
    dying.step(dies_before_the_reply=True)
    decided = dying.writer.lookup("shop", "p1", "pre_auth")[1].decision
    records = list(dying.log.read())
    decider = start_decider()
    decider.step()
    assert gateway.reply(1) == decided
    assert list(decider.log.read()) == records


def test_a_decider_that_lost_its_turn_answers_nothing(gateway: Gateway, start_decider: StartDecider) -> None:
    zombie = start_decider()
    zombie_was_at = zombie.log.end
    start_decider()
    gateway.send(1)
    with pytest.raises(LogFailed, match="another writer took over"):
        zombie.step()
    decider = start_decider()
    assert decider.writer.merchant("shop").seq == 3
    decider.step()
    reply = gateway.reply(1)
    assert reply is not None
    assert (reply.seq, gateway.reply(1, 0.3)) == (4, None)
    assert [r.seq for _, r in decider.log.read(zombie_was_at) if r.kind == RecordKind.EVENT] == [4]
