"""The checker: reads the topics by itself and holds them against what callers were told (I1, I2, I5, I9).

It shares no reader with the product: Kafka's client, msgpack, and the rule of places written down once more.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition

from avalist.app.replay import replay
from avalist.domain.errors import NotFound
from avalist.domain.records import Record
from avalist.models.score import Model
from tests.cluster.running import PATIENCE_S, Given, until

EVENT, CONTROL, DECISION, FALLBACK = 1, 2, 3, 4
_DOCUMENT = "SELECT json FROM documents WHERE merchant = ? AND collection = 'decisions' AND id = ?"


class Found(NamedTuple):
    """A record, where it stands."""

    partition: int
    offset: int
    merchant: str
    seq: int
    kind: int
    core: Any
    raw: list[Any]


class Checked(NamedTuple):
    """What was found wrong, by invariant; and how much was looked at."""

    wrong: dict[str, list[str]]
    answers: int
    events: int
    decisions: int
    fallbacks: int


def messages(client: dict[str, Any], topic: str) -> Iterator[Any]:
    """Yield every message of a topic, partition by partition."""
    consumer = Consumer({**client, "group.id": "checker", "enable.auto.commit": False, "auto.offset.reset": "error"})
    try:
        for partition in consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions:
            place = TopicPartition(topic, partition)
            first, end = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
            consumer.assign([TopicPartition(topic, partition, first)])
            while first < end:
                message = consumer.poll(PATIENCE_S)
                assert message is not None, f"{topic}[{partition}] stops at {first} of {end}"
                assert message.error() is None, message.error()
                yield message
                first = (message.offset() or 0) + 1
    finally:
        consumer.close()


def records(client: dict[str, Any], topic: str) -> list[Found]:
    """Return the records that stand where their writer meant them to."""
    found = []
    for message in messages(client, topic):
        place = dict(message.headers() or ()).get("place")
        if message.value() is None or place != message.offset().to_bytes(8, "big"):
            continue
        raw = msgspec.msgpack.decode(message.value())
        core = msgspec.msgpack.decode(raw[4])
        found.append(Found(message.partition(), message.offset(), raw[0], raw[1], raw[2], core, raw))
    return found


def check(client: dict[str, Any], name: str, given: Sequence[Given]) -> Checked:
    """Hold the log of an installation against the answers that its callers got."""
    log = records(client, f"{name}.decisions")
    wrong: dict[str, list[str]] = defaultdict(list)
    decided, fallen = _by_event(log)
    _each_once(log, wrong["I5"])
    _answers(given, decided, fallen, wrong)
    _replayed(log, wrong["I2"])
    kinds = Counter(one.kind for one in log)
    return Checked(
        {name: found for name, found in wrong.items() if found},
        len(given), kinds[EVENT], kinds[DECISION], kinds[FALLBACK],
    )  # fmt: skip


def _by_event(log: Iterable[Found]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the decisions and the first fallbacks by event id, as the log has them."""
    decided: dict[str, Any] = {}
    fallen: dict[str, Any] = {}
    for one in log:
        if one.kind == DECISION:
            decided[one.core[0]["event_id"]] = one.core[0]
        elif one.kind == FALLBACK:
            fallen.setdefault(one.core[0], one.core[2])
    return decided, fallen


def _each_once(log: Iterable[Found], wrong: list[str]) -> None:
    """Each event stands once, each input has the next ``seq`` of its merchant, each decision follows its event."""
    seqs: dict[str, int] = defaultdict(int)
    events: set[str] = set()
    last: Found | None = None
    for one in log:
        if one.kind == DECISION:
            if last is None or (last.kind, last.seq, last.merchant) != (EVENT, one.seq, one.merchant):
                wrong.append(f"decision {one.merchant}/{one.seq} does not follow its event")
        else:
            seqs[one.merchant] += 1
            if one.seq != seqs[one.merchant]:
                wrong.append(f"{one.merchant}: input {one.seq} where {seqs[one.merchant]} was due")
        if one.kind == EVENT:
            if one.core[1] in events:
                wrong.append(f"event {one.core[1]} stands twice")
            events.add(one.core[1])
        last = one


def _answers(
    given: Sequence[Given], decided: dict[str, Any], fallen: dict[str, Any], wrong: dict[str, list[str]]
) -> None:
    """Each answer is the log's first one for its event, and the same as every other that was given."""
    first: dict[str, bytes] = {}
    for one in given:
        if first.setdefault(one.event_id, one.body) != one.body:
            wrong["I5"].append(f"{one.event_id} got two answers: {first[one.event_id]!r} {one.body!r}")
        if one.answer["degraded"]:
            if fallen.get(one.event_id) is None:
                wrong["I9"].append(f"the fallback given to {one.event_id} is not in the log")
                continue
        elif decided.get(one.event_id) is None:
            wrong["I1"].append(f"the decision given to {one.event_id} is not in the log")
            continue
        logged = fallen.get(one.event_id, decided.get(one.event_id))
        if _json(logged) != _json(one.answer):
            wrong["I1"].append(f"{one.event_id} was told {one.answer}, the log has {logged}")


def _json(decision: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(decision))


Look = Callable[[str, str], bytes | None]
"""(merchant, id) -> a decision's document."""


@contextmanager
def documents_in(file: Path) -> Iterator[Look]:
    """Look into documents in SQLite, beside whoever writes them."""
    store = sqlite3.connect(f"file:{file}?mode=ro", uri=True)

    def look(merchant: str, id: str) -> bytes | None:
        row = store.execute(_DOCUMENT, (merchant, id)).fetchone()
        return bytes(row[0]) if row else None

    yield look
    store.close()


def documents_equal(look: Look, log: Sequence[Found], timeout_s: float = PATIENCE_S) -> bool:
    """Tell whether each decision of the log is a document, or becomes one: the fallback, where one was given."""
    wanted: dict[tuple[str, str], Any] = {}
    for one in log:
        if one.kind in (DECISION, FALLBACK):
            decision = one.core[0] if one.kind == DECISION else one.core[2]
            name = (one.merchant, f"{decision['payment_id']}/{decision['checkpoint']}")
            wanted[name] = {**decision, "seq": decision["seq"] or wanted[name]["seq"]}

    def stored(merchant: str, id: str) -> Any:
        body = look(merchant, id)
        return msgspec.json.decode(body)["decision"] if body else None

    return until(lambda: all(stored(*name) == _json(decision) for name, decision in wanted.items()), timeout_s, 1.0)


class _Log:
    def __init__(self, found: list[Found]) -> None:
        self._found = found

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        return ((one.offset, msgspec.convert(one.raw, Record)) for one in self._found)


def _replayed(log: Sequence[Found], wrong: list[str]) -> None:
    """Every decision can be made again, from the beginning, and is the same."""
    for partition in sorted({one.partition for one in log}):
        found = replay(_Log([one for one in log if one.partition == partition]), _no_model)
        if found.different:
            wrong.append(f"partition {partition}: {found.different} decisions differ: {found.examples}")


def _no_model(merchant: str, version: str) -> Model:
    raise NotFound(f"{merchant} has no model {version}")
