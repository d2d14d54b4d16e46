"""The log in local files: segments, group commit, repair of a torn tail."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate, chain
from pathlib import Path

import msgspec

from avalist.adapters.file import segment
from avalist.adapters.file.blobs import sync_folder
from avalist.adapters.file.lock import lock_folder
from avalist.adapters.file.watermark import Watermark
from avalist.domain.errors import LogCorrupt, LogFailed, NotFound
from avalist.domain.records import Record, decode_record, encode_record

SEGMENT_BYTES = 64 << 20
CLEARED_BYTES = 1 << 20


class FileLog:
    """A write-ahead log in a folder of its own; ``segment`` describes the files.

    ``append`` encodes into memory, ``sync`` writes and flushes: one thread may append while another syncs. The file
    ``durable`` holds the position up to which records were acknowledged; it is published after each flush.

    *Reading from another process*: ``readonly=True`` takes no lock and repairs nothing. Its ``end`` is the published
    position, nothing from there on is looked at, and segments made later are found.

    *Removed segments.* Another process may remove the oldest ones; ``begin`` tells, and what was there is ``NotFound``.

    *Repair.* Opening for writing checks the last segment (the others were flushed before it was made) and cuts what
    follows its last sound record. Damage below the published position is ``LogCorrupt``: it was acknowledged. From
    there on it is the torn tail of a write that nobody was told of. Sound records of such a write may survive.

    - Death of the process: the published position is exact, and so is the verdict.
    - Power loss: it may be some seconds old. Those seconds' records were flushed and are there; but if the disk lost or
      damaged one of them, that cannot be told from a torn write, and it is cut with all that follows.
    - The file ``durable`` missing (an incomplete backup): all bytes are taken for acknowledged, so damage is
      ``LogCorrupt``; a lost end cannot be told from one never written.

    Parameters
    ----------
    folder
        Made if it does not exist (not when `readonly`).
    segment_bytes
        A batch that would take its segment beyond this begins a new one; a batch is never split.
    readonly
        Open for reading, beside a writer.

    Raises
    ------
    DataFolderLocked
        If another writer has the folder open.
    LogCorrupt
        On opening, for damage below the published position; on reading, for a record that does not check out.
    LogFailed
        For an error of the file system, and from every method but ``close`` after a failed ``append`` or ``sync`` or
        when closed: memory is ahead of the disk, and only a new opening helps.
    NotFound
        If `readonly` and no writer ever opened the folder; on reading, where no record begins.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, readonly: bool = False) -> None:
        self._folder, self._segment_bytes, self._readonly = folder, segment_bytes, readonly
        # Payloads by position: those appended since the last swap, and those that a sync is writing.
        self._pending: dict[int, bytes] = {}
        self._flushing: dict[int, bytes] = {}
        self._memory = threading.Lock()
        self._disk = threading.RLock()
        self._refusal = ""
        with self._mapped(), ExitStack() as resources:
            self._watermark = self._open_for_reading() if readonly else self._open_for_writing(resources)
            resources.callback(self._watermark.close)
            self._resources: ExitStack | None = resources.pop_all()
        self._end = self.durable_end

    @property
    def begin(self) -> int:
        """Return the position of the first record that is still there."""
        with self._mapped():
            if not self._firsts or not segment.path_of(self._folder, self._firsts[0]).exists():
                self._list()
        return self._firsts[0]

    @property
    def end(self) -> int:
        """Return the position after the last appended record; when `readonly`, after the last durable one."""
        return self._watermark.value if self._readonly else self._end

    @property
    def durable_end(self) -> int:
        """Return the position up to which everything is durable."""
        return self._watermark.value

    def append(self, records: Sequence[Record]) -> list[int]:
        """Append records in memory and return their positions. No system call; about a microsecond per kilobyte."""
        try:
            payloads = list(map(encode_record, records))
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise self._fail(f"a record cannot be encoded: {error}") from error
        with self._memory:
            self._check_writable()
            positions = list(accumulate([segment.FRAME.size + len(one) for one in payloads], initial=self._end))
            self._end = positions.pop()
            self._pending.update(zip(positions, payloads, strict=True))
        return positions

    def sync(self) -> int:
        """Write and flush what was appended before the call, publish and return ``durable_end``."""
        with self._disk:
            with self._memory:
                self._check_writable()
                self._flushing, self._pending = self._pending, {}
            if self._flushing:
                try:
                    batch = segment.framed(self._flushing.values())
                    self._write(batch)
                except BaseException as error:  # whatever it was, the file may hold half of the batch
                    raise self._fail(f"writing to {self._folder} failed: {error!r}") from error
                with self._memory:
                    self._watermark.publish(self.durable_end + len(batch))
                    self._flushing = {}
            return self.durable_end

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of the records that begin in [`start`, `stop`), `start` being where one begins.

        What was appended by the time of the call is read, whatever happens meanwhile.
        """
        with self._memory:
            self._check_open()
            durable = self.durable_end
            stop = self.end if stop is None else min(stop, self.end)
            unsynced = chain(self._flushing.items(), self._pending.items())
            wanted = [(position, payload) for position, payload in unsynced if start <= position < stop]
        late = ((position, decode_record(payload, position)) for position, payload in wanted)
        return chain(self._read_durable(start, min(stop, durable), durable), late)

    def get(self, position: int) -> Record:
        """Return the record at `position`, synced or not. Raises ``NotFound`` or ``LogCorrupt``."""
        with self._memory:
            self._check_open()
            durable = self.durable_end
            payload: bytes | memoryview | None = self._flushing.get(position) or self._pending.get(position)
        if payload is None:
            if position >= durable:
                raise NotFound(f"no record begins at position {position}")
            first, end = self._extent(position, durable)
            with self._mapped(), self._there(position):
                payload = segment.payload_at(self._folder, first, position, end)
        return decode_record(payload, position)

    def close(self) -> None:
        """Sync, unless the log has failed, and release every resource. Closing twice is harmless."""
        with self._disk:
            if self._resources is None:
                return
            with self._mapped(), self._resources:
                self._resources = None
                try:
                    if not self._readonly and not self._refusal:
                        self.sync()
                        self._trim()
                finally:
                    self._refusal = self._refusal or "the log is closed"

    def _open_for_reading(self) -> Watermark:
        self._firsts: list[int] = []
        self._listed_to = -1
        path = self._folder / "durable"
        if Watermark.stored(path) is None:
            raise NotFound(f"there is no log in {self._folder} yet: start its writer first")
        return Watermark(path)

    def _open_for_writing(self, resources: ExitStack) -> Watermark:
        self._folder.mkdir(parents=True, exist_ok=True)
        resources.enter_context(lock_folder(self._folder))
        path = self._folder / "durable"
        known = Watermark.stored(path)
        self._firsts = segment.firsts(self._folder)
        if known and not self._firsts:
            raise LogCorrupt(f"{self._folder} holds no segment, though records to position {known} were acknowledged")
        if self._firsts:
            end = self._repair(known)
        else:
            end, self._firsts = 0, [0]
            self._fd = segment.create(self._folder, 0, self._segment_bytes)
        self._cleared = end
        resources.callback(lambda: os.close(self._fd))
        watermark = Watermark(path, start=end)
        sync_folder(self._folder)
        return watermark

    def _repair(self, known: int | None) -> int:
        first = self._firsts[-1]
        end, clean = segment.sound_end(self._folder, first)
        if end < (known or 0) or (known is None and not clean):
            why = "and `durable` is missing" if known is None else f"but records to {known} were acknowledged"
            raise LogCorrupt(
                f"{segment.path_of(self._folder, first)}: no sound record at position {end}, {why}; restore a backup, "
                f"or accept the loss: remove `durable`, cut the file to {segment.HEADER.size + end - first} bytes"
            )
        self._fd = segment.reopen(self._folder, first, end, self._segment_bytes)
        return end

    def _write(self, data: bytes) -> None:
        used = self.durable_end - self._firsts[-1]
        if used and used + len(data) > self._segment_bytes:
            self._roll()
        self._clear_ahead(self.durable_end + len(data))
        segment.write_all(self._fd, data)
        os.fdatasync(self._fd)

    def _clear_ahead(self, end: int) -> None:
        """Write zeros to what is allocated, a good piece at once, before a batch that ends at `end` goes there.

        A flush of bytes that were never written must change the file's extents too, and takes twice as long. A batch
        as large as such a piece is written once.
        """
        first, begin = self._firsts[-1], self._cleared
        if end - self.durable_end >= CLEARED_BYTES:
            self._cleared = max(end, begin)
        elif end > begin:
            self._cleared = max(end, min(begin + CLEARED_BYTES, first + self._segment_bytes))
            with suppress(OSError):  # a full disk shows at the write
                os.pwrite(self._fd, bytes(self._cleared - begin), segment.HEADER.size + begin - first)

    def _roll(self) -> None:
        fd = segment.create(self._folder, self.durable_end, self._segment_bytes)
        self._trim()
        os.close(self._fd)
        self._fd = fd
        self._firsts.append(self.durable_end)
        self._cleared = self.durable_end

    def _trim(self) -> None:
        """Give back what was allocated ahead."""
        os.ftruncate(self._fd, segment.HEADER.size + self.durable_end - self._firsts[-1])

    def _read_durable(self, start: int, stop: int, durable: int) -> Iterator[tuple[int, Record]]:
        position = start
        while position < stop:
            first, end = self._extent(position, durable)
            with self._mapped(), self._there(position):
                for at, payload in segment.payloads(self._folder, first, position, min(stop, end), end):
                    yield at, decode_record(payload, at)
            position = end

    def _extent(self, position: int, durable: int) -> tuple[int, int]:
        """Return the first position and the end of the segment that holds `position`, which is below `durable`."""
        if self._readonly and durable > self._listed_to:
            with self._mapped():
                self._list()
            self._listed_to = durable
        firsts = self._firsts
        following = bisect_right(firsts, position)
        if following == 0:
            raise self._removed(position)
        return firsts[following - 1], firsts[following] if following < len(firsts) else durable

    def _list(self) -> None:
        """Take note of the segments that are there."""
        with self._disk:  # none is made meanwhile
            self._firsts = segment.firsts(self._folder)

    @contextmanager
    def _there(self, position: int) -> Iterator[None]:
        """Tell a segment that was removed from one that cannot be read."""
        try:
            yield
        except FileNotFoundError:
            if position < self.begin:
                raise self._removed(position) from None
            raise

    def _removed(self, position: int) -> NotFound:
        return NotFound(f"no record begins at position {position}: the log in {self._folder} begins later")

    def _check_open(self) -> None:
        if self._refusal:
            raise LogFailed(self._refusal)

    def _check_writable(self) -> None:
        self._check_open()
        if self._readonly:
            raise LogFailed(f"the log in {self._folder} is open for reading only")

    def _fail(self, what: str) -> LogFailed:
        with self._memory:
            self._refusal = self._refusal or f"{what}; mend the cause and start again: opening repairs the log"
        return LogFailed(self._refusal)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogFailed(f"the log in {self._folder}: {error}") from error
