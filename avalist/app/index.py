"""Compact indexes from ids to 64-bit values, forgetting in two generations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.features.jit import jit, jit_inline, rows_at

I64 = npt.NDArray[np.int64]

_TABLES: Final = 256
_FIRST: Final = 16
NONE: Final = -1
_ADDRESS, _LENGTH, _HELD = range(3)
_NOTHING: Final = blake2b(digest_size=16)
_OF_NOTHING: Final = _NOTHING.digest()
_NOWHERE: Final = np.zeros((0, 3), dtype=np.int64)
"""What every table is before something is put into it, so that a merchant who is idle costs little."""


class IdIndex:
    """A map from hashed ids to integers ≥ 0 in about 50 bytes an entry. Growth touches 1/256 of it at a time.

    Ids come as :func:`hash_ids` gives them, many at once. They are held as 127-bit hashes: two that collide (odds below
    1e-20 at 10⁹ ids) would be one.

    >>> index = IdIndex(); index.put(hash_ids(["a"]), [7]); index.get(hash_ids(["a", "b"])).tolist()
    [7, -1]
    """

    def __init__(self) -> None:
        self._tables = [_NOWHERE] * _TABLES
        self._where = np.zeros((_TABLES, 3), dtype=np.int64)

    def __len__(self) -> int:
        return int(self._where[:, _HELD].sum())

    def get(self, ids: I64, older: IdIndex | None = None) -> I64:
        """Return the values of hashed ids int64 [n, 2], or those of an `older` index; −1 where there is none."""
        return _get(self._where, _NOWHERE if older is None else older._where, ids)

    def put(self, ids: I64, values: Sequence[int] | I64) -> None:
        """Set the values of hashed ids int64 [n, 2]."""
        new, done = np.array(values, dtype=np.int64), 0
        while (done := _put(self._where, ids, new, done)) < len(ids):
            self._grow(int(ids[done, 1]) & (_TABLES - 1))

    def merge(self, ids: I64, values: I64, keep: I64, add: I64, older: IdIndex | None = None) -> None:
        """Change the values of hashed ids int64 [n, 2] in order: of what is held, here or in an `older` index, or else
        of `values`, to `keep` some bits and `add` others. `values` become the results.
        """
        before, done = _NOWHERE if older is None else older._where, 0
        while (done := _merge(self._where, before, ids, values, keep, add, done)) < len(ids):
            self._grow(int(ids[done, 1]) & (_TABLES - 1))

    def _grow(self, n: int) -> None:
        self._hold(n, _grown(self._tables[n]))

    def _hold(self, n: int, table: I64) -> None:
        self._tables[n] = table
        self._where[n, :_HELD] = table.ctypes.data, len(table)

    def dump(self) -> list[I64]:
        """Return the index as int64 arrays: the length of each table, then the tables."""
        return [self._where[:, _LENGTH].copy(), *[table.ravel() for table in self._tables]]

    @classmethod
    def load(cls, dumped: I64) -> tuple[IdIndex, I64]:
        """Return the index that a dump begins with, and what follows it."""
        index, at = cls(), _TABLES
        for n, length in enumerate(dumped[:_TABLES].tolist()):
            index._hold(n, dumped[at : at + 3 * length].reshape(-1, 3).copy())
            index._where[n, _HELD] = np.count_nonzero(index._tables[n][:, 0])
            at += 3 * length
        return index, dumped[at:]


class Generations:
    """An :class:`IdIndex` whose entries are kept between one and two periods (ms) after they were put."""

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._since_ms: int | None = None
        self._new = IdIndex()
        self._old: IdIndex | None = None

    def get(self, ids: I64) -> I64:
        """Return the values of hashed ids int64 [n, 2]; −1 for those not held."""
        return self._new.get(ids, self._old)

    def put(self, ids: I64, values: Sequence[int] | I64, at_ms: Sequence[int] | I64) -> None:
        """Set the values of hashed ids int64 [n, 2] at times `at_ms`, which never decrease."""
        start = 0
        while start < len(ids):
            if self._is_over(int(at_ms[start])):
                self._turn(int(at_ms[start]))
            stop = start + self.together(at_ms[start:])
            self._new.put(ids[start:stop], values[start:stop])
            start = stop

    def merge(self, ids: I64, values: I64, keep: I64, add: I64, at_ms: Sequence[int] | I64) -> None:
        """Change the values of hashed ids, as :meth:`IdIndex.merge` does, of entries that are :meth:`together`."""
        if self._is_over(int(at_ms[0])):
            found = self.get(ids)
            np.copyto(values, found, where=found != NONE)
            self._turn(int(at_ms[0]))
        self._new.merge(ids, values, keep, add, self._old)

    def together(self, at_ms: Sequence[int] | I64) -> int:
        """Return how many of the entries due at times that never decrease can be looked up before any of them is put.

        An entry that begins a generation makes older ones forgotten: it stands alone.
        """
        end_ms = (int(at_ms[0]) if self._since_ms is None else self._since_ms) + self._period_ms
        return len(at_ms) if at_ms[-1] < end_ms else max(int(np.searchsorted(at_ms, end_ms)), 1)

    def _is_over(self, at_ms: int) -> bool:
        return self._since_ms is None or at_ms - self._since_ms >= self._period_ms

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


def hash_ids(ids: Iterable[str]) -> I64:
    """Return the hashes of ids, two words each; int64 [n, 2]. To remember them costs more than to make them again."""
    return np.frombuffer(b"".join(map(_hash, ids)), dtype=np.int64).reshape(-1, 2)


def _hash(id: str) -> bytes:
    if not id:  # most events name no payment, or no session
        return _OF_NOTHING
    hashed = _NOTHING.copy()  # a new one would cost twice as much
    hashed.update(id.encode())
    return hashed.digest()


@jit_inline
def _place(table: I64, high: int, low: int) -> int:
    """Return where an id stands, or the free place for it."""
    mask = len(table) - 1
    i = (low >> 8) & mask
    while table[i, 0] != 0 and not (table[i, 0] == high and table[i, 1] == low):
        i = (i + 1) & mask
    return i


@jit_inline
def _find(where: I64, high: int, low: int) -> int:
    n = low & 255
    if where[n, _LENGTH] == 0:
        return NONE
    table = rows_at(where[n, _ADDRESS], where[n, _LENGTH], 3)
    i = _place(table, high, low)
    return int(table[i, 2]) if table[i, 0] != 0 else NONE


@jit
def _get(where: I64, older: I64, ids: I64) -> I64:
    """Return the values of ids in tables, or else in `older` ones, where there are any."""
    found = np.empty(len(ids), dtype=np.int64)
    for i in range(len(ids)):
        high, low = ids[i, 0] or 1, ids[i, 1]
        found[i] = _find(where, high, low)
        if found[i] == NONE and len(older) > 0:
            found[i] = _find(older, high, low)
    return found


@jit
def _put(where: I64, ids: I64, values: I64, start: int) -> int:
    """Set the values of ids from `start` on; return where it stopped because a table is full."""
    for i in range(start, len(ids)):
        n = ids[i, 1] & 255
        if where[n, _HELD] * 4 >= where[n, _LENGTH] * 3:
            return i
        table = rows_at(where[n, _ADDRESS], where[n, _LENGTH], 3)
        place = _place(table, ids[i, 0] or 1, ids[i, 1])
        where[n, _HELD] += table[place, 0] == 0
        table[place, 0], table[place, 1], table[place, 2] = ids[i, 0] or 1, ids[i, 1], values[i]
    return len(ids)


@jit
def _merge(where: I64, older: I64, ids: I64, values: I64, keep: I64, add: I64, start: int) -> int:
    """Change the values of ids from `start` on; return where it stopped because a table is full."""
    for i in range(start, len(ids)):
        held = _find(where, ids[i, 0] or 1, ids[i, 1])
        if held == NONE and len(older) > 0:
            held = _find(older, ids[i, 0] or 1, ids[i, 1])
        values[i] = ((values[i] if held == NONE else held) & keep[i]) | add[i]
        if _put(where, ids[: i + 1], values, i) == i:
            return i
    return len(ids)


@jit
def _grown(table: I64) -> I64:
    larger = np.zeros((max(2 * len(table), _FIRST), 3), dtype=np.int64)
    for entry in table:
        if entry[0] != 0:
            larger[_place(larger, entry[0], entry[1])] = entry
    return larger
