"""Snapshots: merchants as of a position of the log, so that a start folds the log's tail alone.

A snapshot is a copy of a fold, never the truth: what does not check out is passed over, and the log is folded instead.
It holds for the very code that made it and for the very log it was made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from avalist import ENGINE
from avalist.app.index import I64
from avalist.app.merchant import LoadModel, Merchant
from avalist.domain.core import FeaturesAdded, MerchantCreated, Solved
from avalist.domain.decisions import Mode
from avalist.domain.errors import AvalistError
from avalist.domain.keys import HOUSE
from avalist.domain.records import Record, encode_record
from avalist.policy.choose import UNSOLVED, Desk
from avalist.policy.economics import decode_policy
from avalist.ports.blobs import Blobs
from avalist.ports.log import Log

FORMAT: Final = 3
_PREFIX: Final = "snapshot/"
_KEPT: Final = 2
_PART_WORDS: Final = 2 << 20
_HASH_BYTES: Final = 32
_ZSTD: Final = pa.Codec("zstd", compression_level=1)
_UNSOUND: Final = (AvalistError, msgspec.MsgspecError, ValueError, OSError)

_FOLDING: Final = (
    "features",
    "app/merchant.py",
    "app/index.py",
    "app/flags.py",
    "app/doubts.py",
    "domain/row.py",
    "domain/core.py",
)
"""The code that a merchant's state depends on."""


def _code() -> str:
    """Name the code that folds: the engine, and a hash over its sources."""
    root, digest = files("avalist"), hashlib.blake2b(digest_size=8)
    for name in _FOLDING:
        at = root.joinpath(name)
        sources = sorted(at.iterdir(), key=lambda file: file.name) if at.is_dir() else [at]
        for source in sources:
            if source.name.endswith(".py"):
                digest.update(source.read_bytes())
    return f"{FORMAT}-{ENGINE}-{digest.hexdigest()}"


CODE: Final = _code()


class Snapshot(NamedTuple):
    """Merchants in the order of their creation, as of the log's records before `position`; `notes` as given."""

    position: int
    merchants: dict[str, Merchant]
    notes: bytes = b""


class Last(NamedTuple):
    """The last record before a position, by its own and the hash of its bytes: it tells one log from another."""

    position: int
    proof: bytes


def proof_of(record: Record) -> bytes:
    """Return the hash by which a record is known again."""
    return hashlib.sha256(encode_record(record)).digest()


class _Entry(msgspec.Struct, frozen=True):
    """Where a merchant's part of a snapshot stands; `seq` is the merchant's."""

    merchant: str
    name: str
    seq: int
    proof: bytes


class _Contents(msgspec.Struct, frozen=True):
    """What a snapshot consists of."""

    code: str
    position: int
    last: tuple[int, bytes]
    entries: tuple[_Entry, ...]
    notes: bytes


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant without its arrays. `arrays` gives the words of each as stored and as it was: zeros at its end are
    left out. `parts` are the hashes of the blobs that hold them.
    """

    created: MerchantCreated
    added: tuple[bytes, ...]
    plan_hash: str
    seq: int
    at_ms: int
    mode: Mode
    policy: bytes
    solved: Solved | None
    model_version: str
    tables_version: int
    past: tuple[int, int, tuple[str, ...]]
    arrays: tuple[tuple[int, int], ...]
    parts: tuple[bytes, ...]


class Unsound(ValueError):
    """A snapshot that does not check out; its message says why."""


class Snapshots:
    """Saves and loads the snapshots of one log. `say` is told, in a sentence, of each that does not check out."""

    def __init__(self, blobs: Blobs, log: Log, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._blobs = blobs
        self._log = log
        self._say = say
        self._sound: list[_Contents] = []

    def save(self, merchants: Mapping[str, Merchant], position: int, last: Last, notes: bytes = b"") -> int:
        """Save the merchants as of `position`, and the caller's notes; return the bytes written.

        The last two snapshots are kept.
        A merchant that had no input since the snapshot before is not written again. Until the last blob is there, the
        snapshot before counts.
        """
        known = {entry.merchant: entry for entry in self._sound[-1].entries} if self._sound else {}
        entries, written = [], 0
        for id, merchant in merchants.items():
            entry = known.get(id)
            if entry is None or entry.seq != merchant.seq:
                entry, size = self._save(merchant, f"{_PREFIX}{position:020d}/")
                written += size
            entries.append(entry)
        contents = _Contents(CODE, position, (last.position, last.proof), tuple(entries), notes)
        self._blobs.put(HOUSE, f"{_PREFIX}{position:020d}", _sealed(msgspec.msgpack.encode(contents)))
        self._sound = [*(one for one in self._sound if one.position < position), contents][-_KEPT:]
        self._clear(merchants)
        return written

    def newest(self, load_model: LoadModel) -> Snapshot | None:
        """Return the newest snapshot that checks out, or None: then the whole log is to be folded."""
        names = sorted(self._blobs.names(HOUSE, _PREFIX), reverse=True)
        for name in names:
            try:
                contents = self._contents(name)
                merchants = {entry.merchant: self._load(entry, load_model) for entry in contents.entries}
            except _UNSOUND as error:
                self._say(f"the snapshot {name.removeprefix(_PREFIX).lstrip('0')} is passed over: {error}")
                continue
            self._sound = [contents]
            return Snapshot(contents.position, merchants, contents.notes)
        if names:
            self._say("no snapshot checks out: the whole log is read")
        return None

    def _contents(self, name: str) -> _Contents:
        contents = msgspec.msgpack.decode(_unsealed(self._blobs.get(HOUSE, name)), type=_Contents)
        if contents.code != CODE:
            raise Unsound(f"it was made by other code ({contents.code}, this is {CODE})")
        at, proof = contents.last
        if contents.position > self._log.end or proof_of(self._log.get(at)) != proof:
            raise Unsound("it was made from another log")
        return contents

    def _save(self, merchant: Merchant, prefix: str) -> tuple[_Entry, int]:
        merchant.settle()
        arrays = _arrays(merchant)
        lengths = tuple((_used(array), len(array)) for array in arrays)
        hashes, written = [], 0
        for n, runs in enumerate(_parts(lengths)):
            words = np.concatenate([arrays[place][start:stop] for place, start, stop in runs])
            part = _ZSTD.compress(words.astype("<i8", copy=False), asbytes=True)
            hashes.append(hashlib.sha256(part).digest())
            self._blobs.put(merchant.id, f"{prefix}{n:04d}", part)
            written += len(part)
        head = _sealed(msgspec.msgpack.encode(_head(merchant, lengths, tuple(hashes))))
        self._blobs.put(merchant.id, f"{prefix}head", head)
        return _Entry(merchant.id, prefix, merchant.seq, head[:_HASH_BYTES]), written + len(head)

    def _load(self, entry: _Entry, load_model: LoadModel) -> Merchant:
        sealed = self._blobs.get(entry.merchant, f"{entry.name}head")
        if sealed[:_HASH_BYTES] != entry.proof:
            raise Unsound(f"merchant {entry.merchant}: its head is another snapshot's")
        head = msgspec.msgpack.decode(_unsealed(sealed), type=_Head)
        merchant = Merchant(entry.merchant, head.created, load_model)
        for features in head.added:
            merchant.apply(FeaturesAdded(features))
        if merchant.plan.hash != head.plan_hash:
            raise Unsound(f"merchant {entry.merchant}: plan {head.plan_hash}, this code makes it {merchant.plan.hash}")
        _restore(merchant, head, self._arrays(entry, head))
        return merchant

    def _arrays(self, entry: _Entry, head: _Head) -> list[I64]:
        arrays = [np.zeros(whole, dtype=np.int64) for _, whole in head.arrays]
        for n, (expected, runs) in enumerate(zip(head.parts, _parts(head.arrays), strict=True)):
            part = self._blobs.get(entry.merchant, f"{entry.name}{n:04d}")
            if hashlib.sha256(part).digest() != expected:
                raise Unsound(f"merchant {entry.merchant}: part {n} is damaged")
            size = sum(stop - start for _, start, stop in runs)
            words = np.frombuffer(_ZSTD.decompress(part, 8 * size, asbytes=True), dtype="<i8")
            for place, start, stop in runs:
                arrays[place][start:stop], words = words[: stop - start], words[stop - start :]
        return arrays

    def _clear(self, merchants: Mapping[str, Merchant]) -> None:
        """Delete what belongs to no snapshot that is kept."""
        kept = {f"{_PREFIX}{one.position:020d}" for one in self._sound}
        for name in self._blobs.names(HOUSE, _PREFIX):
            if name not in kept:
                self._blobs.delete(HOUSE, name)
        used = {(entry.merchant, entry.name) for one in self._sound for entry in one.entries}
        for id in merchants:
            for name in self._blobs.names(id, _PREFIX):
                if (id, name[: name.rindex("/") + 1]) not in used:
                    self._blobs.delete(id, name)


def _sealed(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def _unsealed(data: bytes) -> bytes:
    body = data[_HASH_BYTES:]
    if hashlib.sha256(body).digest() != data[:_HASH_BYTES]:
        raise Unsound("it is damaged")
    return body


def _arrays(merchant: Merchant) -> list[I64]:
    state = merchant.features
    indexes = (merchant.events, merchant.payments, merchant.fallbacks, merchant.sessions)
    assert state.watch is not None
    return [state.meta, state.mem, state.watch.words, *[index.dump() for index in indexes], *state.rings.generations]


def _head(merchant: Merchant, arrays: tuple[tuple[int, int], ...], parts: tuple[bytes, ...]) -> _Head:
    past = merchant.past
    return _Head(
        created=merchant.created,
        added=merchant.added,
        plan_hash=merchant.plan.hash,
        seq=merchant.seq,
        at_ms=merchant.at_ms,
        mode=merchant.mode,
        policy=msgspec.json.encode(merchant.policy),
        solved=None if merchant.desk.solved is UNSOLVED else merchant.desk.solved,
        model_version=merchant.model_version,
        tables_version=merchant.tables_version,
        past=(past.payments, past.largest_minor, tuple(sorted(past.currencies))),
        arrays=arrays,
        parts=parts,
    )


def _restore(merchant: Merchant, head: _Head, arrays: list[I64]) -> None:
    state = merchant.features
    assert state.watch is not None
    state.meta, state.mem, state.watch.words, *dumped = arrays
    indexes = merchant.events, merchant.payments, merchant.fallbacks, merchant.sessions
    for index, words in zip(indexes, dumped, strict=False):
        index.load(words)
    state.rings.generations = dumped[len(indexes) :]
    merchant.seq, merchant.at_ms, merchant.mode = head.seq, head.at_ms, head.mode
    merchant.set_desk(Desk(decode_policy(head.policy), head.solved or UNSOLVED))
    merchant.model_version, merchant.tables_version = head.model_version, head.tables_version
    past = merchant.past
    past.payments, past.largest_minor, past.currencies = head.past[0], head.past[1], set(head.past[2])


def _used(array: I64) -> int:
    """Return the length of an array without the zeros at its end."""
    end, step = len(array), 1 << 16
    while end > 0 and not array[max(end - step, 0) : end].any():
        end -= step
    last = np.flatnonzero(array[max(end - step, 0) : max(end, 0)])
    return max(end - step, 0) + int(last[-1]) + 1 if len(last) else 0


def _parts(lengths: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int, int]]]:
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
