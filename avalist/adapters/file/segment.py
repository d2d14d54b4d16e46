"""The format of a log segment on disk.

A segment is named by the position of its first record: twenty digits and ``.seg``. All numbers are little-endian::

    header   6 bytes "AVALOG" | u16 version (1) | u64 position of the first record
    record   u32 length       | u32 crc32 of the payload | payload: msgpack of ``Record`` as an array

A record's position is its segment's first position plus its offset after the header, so positions run on from segment
to segment. A segment ends where the next begins. The last is allocated ahead: zeros follow its last record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from avalist.adapters.file.blobs import sync_folder
from avalist.domain.errors import LogCorrupt, NotFound

MAGIC = b"AVALOG"
VERSION = 1
HEADER = struct.Struct("<6sHQ")
FRAME = struct.Struct("<II")


def path_of(folder: Path, first: int) -> Path:
    """Return the path of the segment whose first record is at position `first`."""
    return folder / f"{first:020d}.seg"


def firsts(folder: Path) -> list[int]:
    """Return the first positions of all segments in `folder`, ascending."""
    return sorted(int(name[:-4]) for name in os.listdir(folder) if name.endswith(".seg"))


class Segment(NamedTuple):
    """A segment that is whole: its records are [`first`, `end`), and nothing was written to it since `written_s`."""

    first: int
    end: int
    size: int
    written_s: float


def whole(folder: Path) -> list[Segment]:
    """Return all segments but the last, which grows, ascending."""
    found = firsts(folder)
    stats = [path_of(folder, first).stat() for first in found[:-1]]
    ends = zip(found, found[1:], stats, strict=False)
    return [Segment(first, end, stat.st_size, stat.st_mtime) for first, end, stat in ends]


def remove(folder: Path, segments: Iterable[Segment]) -> None:
    """Remove segments, the oldest first, so that a death half way leaves no gap."""
    for segment in segments:
        path_of(folder, segment.first).unlink()
    sync_folder(folder)


def create(folder: Path, first: int, size: int) -> int:
    """Create an empty segment, durably, allocate `size` bytes for its records and return a descriptor at its end.

    The segment appears by a rename, so its header is never half there.
    """
    path = path_of(folder, first)
    fd = os.open(path.with_suffix(".new"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(fd, HEADER.pack(MAGIC, VERSION, first))
        allocate(fd, size)
        os.fsync(fd)
        os.rename(path.with_suffix(".new"), path)
        sync_folder(folder)
    except BaseException:
        os.close(fd)
        raise
    return fd


def reopen(folder: Path, first: int, end: int, size: int) -> int:
    """Cut a segment at position `end`, durably, allocate it anew to `size` and return a descriptor at its end."""
    fd = os.open(path_of(folder, first), os.O_RDWR)
    try:
        os.lseek(fd, HEADER.size + end - first, os.SEEK_SET)
        os.ftruncate(fd, HEADER.size + end - first)
        allocate(fd, size)
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def allocate(fd: int, size: int) -> None:
    """Ask for room for `size` bytes of records, which makes each fdatasync cheaper.

    Without it nothing breaks: a file system that is full or cannot do it says so at the write.
    """
    with suppress(OSError):
        os.posix_fallocate(fd, 0, HEADER.size + size)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however short the single writes are."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def framed(batch: Iterable[bytes]) -> bytes:
    """Return payloads as the bytes of a segment."""
    payloads = list(batch)
    frames = map(FRAME.pack, map(len, payloads), map(crc32, payloads))
    return b"".join(chain.from_iterable(zip(frames, payloads, strict=True)))


def payloads(
    folder: Path, first: int, start: int, stop: int, end: int, chunk_bytes: int = 1 << 20
) -> Iterator[tuple[int, memoryview]]:
    """Yield ``(position, payload)`` of the records that begin in [`start`, `stop`), `start` being where one begins.

    `first` is the first position of the segment and `end` the one after its last record: bytes from there on are never
    looked at. The file is read by `chunk_bytes`.

    Raises
    ------
    LogCorrupt
        At the first position where no whole record with a matching checksum stands, or for a bad header.
    """
    with _opened(folder, first) as fd:
        position, wanted = start, chunk_bytes
        while position < stop:
            asked = min(wanted, end - position)
            chunk = memoryview(os.pread(fd, asked, HEADER.size + position - first))
            at, needed = 0, FRAME.size
            while at + needed <= len(chunk) and position + at < stop:
                length, checksum = FRAME.unpack_from(chunk, at)
                needed = FRAME.size + length
                payload = chunk[at + FRAME.size : at + needed]
                if len(payload) < length:
                    break
                if not length or crc32(payload) != checksum:
                    raise _damaged(folder, first, position + at)
                yield position + at, payload
                at, needed = at + needed, FRAME.size
            if not at and (len(chunk) < asked or needed > end - position):
                raise _damaged(folder, first, position)
            position, wanted = position + at, max(needed, chunk_bytes)


def payload_at(folder: Path, first: int, position: int, end: int) -> memoryview:
    """Return the payload of the record at `position`.

    Raises
    ------
    NotFound
        If no record begins there.
    LogCorrupt
        If that record, or one before it in the segment, is damaged.
    """
    try:
        return next(payloads(folder, first, position, position + 1, end, chunk_bytes=4096))[1]
    except LogCorrupt:
        # Walking from the first record tells a wrong position, which is stepped over, from a damaged record.
        for _ in payloads(folder, first, first, position + 1, end):
            pass
        raise NotFound(f"no record begins at position {position}") from None


def sound_end(folder: Path, first: int) -> tuple[int, bool]:
    """Return where the sound records of a segment end, and whether nothing but zeros follows.

    Raises
    ------
    LogCorrupt
        For a bad header.
    """
    end = first
    with _opened(folder, first) as fd:
        limit = first + os.fstat(fd).st_size - HEADER.size
        with suppress(LogCorrupt):
            for position, payload in payloads(folder, first, first, limit, limit):
                end = position + FRAME.size + len(payload)
        rest = os.pread(fd, limit - end, HEADER.size + end - first)
    return end, rest.count(0) == len(rest)


@contextmanager
def _opened(folder: Path, first: int) -> Iterator[int]:
    path = path_of(folder, first)
    with open(path, "rb", buffering=0) as file:
        header = file.read(HEADER.size) or b""
        if header != HEADER.pack(MAGIC, VERSION, first):
            raise LogCorrupt(
                f"{path}: its first {HEADER.size} bytes are not the header of version {VERSION}; restore the file"
            )
        yield file.fileno()


def _damaged(folder: Path, first: int, position: int) -> LogCorrupt:
    return LogCorrupt(
        f"no sound record at position {position} ({path_of(folder, first)}, byte {HEADER.size + position - first}); "
        "restore the file from a backup"
    )
