"""Snapshots: merchants as of a position of the log, so that a start folds the log's tail alone.

A snapshot is a copy of a fold, never the truth: what does not check out is passed over, and the log is folded instead.
It holds for the very code that made it and for the very log it was made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from avalist import ENGINE
from avalist.app.index import Generations
from avalist.app.merchant import LoadModel, Merchant
from avalist.app.parts import (
    HASH_BYTES,
    UNSOUND,
    Kept,
    Unsound,
    arrays_of,
    ends_of,
    get_arrays,
    named_by,
    proof_of,
    put_arrays,
    restore,
    sealed,
    unsealed,
)
from avalist.domain.core import FeaturesAdded, MerchantCreated, Solved
from avalist.domain.decisions import Mode
from avalist.domain.keys import HOUSE
from avalist.policy.choose import UNSOLVED, Desk
from avalist.policy.economics import decode_policy
from avalist.ports.blobs import Blobs
from avalist.ports.log import Log

FORMAT: Final = 4
_PREFIX: Final = "snapshot/"
_KEPT: Final = 2

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


class Snapshots:
    """Saves and loads the snapshots of one log. `say` is told, in a sentence, of each that does not check out.

    One process at a time saves. One that stood still while another went on in its place spoils nothing when it comes
    back: blobs are named by their content, and only what is older than all that it keeps is deleted.
    """

    def __init__(self, blobs: Blobs, log: Log, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._blobs = blobs
        self._log = log
        self._say = say
        self._sound: list[_Contents] = []

    def save(self, merchants: Mapping[str, Merchant], position: int, last: Last, notes: bytes = b"") -> int:
        """Save the merchants as of `position`, and the caller's notes; return the bytes written.

        The last two snapshots are kept.
        A merchant that had no input since the snapshot before is not written again, if its head is still there. Until
        the last blob is there, the snapshot before counts.
        """
        known = {entry.merchant: entry for entry in self._sound[-1].entries} if self._sound else {}
        there = {id: [*self._blobs.names(id, _PREFIX)] for id in merchants}
        entries, written = [], 0
        for id, merchant in merchants.items():
            entry = known.get(id)
            if entry is None or entry.seq != merchant.seq or _head_name(entry.name, entry.proof) not in there[id]:
                entry, size = self._save(merchant, f"{_PREFIX}{position:020d}/")
                written += size
            entries.append(entry)
        contents = _Contents(CODE, position, (last.position, last.proof), tuple(entries), notes)
        self._blobs.put(HOUSE, f"{_PREFIX}{position:020d}", sealed(msgspec.msgpack.encode(contents)))
        self._sound = [*(one for one in self._sound if one.position < position), contents][-_KEPT:]
        self._clear(there)
        return written

    def newest(self, load_model: LoadModel) -> Snapshot | None:
        """Return the newest snapshot that checks out, or None: then the whole log is to be folded."""
        names = sorted(self._blobs.names(HOUSE, _PREFIX), reverse=True)
        for name in names:
            try:
                contents = self._contents(name)
                merchants = {entry.merchant: self._load(entry, load_model) for entry in contents.entries}
            except UNSOUND as error:
                self._say(f"the snapshot {name.removeprefix(_PREFIX).lstrip('0')} is passed over: {error}")
                continue
            self._sound = [contents]
            return Snapshot(contents.position, merchants, contents.notes)
        if names:
            self._say("no snapshot checks out: the whole log is read")
        return None

    def begin(self) -> int:
        """Return the position of the record from which on the log must be there for every snapshot that is kept; 0
        where there is none.
        """
        kept = []
        for name in self._blobs.names(HOUSE, _PREFIX):
            with suppress(*UNSOUND):  # no start takes it
                kept.append(self._contents(name).last[0])
        return min(kept, default=0)

    def _contents(self, name: str) -> _Contents:
        contents = msgspec.msgpack.decode(unsealed(self._blobs.get(HOUSE, name)), type=_Contents)
        if contents.code != CODE:
            raise Unsound(f"it was made by other code ({contents.code}, this is {CODE})")
        at, proof = contents.last
        if contents.position > self._log.end or proof_of(self._log.get(at)) != proof:
            raise Unsound("it was made from another log")
        return contents

    def _save(self, merchant: Merchant, prefix: str) -> tuple[_Entry, int]:
        merchant.settle()
        arrays = [*arrays_of(merchant.features), *[index.dump() for index in _indexes(merchant)]]
        kept = put_arrays(self._blobs, merchant.id, prefix, arrays, ends_of(merchant.features))
        head = sealed(msgspec.msgpack.encode(_head(merchant, kept)))
        entry = _Entry(merchant.id, prefix, merchant.seq, head[:HASH_BYTES])
        self._blobs.put(merchant.id, _head_name(prefix, entry.proof), head)
        return entry, kept.size + len(head)

    def _load(self, entry: _Entry, load_model: LoadModel) -> Merchant:
        data = self._blobs.get(entry.merchant, _head_name(entry.name, entry.proof))
        if data[:HASH_BYTES] != entry.proof:
            raise Unsound(f"merchant {entry.merchant}: its head is another snapshot's")
        head = msgspec.msgpack.decode(unsealed(data), type=_Head)
        merchant = Merchant(entry.merchant, head.created, load_model)
        for features in head.added:
            merchant.apply(FeaturesAdded(features))
        if merchant.plan.hash != head.plan_hash:
            raise Unsound(f"merchant {entry.merchant}: plan {head.plan_hash}, this code makes it {merchant.plan.hash}")
        arrays = get_arrays(self._blobs, entry.merchant, entry.name, head.arrays, head.parts)
        for index, words in zip(_indexes(merchant), restore(merchant.features, arrays), strict=True):
            index.load(words)
        _set(merchant, head)
        return merchant

    def _clear(self, there: Mapping[str, Sequence[str]]) -> None:
        """Delete what is older than the snapshots that are kept and belongs to none of them, heads before parts."""
        oldest = f"{_PREFIX}{self._sound[0].position:020d}"
        for name in self._blobs.names(HOUSE, _PREFIX):
            if name < oldest:
                self._blobs.delete(HOUSE, name)
        used = {(entry.merchant, entry.name) for one in self._sound for entry in one.entries}
        for id, names in there.items():
            for name in reversed(names):
                if name < oldest and (id, name[: name.rindex("/") + 1]) not in used:
                    self._blobs.delete(id, name)


def _head_name(prefix: str, proof: bytes) -> str:
    return named_by(f"{prefix}head", proof)


def _indexes(merchant: Merchant) -> tuple[Generations, ...]:
    return merchant.events, merchant.payments, merchant.fallbacks, merchant.sessions


def _head(merchant: Merchant, kept: Kept) -> _Head:
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
        arrays=kept.lengths,
        parts=kept.hashes,
    )


def _set(merchant: Merchant, head: _Head) -> None:
    merchant.seq, merchant.at_ms, merchant.mode = head.seq, head.at_ms, head.mode
    merchant.set_desk(Desk(decode_policy(head.policy), head.solved or UNSOLVED))
    merchant.model_version, merchant.tables_version = head.model_version, head.tables_version
    past = merchant.past
    past.payments, past.largest_minor, past.currencies = head.past[0], head.past[1], set(head.past[2])
