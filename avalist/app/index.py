"""Compact indexes from ids to 64-bit values, forgetting in two generations."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.features.jit import jit, jit_inline

I64 = npt.NDArray[np.int64]

_TABLES: Final = 256
_FIRST: Final = 16
NONE: Final = -1
_ONLY: Final = np.zeros(1, dtype=np.int64)


class IdIndex:
    """A map from hashed ids to integers ≥ 0 in about 50 bytes an entry. Growth touches 1/256 of it at a time.

    Ids are held as 127-bit hashes: two that collide (odds below 1e-20 at 10⁹ ids) would be one.

    >>> index = IdIndex(); index.put(hash_ids(["a"]), np.array([7])); index.get(hash_ids(["a", "b"])).tolist()
    [7, -1]
    """

    def __init__(self) -> None:
        self._tables = [np.zeros((_FIRST, 3), dtype=np.int64) for _ in range(_TABLES)]
        self._counts = [0] * _TABLES

    def __len__(self) -> int:
        return sum(self._counts)

    def get(self, ids: I64) -> I64:
        """Return the values of hashed ids, int64 [n]; −1 for those not held."""
        found = np.empty(len(ids), dtype=np.int64)
        for n, places in _by_table(ids):
            _find(self._tables[n], ids, places, found)
        return found

    def put(self, ids: I64, values: I64) -> None:
        """Set the values of hashed ids, the last where one comes twice."""
        for n, places in _by_table(ids):
            while (self._counts[n] + len(places)) * 4 > len(self._tables[n]) * 3:
                self._tables[n] = _grown(self._tables[n])
            self._counts[n] += _put(self._tables[n], ids, places, values)

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

    def get(self, ids: I64) -> list[int]:
        """Return the values of hashed ids; −1 for those not held."""
        found = self._new.get(ids)
        if self._old is not None and (missing := np.flatnonzero(found == NONE)).size:
            found[missing] = self._old.get(ids[missing])
        values: list[int] = found.tolist()
        return values

    def put(self, ids: I64, values: Sequence[int], at_ms: Sequence[int]) -> None:
        """Set the values of hashed ids at times `at_ms`, which never decrease."""
        start, given = 0, np.array(values, dtype=np.int64)
        while start < len(at_ms):
            if self._since_ms is None:
                self._since_ms = at_ms[start]
            if at_ms[start] - self._since_ms >= self._period_ms:
                self._old = self._new if at_ms[start] - self._since_ms < 2 * self._period_ms else None
                self._new, self._since_ms = IdIndex(), at_ms[start]
            stop = bisect_left(at_ms, self._since_ms + self._period_ms, start)
            self._new.put(ids[start:stop], given[start:stop])
            start = stop

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


def hash_ids(ids: Sequence[str]) -> I64:
    """Return ids' hashes, int64 [n, 2], the first word of each not 0."""
    digests = b"".join([blake2b(id.encode(), digest_size=16).digest() for id in ids])
    words = np.frombuffer(digests, dtype="<i8").reshape(-1, 2).copy()
    words[words[:, 0] == 0, 0] = 1
    return words


def _by_table(ids: I64) -> Iterator[tuple[int, I64]]:
    """Yield tables with the places of their ids, in order."""
    if len(ids) == 1:
        yield int(ids[0, 1]) & (_TABLES - 1), _ONLY
        return
    tables = ids[:, 1] & (_TABLES - 1)
    order = np.argsort(tables, kind="stable")
    starts = np.flatnonzero(np.diff(tables[order], prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(ids)]):
        yield int(tables[order[start]]), order[start:stop]


@jit
def _find(table: I64, ids: I64, places: I64, found: I64) -> None:
    mask = len(table) - 1
    for place in places:
        high, low = ids[place, 0], ids[place, 1]
        i = (low >> 8) & mask
        while table[i, 0] != 0 and not (table[i, 0] == high and table[i, 1] == low):
            i = (i + 1) & mask
        found[place] = table[i, 2] if table[i, 0] != 0 else NONE


@jit
def _put(table: I64, ids: I64, places: I64, values: I64) -> int:
    """Set the values of some ids; return how many of them are new."""
    new = 0
    for place in places:
        new += _set(table, ids[place, 0], ids[place, 1], values[place])
    return new


@jit_inline
def _set(table: I64, high: int, low: int, value: int) -> bool:
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
            _set(larger, entry[0], entry[1], entry[2])
    return larger
