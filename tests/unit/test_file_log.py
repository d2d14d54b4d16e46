"""The file log under damage, failure, other readers and other threads."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from avalist.adapters.file import segment
from avalist.adapters.file.lock import lock_folder
from avalist.adapters.file.log import FileLog
from avalist.domain.errors import DataFolderLocked, LogCorrupt, LogFailed, NotFound
from avalist.domain.records import Record

SMALL = 4096  # bytes of a segment


def record(seq: int, size: int = 5) -> Record:
    return Record("shop", seq, 1, 1_790_000_000_000, bytes([seq % 256]) * size, b"sealed")


def seqs(log: FileLog) -> list[int]:
    return [r.seq for _, r in log.read()]


def reopened(folder: Path) -> list[int]:
    """Open for writing, check that the log still takes records, and return the seqs it held."""
    log = FileLog(folder, segment_bytes=SMALL)
    held = seqs(log)
    log.append([record(99)])
    log.sync()
    assert seqs(log) == [*held, 99]
    log.close()
    return held


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    log = FileLog(tmp_path / "log", segment_bytes=SMALL)
    yield log
    log.close()


@pytest.fixture
def unacknowledged(tmp_path: Path) -> tuple[Path, list[int], bytes]:
    """Return a segment as a crash leaves it before records 3 and 4 are flushed, where records begin, and its bytes."""
    folder = tmp_path / "crashed"
    log = FileLog(folder, segment_bytes=SMALL)
    places = log.append([record(1), record(2)])
    log.sync()
    durable = (folder / "durable").read_bytes()
    places += log.append([record(3), record(4)])
    places.append(log.end)
    log.close()
    (folder / "durable").write_bytes(durable)
    path = segment.path_of(folder, 0)
    return path, [place + segment.HEADER.size for place in places], path.read_bytes()


@pytest.mark.parametrize("allocated_ahead", [0, 200])
def test_a_tail_torn_at_any_byte_is_cut(unacknowledged: tuple[Path, list[int], bytes], allocated_ahead: int) -> None:
    path, places, data = unacknowledged
    durable = (path.parent / "durable").read_bytes()
    for size in range(places[2], len(data) + 1):
        path.write_bytes(data[:size] + bytes(allocated_ahead))
        (path.parent / "durable").write_bytes(durable)
        assert reopened(path.parent) == [n for n in (1, 2, 3, 4) if places[n] <= size]


def test_a_tail_damaged_at_any_byte_is_cut_from_there(unacknowledged: tuple[Path, list[int], bytes]) -> None:
    path, places, data = unacknowledged
    durable = (path.parent / "durable").read_bytes()
    for at in range(places[2], len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] + bytes(200))
        (path.parent / "durable").write_bytes(durable)
        assert reopened(path.parent) == [n for n in (1, 2, 3, 4) if places[n] <= at]


def test_an_acknowledged_record_damaged_at_any_byte_is_corrupt(unacknowledged: tuple[Path, list[int], bytes]) -> None:
    path, places, data = unacknowledged
    for at in range(places[2]):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :])
        with pytest.raises(
            LogCorrupt, match="header" if at < places[0] else f"position {places[at >= places[1]] - 16},"
        ):
            FileLog(path.parent)
    assert path.read_bytes()[places[2] :] == data[places[2] :]  # nothing was cut


def test_a_lost_end_of_acknowledged_records_is_corrupt(unacknowledged: tuple[Path, list[int], bytes]) -> None:
    path, places, data = unacknowledged
    for size in range(places[2]):
        path.write_bytes(data[:size])
        with pytest.raises(LogCorrupt):
            FileLog(path.parent)


def test_without_the_file_durable_no_damage_is_taken_for_a_torn_tail(
    unacknowledged: tuple[Path, list[int], bytes],
) -> None:
    path, places, data = unacknowledged
    (path.parent / "durable").unlink()
    path.write_bytes(data[:-1])
    with pytest.raises(LogCorrupt, match=f"cut the file to {places[3]} bytes"):
        FileLog(path.parent)
    os.truncate(path, places[3])
    assert reopened(path.parent) == [1, 2, 3]


def test_what_stood_behind_a_cut_never_comes_back(unacknowledged: tuple[Path, list[int], bytes]) -> None:
    path, places, data = unacknowledged
    path.write_bytes(data[: places[2]] + b"\xff" + data[places[2] + 1 :])  # record 3 is damaged, 4 sound behind it
    log = FileLog(path.parent)
    log.append([record(5)])  # as long as record 3: record 4 would follow it
    log.sync()
    shutil.copytree(path.parent, path.parent.with_name("crashed_again"))
    log.close()
    assert reopened(path.parent.with_name("crashed_again")) == [1, 2, 5]


def test_segments_gone_are_corrupt(log: FileLog, tmp_path: Path) -> None:
    log.append([record(1)])
    log.close()
    segment.path_of(tmp_path / "log", 0).unlink()
    with pytest.raises(LogCorrupt, match="no segment"):
        FileLog(tmp_path / "log")


def test_a_wrong_position_is_told_from_a_damaged_record(log: FileLog, tmp_path: Path) -> None:
    first, second, third = log.append([record(1), record(2), record(3)])
    log.sync()
    for wrong in set(range(third)) - {first, second}:
        with pytest.raises(NotFound):
            log.get(wrong)
    with open(segment.path_of(tmp_path / "log", 0), "r+b") as file:
        file.seek(segment.HEADER.size + third - 1)
        file.write(b"\xff")
    with pytest.raises(LogCorrupt, match=f"position {second} "):
        log.get(second)
    assert log.get(third) == record(3)


def test_damage_in_an_earlier_segment_is_found_on_reading(log: FileLog, tmp_path: Path) -> None:
    for seq in range(10):
        log.append([record(seq, 1000)])
        log.sync()
    firsts = segment.firsts(tmp_path / "log")
    os.truncate(segment.path_of(tmp_path / "log", firsts[1]), 1500)
    with pytest.raises(LogCorrupt):
        list(log.read())
    assert len(list(log.read(firsts[2]))) == 10 - 2 * 4 + 2


def test_a_full_segment_is_followed_by_another(log: FileLog, tmp_path: Path) -> None:
    positions = []
    for seq in range(40):
        positions += log.append([record(seq, 300)])
        log.sync()
    firsts = segment.firsts(tmp_path / "log")
    assert len(firsts) == 4
    assert set(firsts) <= set(positions)
    sizes = [segment.path_of(tmp_path / "log", first).stat().st_size - segment.HEADER.size for first in firsts]
    assert sizes[:-1] == [after - first for first, after in pairwise(firsts)]
    assert [log.get(p) for p in positions] == [record(seq, 300) for seq in range(40)]


@pytest.mark.parametrize("size", [SMALL, 3 << 20])
def test_a_record_larger_than_a_segment_and_a_chunk_is_kept(log: FileLog, size: int) -> None:
    positions = log.append([record(1), record(2, size), record(3)])
    log.sync()
    assert list(log.read()) == [(p, log.get(p)) for p in positions]
    assert log.get(positions[1]) == record(2, size)


def test_a_reader_sees_what_is_durable_and_no_more(log: FileLog, tmp_path: Path) -> None:
    log.append([record(1)])
    reader = FileLog(tmp_path / "log", readonly=True)
    assert (seqs(reader), reader.end) == ([], 0)
    log.sync()
    (late,) = log.append([record(2)])
    assert (seqs(reader), reader.end, reader.durable_end) == ([1], late, late)
    with pytest.raises(NotFound):
        reader.get(late)
    log.sync()
    assert reader.get(late) == record(2)
    reader.close()


def test_a_reader_follows_into_new_segments(log: FileLog, tmp_path: Path) -> None:
    reader = FileLog(tmp_path / "log", readonly=True)
    read: list[int] = []
    place = 0
    for seq in range(40):
        log.append([record(seq, 300)])
        log.sync()
        read += [r.seq for _, r in reader.read(place)]
        place = reader.end
    assert read == list(range(40))
    reader.close()


def test_a_reader_writes_nothing(log: FileLog, tmp_path: Path) -> None:
    log.close()
    reader = FileLog(tmp_path / "log", readonly=True)
    for call in (lambda: reader.append([record(1)]), reader.sync):
        with pytest.raises(LogFailed, match="reading only"):
            call()
    reader.close()


def test_a_reader_needs_a_log(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="start its writer"):
        FileLog(tmp_path / "log", readonly=True)
    assert os.listdir(tmp_path) == []


def raising(error: Exception) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise error

    return refuse


def noting(calls: list[str], name: str, real: Callable[..., None]) -> Callable[..., None]:
    def note(*args: object) -> None:
        calls.append(name)
        real(*args)

    return note


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_failed_sync_is_final(log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    log.append([record(1)])
    log.sync()
    position = log.append([record(2)])[0]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, raising(OSError(errno.ENOSPC, "disk full")))
        with pytest.raises(LogFailed, match="disk full"):
            log.sync()
    assert log.durable_end == position
    unencodable = Record("shop", 1 << 70, 1, 0, b"")
    for later in (log.sync, lambda: log.append([unencodable]), log.read, lambda: log.get(position)):
        with pytest.raises(LogFailed, match="disk full"):
            later()
    log.close()
    assert reopened(tmp_path / "log")[:1] == [1]


def test_a_failed_new_segment_is_final(log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([record(1, 3000)])
    log.sync()
    log.append([record(2, 3000)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", raising(OSError(errno.EIO, "bad disk")))
        with pytest.raises(LogFailed, match="bad disk"):
            log.sync()
    log.close()
    assert reopened(tmp_path / "log") == [1]


def test_a_record_is_found_while_it_is_being_flushed(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    (position,) = log.append([record(1)])
    found: list[object] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: found.extend([log.get(position), *log.read()]))
    log.sync()
    assert found == [record(1), (position, record(1))]


def test_a_new_segment_is_durable_before_it_is_used(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([record(1, 3000)])
    log.sync()
    calls: list[str] = []
    for name in ("fsync", "rename", "fdatasync"):
        monkeypatch.setattr(os, name, noting(calls, name, getattr(os, name)))
    log.append([record(2, 3000)])
    log.sync()
    assert calls == ["fsync", "rename", "fsync", "fdatasync"]


def test_a_record_that_cannot_be_encoded_is_final(log: FileLog) -> None:
    with pytest.raises(LogFailed, match="cannot be encoded"):
        log.append([record(1), Record("shop", 1 << 70, 1, 0, b"")])
    with pytest.raises(LogFailed):
        log.append([record(1)])
    assert log.end == 0


def test_a_close_that_cannot_sync_says_so_once(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([record(1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", raising(OSError(errno.EIO, "bad disk")))
        with pytest.raises(LogFailed, match="bad disk"):
            log.close()
    log.close()


def test_short_writes_are_continued(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    log.append([record(seq) for seq in range(5)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
        log.sync()
    assert seqs(log) == [0, 1, 2, 3, 4]


def test_a_disk_that_cannot_allocate_ahead_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", raising(OSError(errno.ENOSPC, "no room for 64 MiB")))
    log = FileLog(tmp_path / "log")
    log.append([record(1)])
    log.close()
    assert reopened(tmp_path / "log") == [1]


@pytest.mark.parametrize("call", ["open", "fsync", "ftruncate", "listdir"])
def test_an_error_on_opening_is_mapped_and_leaves_no_lock(
    log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log.append([record(1)])
    log.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, raising(PermissionError(errno.EACCES, "not yours")))
        with pytest.raises(LogFailed, match="not yours"):
            FileLog(tmp_path / "log")
    assert reopened(tmp_path / "log") == [1]


def test_an_error_on_reading_is_mapped(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    (position,) = log.append([record(1)])
    log.sync()
    monkeypatch.setattr(os, "pread", raising(OSError(errno.EIO, "bad disk")))
    with pytest.raises(LogFailed, match="bad disk"):
        list(log.read())
    with pytest.raises(LogFailed, match="bad disk"):
        log.get(position)


def test_a_folder_has_one_owner(log: FileLog, tmp_path: Path) -> None:
    with pytest.raises(DataFolderLocked, match=f"process {os.getpid()}: use that service, or stop it"):
        FileLog(tmp_path / "log")
    log.close()
    with lock_folder(tmp_path / "log"), pytest.raises(DataFolderLocked):
        lock_folder(tmp_path / "log")
    lock_folder(tmp_path / "log").close()


def test_appends_and_syncs_on_two_threads_lose_nothing(log: FileLog, tmp_path: Path) -> None:
    reader = FileLog(tmp_path / "log", readonly=True)
    done = threading.Event()

    def append() -> None:
        for seq in range(0, 6000, 3):
            log.append([record(seq), record(seq + 1), record(seq + 2)])
        done.set()

    thread = threading.Thread(target=append)
    thread.start()
    while not done.is_set():
        log.sync()
        seen = seqs(reader)
        assert seen == list(range(len(seen)))
    thread.join()
    log.sync()
    assert seqs(log) == seqs(reader) == list(range(6000))
    reader.close()


WRITER = """
import sys
from pathlib import Path
from avalist.adapters.file.log import FileLog
from avalist.domain.records import Record

log = FileLog(Path(sys.argv[1]), segment_bytes=4096)
for seq in range(10**9):
    log.append([Record("shop", seq, 1, 0, b"x" * (seq % 50))])
    if seq % 3 == 2:
        log.sync()
        print(seq, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "log")], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            acknowledged = int(writer.stdout.readline())
        reader = FileLog(tmp_path / "log", readonly=True)
        seen = seqs(reader)
        writer.kill()
    reader.close()
    held = reopened(tmp_path / "log")
    assert seen == list(range(len(seen)))
    assert held == list(range(len(held)))
    assert acknowledged < len(seen) <= len(held)


def test_the_first_format_decodes_for_ever(tmp_path: Path) -> None:
    data = bytes.fromhex(GOLDEN)
    (tmp_path / f"{0:020d}.seg").write_bytes(data)
    log = FileLog(tmp_path)
    assert [r for _, r in log.read()] == [Record("shop", 7, 1, 1_790_000_000_000, b"core", b"sealed")]
    log.close()
    assert (tmp_path / f"{0:020d}.seg").read_bytes() == data


GOLDEN = (
    "4156414c4f47010000000000000000001f00000056dfbf3396a473686f700701cf000001a0c4506c00c404636f7265c4067365616c6564"
)


class LogMachine(RuleBasedStateMachine):
    """Any order of calls against a list; a crash is a copy of the folder as the disk then is."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.log = FileLog(self.folder / "0", segment_bytes=100)
        self.model: list[tuple[int, Record]] = []
        self.synced = 0

    @rule(sizes=st.lists(st.integers(0, 90), max_size=4))
    def append(self, sizes: list[int]) -> None:
        batch = [record(len(self.model) + i, size) for i, size in enumerate(sizes)]
        self.model += zip(self.log.append(batch), batch, strict=True)

    @rule()
    def sync(self) -> None:
        assert self.log.sync() == self.log.end
        self.synced = len(self.model)

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = FileLog(self.folder / str(self.generation), segment_bytes=100)
        self.synced = len(self.model)

    @rule()
    def crash(self) -> None:
        self.generation += 1
        shutil.copytree(self.folder / str(self.generation - 1), self.folder / str(self.generation))
        self.log.close()
        self.log = FileLog(self.folder / str(self.generation), segment_bytes=100)
        del self.model[self.synced :]

    @rule(data=st.data())
    def read_a_range(self, data: st.DataObject) -> None:
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(self.model))] * 2)))
        places = [p for p, _ in self.model] + [self.log.end]
        assert list(self.log.read(places[start], places[stop])) == self.model[start:stop]
        assert [self.log.get(p) for p in places[start:stop]] == [r for _, r in self.model[start:stop]]

    @invariant()
    def the_reader_sees_the_synced_records(self) -> None:
        reader = FileLog(self.folder / str(self.generation), readonly=True)
        assert list(reader.read()) == self.model[: self.synced]
        reader.close()

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("readonly", [False, True])
def test_segments_that_another_process_removes_are_not_found(tmp_path: Path, readonly: bool) -> None:
    folder = tmp_path / "log"
    with closing(FileLog(folder, segment_bytes=SMALL)) as writer:
        positions = [position for n in range(60) for position in (writer.append([record(n, 400)]), writer.sync())[0]]
        log = FileLog(folder, readonly=True) if readonly else writer
        assert seqs(log) == [*range(60)]
        old = segment.whole(folder)[:3]
        segment.remove(folder, old)
        gone = [position for position in positions if position < old[-1].end]
        for position in (gone[0], gone[-1]):
            with pytest.raises(NotFound, match="begins later"):
                log.get(position)
            with pytest.raises(NotFound, match="begins later"):
                list(log.read(position))
        assert log.begin == old[-1].end
        assert [r.seq for _, r in log.read(log.begin)] == [*range(len(gone), 60)]
        writer.append([record(60)])
        writer.sync()
        assert log.get(positions[-1]).seq == 59
        log.close()
    with closing(FileLog(folder)) as again:
        assert [r.seq for _, r in again.read(again.begin)] == [*range(len(gone), 61)]


def test_a_gap_between_segments_is_damage(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with closing(FileLog(folder, segment_bytes=SMALL)) as log:
        for n in range(60):
            log.append([record(n, 400)])
            log.sync()
        segment.path_of(folder, segment.whole(folder)[1].first).unlink()
        with pytest.raises(LogFailed):
            seqs(log)
