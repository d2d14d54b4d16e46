"""A busy key's distinct sets: exact up to DISTINCT_EXACT live elements, then a sketch.

The word holds (element, last seen) pairs, then DISTINCT_CELLS last-seen cells (linear counting, Whang et al. 1990:
n ≈ −m·ln(1 − z/m)), which serves every window at once.
"""

from __future__ import annotations

import numpy as np

from avalist.features.arena import LOW, SKETCH, allocate, mix, release
from avalist.features.declare import DISTINCT_CELLS, DISTINCT_EXACT
from avalist.features.elementary import ln
from avalist.features.jit import jit_part
from avalist.features.layout import I64


@jit_part
def see_distinct(mem: I64, meta: I64, at: int, element: int, t: int, expired_before: int) -> None:
    """Note that `element` was seen at `t`."""
    word = mem[at]
    if word & SKETCH:
        cell = (word >> 16) + np.int64(mix(np.uint64(element)) & np.uint64(DISTINCT_CELLS - 1))
        mem[cell] = max(mem[cell], t)
        return
    if word == 0:
        word = allocate(mem, meta, 2) << 16
    offset, size, n = word >> 16, (word >> 8) & 15, word & 255
    for i in range(n):
        if mem[offset + 2 * i] == element:
            mem[offset + 2 * i + 1] = max(mem[offset + 2 * i + 1], t)
            return
    if n == 1 << size:
        kept = 0
        for i in range(n):
            if mem[offset + 2 * i + 1] >= expired_before:
                mem[offset + 2 * kept] = mem[offset + 2 * i]
                mem[offset + 2 * kept + 1] = mem[offset + 2 * i + 1]
                kept += 1
        n = kept
    if n == DISTINCT_EXACT:
        sketch = allocate(mem, meta, DISTINCT_CELLS)
        mem[sketch : sketch + DISTINCT_CELLS] = LOW
        mem[at] = (sketch << 16) | SKETCH
        for i in range(n):
            see_distinct_cell(mem, sketch, mem[offset + 2 * i], mem[offset + 2 * i + 1])
        see_distinct_cell(mem, sketch, element, t)
        release(mem, meta, offset, 2 << size)
        return
    if n == 1 << size:
        larger = allocate(mem, meta, 4 << size)
        for w in range(2 * n):
            mem[larger + w] = mem[offset + w]
        release(mem, meta, offset, 2 << size)
        offset = larger
        size += 1
    mem[offset + 2 * n] = element
    mem[offset + 2 * n + 1] = t
    mem[at] = (offset << 16) | (size << 8) | (n + 1)


@jit_part
def see_distinct_cell(mem: I64, sketch: int, element: int, t: int) -> None:
    """Note an element in a sketch."""
    cell = sketch + np.int64(mix(np.uint64(element)) & np.uint64(DISTINCT_CELLS - 1))
    mem[cell] = max(mem[cell], t)


@jit_part
def count_distinct(mem: I64, word: int, since: int) -> float:
    """Return how many elements were seen at or after `since`."""
    offset = word >> 16
    seen = 0
    if word & SKETCH:
        for t in mem[offset : offset + DISTINCT_CELLS]:
            seen += t >= since
        m = float(DISTINCT_CELLS)
        return m * ln(m) if seen == DISTINCT_CELLS else -m * ln(1.0 - seen / m)
    for i in range(word & 255):
        seen += mem[offset + 2 * i + 1] >= since
    return float(seen)


@jit_part
def live_elements(mem: I64, word: int, since: int, out: I64, n: int) -> int:
    """Write a distinct word's sketch, or its elements seen since `since` in order; return the new fill of `out`."""
    offset = word >> 16
    if word & SKETCH:
        for i in range(DISTINCT_CELLS):
            out[n + i] = mem[offset + i] if mem[offset + i] >= since else 0
        return n + DISTINCT_CELLS
    first = n
    for at in range(offset, offset + 2 * (word & 255), 2):
        if mem[at + 1] >= since:
            place = n
            while place > first and out[place - 2] > mem[at]:
                out[place], out[place + 1] = out[place - 2], out[place - 1]
                place -= 2
            out[place], out[place + 1] = mem[at], mem[at + 1]
            n += 2
    return n
