"""What a Kafka log promises beyond the contract of logs: one writer, offsets without records, a broker that stalls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from avalist.adapters.kafka.log import KafkaLog
from avalist.adapters.kafka.reading import PLACE
from avalist.adapters.kafka.tail import KafkaTail
from avalist.adapters.kafka.topics import Topics, ensure
from avalist.domain.errors import LogCorrupt, LogFailed, NotFound
from avalist.domain.records import Record, RecordKind, encode_record
from tests.cluster.checker import messages
from tests.cluster.running import PATIENCE_S, until
from tests.services.kafka import Broker

pytestmark = pytest.mark.sockets

Open = Callable[..., KafkaLog]


def record(seq: int, size: int = 10) -> Record:
    return Record("shop", seq, RecordKind.EVENT, 1_000, b"x" * size)


def seqs(log: KafkaLog) -> list[int]:
    return [found.seq for _, found in log.read()]


@pytest.fixture
def topic(kafka: Broker, tmp_path: Path) -> str:
    kafka.create(tmp_path.name)
    return tmp_path.name


@pytest.fixture
def open_log(kafka: Broker, topic: str) -> Iterator[Open]:
    opened: list[KafkaLog] = []

    def open_log() -> KafkaLog:
        opened.append(KafkaLog(kafka.client, topic, timeout_s=PATIENCE_S))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


def write(kafka: Broker, topic: str, value: bytes, place: int | None, transaction: str = "") -> None:
    """Write to the log's partition as another client would."""
    producer = Producer({**kafka.client, **({"transactional.id": transaction} if transaction else {})})
    if transaction:
        producer.init_transactions(60)
        producer.begin_transaction()
    producer.produce(topic, value, partition=0, headers=[] if place is None else [(PLACE, place.to_bytes(8, "big"))])
    if transaction:
        producer.commit_transaction(60)
    assert producer.flush(PATIENCE_S) == 0


# --- one writer ----------------------------------------------------------------------------------------------------


def test_a_new_writer_ends_the_turn_of_the_old_one(open_log: Open) -> None:
    old = open_log()
    old.append([record(1)])
    old.sync()
    open_log()
    old.append([record(2)])
    with pytest.raises(LogFailed, match="another writer took over"):
        old.sync()
    with pytest.raises(LogFailed, match="another writer took over"):
        old.append([record(3)])
    assert seqs(open_log()) == [1]


def test_what_an_ousted_writer_still_wrote_costs_the_new_one_its_turn_and_nothing_else(open_log: Open) -> None:
    old, new = open_log(), open_log()
    old.append([record(1)])
    with pytest.raises(LogFailed):
        old.sync()
    new.append([record(2)])
    with pytest.raises(LogFailed):
        new.sync()
    third = open_log()
    third.append([record(3)])
    third.sync()
    assert seqs(third) == [3]


@pytest.mark.parametrize("place", [None, 0, 2])
def test_a_record_that_stands_elsewhere_does_not_count(
    kafka: Broker, topic: str, open_log: Open, place: int | None
) -> None:
    log = open_log()
    write(kafka, topic, encode_record(record(1)), place)
    assert (seqs(open_log()), log.durable_end) == ([], 1)


def test_a_record_in_its_place_counts(kafka: Broker, topic: str, open_log: Open) -> None:
    end = open_log().end
    write(kafka, topic, encode_record(record(1)), end)
    assert seqs(open_log()) == [1]


# --- offsets -------------------------------------------------------------------------------------------------------


def test_offsets_that_hold_no_record_are_stepped_over(kafka: Broker, topic: str, open_log: Open) -> None:
    first = open_log()
    (before,) = first.append([record(1)])
    first.sync()
    write(kafka, topic, b"", None, transaction=topic)  # leaves a control record behind it, a moment later
    with closing(KafkaTail(kafka.client, topic)) as tail:
        assert until(lambda: tail.end == before + 3)
    log = open_log()
    (after,) = log.append([record(2)])
    log.sync()
    assert (list(log.read()), after - before) == ([(before, record(1)), (after, record(2))], 4)
    assert list(log.read(before + 1, after)) == []
    for position in range(before + 1, after):
        with pytest.raises(NotFound):
            log.get(position)


def test_what_retention_deleted_is_not_found(kafka: Broker, topic: str, open_log: Open) -> None:
    log = open_log()
    positions = log.append([record(n) for n in range(3)])
    log.sync()
    admin = AdminClient(kafka.client)
    admin.delete_records([TopicPartition(topic, 0, positions[2])])[TopicPartition(topic, 0)].result(PATIENCE_S)
    log = open_log()  # the one before has them in memory
    assert [found.seq for _, found in log.read(positions[2])] == [2]
    with pytest.raises(NotFound, match="retention"):
        log.get(positions[0])
    with pytest.raises(NotFound, match="retention"):
        list(log.read())


def test_a_payload_that_is_no_record_is_corrupt(kafka: Broker, topic: str, open_log: Open) -> None:
    end = open_log().end
    write(kafka, topic, b"no record", end)
    log = open_log()
    with pytest.raises(LogCorrupt, match=f"position {end} does not decode"):
        list(log.read())


# --- inputs and followers ------------------------------------------------------------------------------------------


def test_a_new_writer_finds_how_far_the_inputs_were_read(open_log: Open) -> None:
    assert open_log().cursor == 0
    log = open_log()
    for cursor in (3, 7):
        log.cursor = cursor
        log.append([record(cursor)])
    log.sync()
    assert open_log().cursor == 7
    log = open_log()
    log.cursor = 9
    log.write_cursor()
    log.append([record(1)])
    log.sync()
    log = open_log()
    assert (log.cursor, seqs(log)) == (9, [3, 7, 1])
    for _ in range(20):  # so many marks hide the last record at first
        log = open_log()
    assert log.cursor == 9
    log.remember(40)
    assert [found.seq for _, found in log.read()] == [3, 7, 1]


def test_a_tail_reads_what_is_acknowledged_beside_the_writer_and_writes_nothing(
    kafka: Broker, topic: str, open_log: Open
) -> None:
    log = open_log()
    with closing(KafkaTail(kafka.client, topic)) as tail:
        positions = log.append([record(1), record(2)])
        log.sync()
        assert list(tail.read()) == list(log.read())
        assert (tail.end, tail.get(positions[1])) == (log.end, record(2))
        with pytest.raises(LogFailed, match="reading alone"):
            tail.append([record(3)])
        log.append([record(3)])
        log.sync()
        assert until(lambda: [found.seq for _, found in tail.read(positions[1])] == [2, 3])  # told of it a moment later


def test_a_writer_that_gave_up_its_turn_writes_nothing_more(open_log: Open) -> None:
    log = open_log()
    log.abandon()
    with pytest.raises(LogFailed, match="gave up"):
        log.append([record(1)])
    assert seqs(open_log()) == []


def test_what_a_wrong_clock_stamps_is_neither_refused_nor_deleted(kafka: Broker, tmp_path: Path) -> None:
    topics, refused, now_ms = Topics(tmp_path.name, 1, copies=1), [], time.time_ns() // 1_000_000
    ensure(kafka.client, topics)
    producer = Producer(kafka.client)
    for days in (-400, 3):
        producer.produce(
            topics.events,
            b"x",
            timestamp=now_ms + days * 86_400_000,
            on_delivery=lambda error, _: refused.append(error),
        )
    assert producer.flush(PATIENCE_S) == 0
    assert refused == [None, None]
    stamps = [message.timestamp()[1] for message in messages(kafka.client, topics.events)]
    assert all(now_ms <= stamp <= time.time_ns() // 1_000_000 for stamp in stamps)


def test_what_is_forgotten_while_it_is_read_comes_from_the_brokers(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    log.append([record(n) for n in range(300)])
    log.sync()
    reading = log.read(log.near)
    assert next(reading)[1] == record(0)
    monkeypatch.setattr("avalist.adapters.kafka.log._RECENT_BYTES", 1000)
    log.append([record(300)])
    log.sync()
    assert log.near > 200
    assert [found.seq for _, found in reading] == list(range(1, 300))


# --- what fails ----------------------------------------------------------------------------------------------------


def test_a_broker_that_stands_still_fails_the_log_which_keeps_a_prefix(kafka: Broker, open_log: Open) -> None:
    log = open_log()
    (first,) = log.append([record(0)])
    log.sync()
    log._timeout_s = 1.0  # only now: a busy machine may take longer to open it
    kafka.pause()
    try:
        assert log.get(first) == record(0)  # from memory
        log.append([record(n) for n in (1, 2, 3)])
        with pytest.raises(LogFailed, match="no broker acknowledged in 1 s"):
            log.sync()
        assert log.durable_end == log.end - 3
    finally:
        kafka.resume()
    *kept, last = seqs(taken_over(open_log))
    assert (kept, last) == (list(range(len(kept))), 9)


def taken_over(open_log: Open) -> KafkaLog:
    """Open the log and write to it; again where what was on its way arrives behind the mark, as deciders do."""
    for _ in range(20):
        with suppress(LogFailed):
            log = open_log()
            log.append([record(9)])
            log.sync()
            return log
    raise AssertionError("the log cannot be taken over")


@pytest.mark.parametrize(("name", "partition"), [("absent", 0), (None, 7)])
def test_a_log_needs_its_partition(kafka: Broker, topic: str, name: str | None, partition: int) -> None:
    with pytest.raises(NotFound):
        KafkaLog(kafka.client, name or topic, partition)


@pytest.mark.parametrize("bad", [record(1, size=2 << 20), Record("shop", 2**70, 1, 0, b"")])
def test_a_record_that_cannot_be_sent_is_final(open_log: Open, bad: Record) -> None:
    log = open_log()
    with pytest.raises(LogFailed):
        log.append([bad])
    for call in (lambda: log.append([record(2)]), log.sync, log.read, lambda: log.get(0)):
        with pytest.raises(LogFailed):
            call()


def test_no_broker_at_all_is_a_failed_log() -> None:
    with pytest.raises(LogFailed, match=r"log events\[0\]: "):
        KafkaLog({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "events", timeout_s=0.5)


def test_appends_and_syncs_on_two_threads_lose_nothing(open_log: Open) -> None:
    log = open_log()
    done = threading.Event()

    def sync() -> None:
        while not done.is_set():
            log.sync()

    syncing = threading.Thread(target=sync)
    syncing.start()
    for n in range(500):
        (position,) = log.append([record(n)])
        assert log.get(position).seq == n
    done.set()
    syncing.join()
    assert log.sync() == log.end
    assert seqs(log) == list(range(500))
