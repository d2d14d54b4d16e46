"""Arrays of words as blobs: zeros at their ends left out, cut into equal parts, compressed, known by their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from avalist.domain.errors import AvalistError
from avalist.domain.records import Record
from avalist.features.arena import BUMP
from avalist.features.layout import I64
from avalist.features.state import State, zeroed_pages
from avalist.ports.blobs import Blobs

HASH_BYTES: Final = 32
_PART_WORDS: Final = 2 << 20
_LARGE_WORDS: Final = 1 << 17
_SHORT: Final = 16
_ZSTD: Final = pa.Codec("zstd", compression_level=1)
Lengths = Sequence[tuple[int, int]]
"""The words of each array as stored, and as it was."""


class Unsound(ValueError):
    """What is stored does not check out; its message says why."""


UNSOUND: Final = (AvalistError, msgspec.MsgspecError, ValueError, OSError)
"""What comes of reading something that does not check out: it is passed over."""


class Kept(NamedTuple):
    """Arrays that were put: their lengths, the hashes of the parts, and the bytes written."""

    lengths: tuple[tuple[int, int], ...]
    hashes: tuple[bytes, ...]
    size: int


def proof_of(record: Record) -> bytes:
    """Return the hash by which a record is known again, by every version: whatever a later one adds is left out."""
    known = record.merchant, record.seq, record.kind, record.received_at_ms, record.core, record.sealed
    return hashlib.sha256(msgspec.msgpack.encode(known)).digest()


def named_by(name: str, proof: bytes) -> str:
    """Return the name of a blob that is named by its content, too: what another process writes spoils nothing."""
    return f"{name}-{proof.hex()[:_SHORT]}"


def sealed(body: bytes) -> bytes:
    """Return a body behind its hash."""
    return hashlib.sha256(body).digest() + body


def unsealed(data: bytes) -> bytes:
    """Return the body that was sealed. Raises ``Unsound``."""
    body = data[HASH_BYTES:]
    if hashlib.sha256(body).digest() != data[:HASH_BYTES]:
        raise Unsound("it is damaged")
    return body


def arrays_of(state: State) -> list[I64]:
    """Return the arrays that a feature state consists of."""
    assert state.watch is not None
    return [state.meta, state.mem, state.watch.words, *state.rings.generations]


def ends_of(state: State) -> dict[int, int]:
    """Return by place which of :func:`arrays_of` end early: to look at what lies behind would make it cost memory."""
    return {1: int(state.meta[BUMP])}


def restore(state: State, arrays: Sequence[I64]) -> Sequence[I64]:
    """Let a new state consist of the arrays that :func:`arrays_of` gave; return those that follow them."""
    assert state.watch is not None
    state.meta, state.mem, state.watch.words, *rest = arrays
    rings = len(state.rings.generations)
    state.rings.generations = rest[:rings]
    return rest[rings:]


def put_arrays(blobs: Blobs, merchant: str, prefix: str, arrays: Sequence[I64], ends: Mapping[int, int]) -> Kept:
    """Store arrays under names that begin with `prefix`; `ends` are those of :func:`ends_of`."""
    lengths = tuple((_used(array[: ends.get(place)]), len(array)) for place, array in enumerate(arrays))
    hashes, written = [], 0
    for n, runs in enumerate(_parts(lengths)):
        words = np.concatenate([arrays[place][start:stop] for place, start, stop in runs])
        part = _ZSTD.compress(words.astype("<i8", copy=False), asbytes=True)
        hashes.append(hashlib.sha256(part).digest())
        blobs.put(merchant, named_by(f"{prefix}{n:04d}", hashes[-1]), part)
        written += len(part)
    return Kept(lengths, tuple(hashes), written)


def get_arrays(blobs: Blobs, merchant: str, prefix: str, lengths: Lengths, hashes: Sequence[bytes]) -> list[I64]:
    """Return the arrays that were put; large ones grow without a copy.

    Raises ``Unsound``, and ``NotFound`` where a part is missing.
    """
    arrays = [zeroed_pages(whole) if whole > _LARGE_WORDS else np.zeros(whole, dtype=np.int64) for _, whole in lengths]
    for n, (expected, runs) in enumerate(zip(hashes, _parts(lengths), strict=True)):
        part = blobs.get(merchant, named_by(f"{prefix}{n:04d}", expected))
        if hashlib.sha256(part).digest() != expected:
            raise Unsound(f"merchant {merchant}: part {n} is damaged")
        size = sum(stop - start for _, start, stop in runs)
        words = np.frombuffer(_ZSTD.decompress(part, 8 * size, asbytes=True), dtype="<i8")
        for place, start, stop in runs:
            arrays[place][start:stop], words = words[: stop - start], words[stop - start :]
    return arrays


def _used(array: I64) -> int:
    """Return the length of an array without the zeros at its end."""
    end, step = len(array), 1 << 16
    while end > 0 and not array[max(end - step, 0) : end].any():
        end -= step
    last = np.flatnonzero(array[max(end - step, 0) : max(end, 0)])
    return max(end - step, 0) + int(last[-1]) + 1 if len(last) else 0


def _parts(lengths: Lengths) -> Iterator[list[tuple[int, int, int]]]:
    """Yield what each part holds, as (array, start, stop): the stored words one array after the other, in equal parts.

    >>> list(_parts([(3, 9), (0, 9), (_PART_WORDS, _PART_WORDS)]))
    [[(0, 0, 3), (2, 0, 2097149)], [(2, 2097149, 2097152)]]
    """
    runs, room = [], _PART_WORDS
    for place, (stored, _) in enumerate(lengths):
        start = 0
        while start < stored:
            stop = min(start + room, stored)
            runs.append((place, start, stop))
            start, room = stop, room - (stop - start)
            if not room:
                yield runs
                runs, room = [], _PART_WORDS
    if runs:
        yield runs
