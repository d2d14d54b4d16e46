"""Every log keeps the contract of ports/log.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avalist.adapters.file.log import FileLog
from avalist.adapters.kafka.log import KafkaLog
from avalist.adapters.memory.log import MemoryLog
from avalist.domain.errors import LogFailed, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.ports.log import Log
from tests.services.kafka import Broker


def records(count: int, merchant: str = "shop") -> list[Record]:
    return [
        Record(merchant, i, RecordKind.EVENT, 1_000 + i, b"core-%d" % i * (i + 1), b"s" * (i % 2)) for i in range(count)
    ]


class LogContract:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = self.open(tmp_path)
        yield log
        log.close()

    def open(self, folder: Path) -> Log:
        raise NotImplementedError

    def test_a_new_log_is_empty(self, log: Log) -> None:
        assert log.end == log.durable_end
        assert list(log.read()) == []

    def test_records_come_back_in_order_at_their_positions(self, log: Log) -> None:
        positions = log.append(records(3)) + log.append(records(2, "other"))
        assert positions == sorted(set(positions))
        assert list(log.read()) == list(zip(positions, records(3) + records(2, "other"), strict=True))

    def test_positions_hold_when_synced(self, log: Log) -> None:
        positions = log.append(records(4))
        before = list(log.read())
        log.sync()
        assert list(log.read()) == before
        assert [log.get(p) for p in positions] == records(4)

    def test_an_unsynced_record_is_found(self, log: Log) -> None:
        log.append(records(1))
        log.sync()
        (position,) = log.append(records(1, "late"))
        assert log.get(position).merchant == "late"

    def test_end_is_the_place_of_the_next_record(self, log: Log) -> None:
        log.append(records(2))
        end = log.end
        assert log.append(records(1)) == [end]

    def test_everything_is_held_from_the_beginning_on(self, log: Log) -> None:
        (first, *_) = log.append(records(3))
        log.sync()
        assert log.begin <= first
        assert len(list(log.read(log.begin))) == 3

    def test_durable_end_moves_with_sync_alone(self, log: Log) -> None:
        start = log.durable_end
        log.append(records(2))
        assert log.durable_end == start < log.end
        assert log.sync() == log.durable_end == log.end

    def test_a_sync_of_nothing_changes_nothing(self, log: Log) -> None:
        log.append(records(1))
        assert log.sync() == log.sync()

    @pytest.mark.parametrize("synced", [0, 2, 5])
    def test_read_takes_a_range(self, log: Log, synced: int) -> None:
        positions = log.append(records(5)[:synced])
        log.sync()
        positions += log.append(records(5)[synced:])
        assert [r.seq for _, r in log.read(positions[1])] == [1, 2, 3, 4]
        assert [r.seq for _, r in log.read(positions[1], positions[3])] == [1, 2]
        assert list(log.read(log.end)) == []

    def test_read_goes_as_far_as_the_end_was_when_it_was_asked(self, log: Log) -> None:
        log.append(records(2))
        asked = log.read()
        log.sync()
        log.append(records(1))
        assert len(list(asked)) == 2

    def test_no_record_begins_at_the_end(self, log: Log) -> None:
        log.append(records(2))
        for position in (log.end, log.end + 1_000, -1):
            with pytest.raises(NotFound):
                log.get(position)

    def test_appending_nothing_is_allowed(self, log: Log) -> None:
        assert (log.append([]), log.end) == ([], log.durable_end)

    def test_closing_twice_is_harmless_and_nothing_works_after(self, log: Log) -> None:
        log.append(records(1))
        log.close()
        log.close()
        for call in (lambda: log.append(records(1)), log.sync, log.read, lambda: log.get(0)):
            with pytest.raises(LogFailed):
                call()


class TestMemoryLog(LogContract):
    def open(self, folder: Path) -> Log:
        return MemoryLog()


class DurableLogContract(LogContract):
    def test_records_survive_a_reopening(self, log: Log, tmp_path: Path) -> None:
        positions = log.append(records(3))
        log.close()
        with_more = self.open(tmp_path)
        positions += with_more.append(records(1, "more"))
        assert list(with_more.read()) == list(zip(positions, records(3) + records(1, "more"), strict=True))
        with_more.close()


class TestFileLog(DurableLogContract):
    def open(self, folder: Path) -> Log:
        return FileLog(folder / "log")


class TestFileLogOfTinySegments(TestFileLog):
    def open(self, folder: Path) -> Log:
        return FileLog(folder / "log", segment_bytes=64)


@pytest.mark.sockets
class TestKafkaLog(DurableLogContract):
    @pytest.fixture(autouse=True)
    def broker(self, kafka: Broker) -> None:
        self.kafka = kafka

    def open(self, folder: Path) -> Log:
        self.kafka.create(folder.name)
        return KafkaLog(self.kafka.client, folder.name)
