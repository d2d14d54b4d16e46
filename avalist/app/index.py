"""Compact indexes from ids to 64-bit values, forgetting in two generations."""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.features.jit import jit

I64 = npt.NDArray[np.int64]

_TABLES: Final = 256
_FIRST: Final = 16
NONE: Final = -1
_WORDS = struct.Struct("<qq")


class IdIndex:
    """A map from strings to integers ≥ 0 in about 50 bytes an entry. Growth touches 1/256 of it at a time.

    Ids are held as 127-bit hashes: two that collide (odds below 1e-20 at 10⁹ ids) would be one.

    >>> index = IdIndex(); index.put("a", 7); index.get("a"), index.get("b"), len(index)
    (7, -1, 1)
    """

    def __init__(self) -> None:
        self.tables = [np.zeros((_FIRST, 3), dtype=np.int64) for _ in range(_TABLES)]
        self._counts = [0] * _TABLES

    def __len__(self) -> int:
        return sum(self._counts)

    def get(self, id: str) -> int:
        """Return the value of `id`, or −1."""
        return self.find(*hash_id(id))

    def put(self, id: str, value: int) -> None:
        """Set the value of `id`."""
        self.set(*hash_id(id), value)

    def find(self, high: int, low: int) -> int:
        """Return the value of a hashed id, or −1."""
        return _find(self.tables[low & 255], high, low)

    def set(self, high: int, low: int, value: int) -> None:
        """Set the value of a hashed id."""
        n = low & 255
        if self._counts[n] * 4 >= len(self.tables[n]) * 3:
            self.tables[n] = _grown(self.tables[n])
        self._counts[n] += int(_put(self.tables[n], high, low, value))


class Generations:
    """An :class:`IdIndex` whose entries are kept between one and two periods (ms) after they were put."""

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._since_ms: int | None = None
        self._new = IdIndex()
        self._old: IdIndex | None = None

    def get(self, id: str) -> int:
        """Return the value of `id`, or −1."""
        high, low = hash_id(id)
        value = _find(self._new.tables[low & 255], high, low)
        return value if value != NONE or self._old is None else self._old.find(high, low)

    def put(self, id: str, value: int, at_ms: int) -> None:
        """Set the value of `id` at time `at_ms` (never decreasing)."""
        if self._since_ms is None:
            self._since_ms = at_ms
        if at_ms - self._since_ms >= self._period_ms:
            self._old = self._new if at_ms - self._since_ms < 2 * self._period_ms else None
            self._new, self._since_ms = IdIndex(), at_ms
        self._new.set(*hash_id(id), value)


@functools.lru_cache(maxsize=1024)
def hash_id(id: str) -> tuple[int, int]:
    """Return an id's hash as two words, the first not 0."""
    high, low = _WORDS.unpack(hashlib.blake2b(id.encode(), digest_size=16).digest())
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
