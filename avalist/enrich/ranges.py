"""Ranges of numbers with a value each, as two sorted arrays: one binary search finds the value of a number."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

Width = Literal[4, 8]
_CODES = {2: "H", 4: "I", 8: "Q"}


class Packed(msgspec.Struct, frozen=True):
    """Ranges at rest: differences of the starts (`width` bytes each) and values (two bytes each where `wide` is not).

    All little-endian.
    """

    width: Width = 4
    starts: bytes = b""
    values: bytes = b""
    wide: bool = False


class Ranges:
    """What value a number has; 0 where no range holds it. About a microsecond in half a million ranges.

    >>> ranges = Ranges(pack([(10, 19, 1), (30, 30, 2)], 4))
    >>> [ranges.value(n) for n in (9, 10, 19, 20, 30, 31)]
    [0, 1, 1, 0, 2, 0]
    """

    def __init__(self, packed: Packed) -> None:
        gaps = np.frombuffer(packed.starts, dtype=f"<u{packed.width}")
        values = np.frombuffer(packed.values, dtype="<u4" if packed.wide else "<u2")
        self._starts = array(_CODES[packed.width], np.cumsum(gaps, dtype=gaps.dtype.newbyteorder("=")).tobytes())
        self._values = array(_CODES[values.itemsize], values.astype(values.dtype.newbyteorder("=")).tobytes())

    def __len__(self) -> int:
        """Return how many pieces there are, those without a value among them."""
        return len(self._starts)

    def value(self, number: int) -> int:
        """Return the value of a number that fits the width."""
        place = bisect_right(self._starts, number) - 1
        return self._values[place] if place >= 0 else 0


def pack(rows: Iterable[tuple[int, int, int]], width: Width) -> Packed:
    """Pack (first, last, value) rows; both ends belong to the range, values are 1 or more.

    Where ranges overlap, the one that begins first counts; of those, the one that ends first.
    """
    starts: list[int] = []
    values: list[int] = []
    end = -1
    for first, last, value in sorted(rows):
        first = max(first, end + 1)
        if first > last:
            continue
        if first > end + 1 and values and values[-1]:
            starts.append(end + 1)
            values.append(0)
        if not values or values[-1] != value:
            starts.append(first)
            values.append(value)
        end = last
    if values and end < (1 << 8 * width) - 1:
        starts.append(end + 1)
        values.append(0)
    wide = max(values, default=0) >= 1 << 16
    gaps = np.diff(np.array([0, *starts], dtype=f"<u{width}"))
    return Packed(width, gaps.tobytes(), np.array(values, dtype="<u4" if wide else "<u2").tobytes(), wide)
