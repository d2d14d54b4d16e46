"""Compact indexes from ids to 64-bit values, forgetting in two generations."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from avalist.features.jit import jit

I64 = npt.NDArray[np.int64]
Hash: TypeAlias = tuple[int, int]

_TABLES: Final = 256
_FIRST: Final = 16
NONE: Final = -1
_CACHED: Final = 1 << 15
_WORDS: Final = Struct("<qq")


class IdIndex:
    """A map from hashed ids to integers ≥ 0 in about 50 bytes an entry. Growth touches 1/256 of it at a time.

    Ids are held as 127-bit hashes: two that collide (odds below 1e-20 at 10⁹ ids) would be one.

    >>> index = IdIndex(); index.put(*hash_id("a"), 7); index.get(*hash_id("a")), index.get(*hash_id("b"))
    (7, -1)
    """

    def __init__(self) -> None:
        self._tables = [np.zeros((_FIRST, 3), dtype=np.int64) for _ in range(_TABLES)]
        self._counts = [0] * _TABLES

    def __len__(self) -> int:
        return sum(self._counts)

    def get(self, high: int, low: int) -> int:
        """Return the value of a hashed id, or −1."""
        return _find(self._tables[low & 255], high, low)

    def put(self, high: int, low: int, value: int) -> None:
        """Set the value of a hashed id."""
        n = low & 255
        if self._counts[n] * 4 >= len(self._tables[n]) * 3:
            self._tables[n] = _grown(self._tables[n])
        self._counts[n] += _put(self._tables[n], high, low, value)

    def dump(self) -> list[I64]:
        """Return the index as int64 arrays: the length of each table, then the tables."""
        return [np.array([len(table) for table in self._tables], dtype=np.int64), *[t.ravel() for t in self._tables]]

    @classmethod
    def load(cls, dumped: I64) -> tuple[IdIndex, I64]:
        """Return the index that a dump begins with, and what follows it."""
        index, at = cls(), _TABLES
        for n, length in enumerate(dumped[:_TABLES].tolist()):
            index._tables[n] = dumped[at : at + 3 * length].reshape(-1, 3).copy()
            index._counts[n] = int(np.count_nonzero(index._tables[n][:, 0]))
            at += 3 * length
        return index, dumped[at:]


class Generations:
    """An :class:`IdIndex` whose entries are kept between one and two periods (ms) after they were put."""

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._since_ms: int | None = None
        self._new = IdIndex()
        self._old: IdIndex | None = None

    def get(self, ids: Sequence[Hash]) -> list[int]:
        """Return the values of hashed ids; −1 for those not held."""
        if self._since_ms is None:
            return [NONE] * len(ids)
        tables, old = self._new._tables, self._old
        found = [_find(tables[low & 255], high, low) for high, low in ids]
        if old is not None and NONE in found:
            return [old.get(*id) if value == NONE else value for id, value in zip(ids, found, strict=True)]
        return found

    def put(self, ids: Sequence[Hash], values: Sequence[int], at_ms: Sequence[int]) -> None:
        """Set the values of hashed ids at times `at_ms`, which never decrease."""
        for (high, low), value, at in zip(ids, values, at_ms, strict=True):
            if self._since_ms is None or at - self._since_ms >= self._period_ms:
                self._turn(at)
            self._new.put(high, low, value)

    def together(self, at_ms: Sequence[int]) -> int:
        """Return how many of the entries due at times that never decrease can be looked up before any of them is put.

        An entry that begins a generation makes older ones forgotten: it stands alone.
        """
        since = at_ms[0] if self._since_ms is None else self._since_ms
        if at_ms[-1] - since < self._period_ms:
            return len(at_ms)
        return max(next(n for n, at in enumerate(at_ms) if at - since >= self._period_ms), 1)

    def _turn(self, at_ms: int) -> None:
        """Begin a generation."""
        if self._since_ms is not None:
            self._old = self._new if at_ms - self._since_ms < 2 * self._period_ms else None
            self._new = IdIndex()
        self._since_ms = at_ms

    def dump(self) -> I64:
        """Return everything as one int64 array; :meth:`load` takes it."""
        head = [int(self._since_ms is not None), self._since_ms or 0, int(self._old is not None)]
        old = self._old.dump() if self._old is not None else []
        return np.concatenate([np.array(head, dtype=np.int64), *self._new.dump(), *old])

    def load(self, dumped: I64) -> None:
        """Become what was dumped."""
        started, since_ms, has_old = dumped[:3].tolist()
        self._since_ms = since_ms if started else None
        self._new, rest = IdIndex.load(dumped[3:])
        self._old = IdIndex.load(rest)[0] if has_old else None


@functools.lru_cache(maxsize=_CACHED)  # each id is asked for some times while its batch is taken
def hash_id(id: str) -> Hash:
    """Return an id's hash as two words, the first not 0."""
    high, low = _WORDS.unpack(blake2b(id.encode(), digest_size=16).digest())
    return high or 1, low


@jit
def _find(table: I64, high: int, low: int) -> int:
    mask = len(table) - 1
    i = (low >> 8) & mask
    while table[i, 0] != 0:
        if table[i, 0] == high and table[i, 1] == low:
            return int(table[i, 2])
        i = (i + 1) & mask
    return NONE


@jit
def _put(table: I64, high: int, low: int, value: int) -> bool:
    """Set an id's value; tell whether it is new."""
    mask = len(table) - 1
    i = (low >> 8) & mask
    while table[i, 0] != 0 and not (table[i, 0] == high and table[i, 1] == low):
        i = (i + 1) & mask
    fresh = bool(table[i, 0] == 0)
    table[i, 0] = high
    table[i, 1] = low
    table[i, 2] = value
    return fresh


@jit
def _grown(table: I64) -> I64:
    larger = np.zeros((2 * len(table), 3), dtype=np.int64)
    for entry in table:
        if entry[0] != 0:
            _put(larger, entry[0], entry[1], entry[2])
    return larger
