"""A busy key's distinct sets: exact up to DISTINCT_EXACT live elements, then a sketch.

The word names elements, then when each was last seen; of a sketch DISTINCT_CELLS last-seen cells (linear counting,
Whang et al. 1990: n ≈ −m·ln(1 − z/m)), which serves every window at once. The header keeps ``[since, count]`` of each
window: it is counted again only when `since` moves.
"""

from __future__ import annotations

import numpy as np

from avalist.features.arena import LOW, SKETCH, allocate, mix, release
from avalist.features.declare import DISTINCT_CELLS, DISTINCT_EXACT
from avalist.features.elementary import ln
from avalist.features.jit import jit_part, prefetch
from avalist.features.layout import D_COUNTS, D_COUNTS_END, I64, K_CACHE, PLACE


@jit_part
def prefetch_elements(mem: I64, word: int) -> None:
    """Ask for a set's elements and times; a sketch is read in order, as processors expect."""
    offset, cap = word >> 16 & PLACE, 1 << (word >> 8 & 15)
    for i in range(0, word & 255, 8):
        prefetch(mem, offset + i)
        prefetch(mem, offset + cap + i)


@jit_part
def see_distinct(
    mem: I64, meta: I64, header: int, at: int, element: int, t: int, expired_before: int, d: int, distincts: I64,
    counts: I64,
) -> None:  # fmt: skip
    """Note that `element` was seen at `t`."""
    word = mem[at]
    if word & SKETCH:
        cell = (word >> 16 & PLACE) + cell_of(element)
        note_seen(mem, header, cell, t, d, distincts, counts)
        return
    if word == 0:
        word = allocate(mem, meta, 2) << 16
    offset, cap, n = word >> 16 & PLACE, 1 << (word >> 8 & 15), word & 255
    for i in range(n):
        if mem[offset + i] == element:
            note_seen(mem, header, offset + cap + i, t, d, distincts, counts)
            return
    if n == cap:
        n = keep_live(mem, offset, cap, expired_before)
    if n == DISTINCT_EXACT:
        sketch = allocate(mem, meta, DISTINCT_CELLS)
        mem[sketch : sketch + DISTINCT_CELLS] = LOW
        for i in range(n):
            cell = sketch + cell_of(mem[offset + i])
            mem[cell] = max(mem[cell], mem[offset + cap + i])
        cell = sketch + cell_of(element)
        mem[cell] = max(mem[cell], t)
        release(mem, meta, offset, 2 * cap)
        mem[at] = sketch << 16 | SKETCH
        for k in range(distincts[d, D_COUNTS] & PLACE, distincts[d, D_COUNTS_END]):
            mem[header + counts[k, K_CACHE] & PLACE] = LOW
        return
    if n == cap:
        larger = allocate(mem, meta, 4 * cap)
        for i in range(n):
            mem[larger + i] = mem[offset + i]
            mem[larger + 2 * cap + i] = mem[offset + cap + i]
        release(mem, meta, offset, 2 * cap)
        offset, cap, word = larger, 2 * cap, word + 256
    mem[offset + n] = element
    mem[offset + cap + n] = LOW
    mem[at] = offset << 16 | (word & 0xF00) | (n + 1)
    note_seen(mem, header, offset + cap + n, t, d, distincts, counts)


@jit_part
def cell_of(element: int) -> int:
    """Return an element's cell in a sketch."""
    return int(np.int64(mix(np.uint64(element)) & np.uint64(DISTINCT_CELLS - 1)))


@jit_part
def keep_live(mem: I64, offset: int, cap: int, expired_before: int) -> int:
    """Drop the elements of a full set that no window sees; return how many are left."""
    kept = 0
    for i in range(cap):
        if mem[offset + cap + i] >= expired_before:
            mem[offset + kept] = mem[offset + i]
            mem[offset + cap + kept] = mem[offset + cap + i]
            kept += 1
    return kept


@jit_part
def note_seen(mem: I64, header: int, at: int, t: int, d: int, distincts: I64, counts: I64) -> None:
    """Move the time at `at` on to `t`, and count it in the windows where it was not seen before."""
    before = mem[at]
    if t > before:
        mem[at] = t
        for k in range(distincts[d, D_COUNTS] & PLACE, distincts[d, D_COUNTS_END]):
            cache = header + counts[k, K_CACHE] & PLACE
            mem[cache + 1] += before < mem[cache] <= t


@jit_part
def count_distinct(mem: I64, word: int, cache: int, since: int) -> float:
    """Return how many elements were seen at or after `since`."""
    if mem[cache] != since:
        offset, n = word >> 16 & PLACE, word & 255
        times, n = (offset, DISTINCT_CELLS) if word & SKETCH else (offset + (1 << (word >> 8 & 15)), n)
        seen = 0
        for i in range(n):
            seen += mem[times + i] >= since
        mem[cache] = since
        mem[cache + 1] = seen
    seen = mem[cache + 1]
    if word & SKETCH:
        m = float(DISTINCT_CELLS)
        return m * ln(m) if seen == DISTINCT_CELLS else -m * ln(1.0 - seen / m)
    return float(seen)


@jit_part
def live_elements(mem: I64, word: int, since: int, out: I64, n: int) -> int:
    """Write a distinct word's sketch, or its elements seen since `since` in order; return the new fill of `out`."""
    offset, cap = word >> 16, 1 << (word >> 8 & 15)
    if word & SKETCH:
        for i in range(DISTINCT_CELLS):
            out[n + i] = mem[offset + i] if mem[offset + i] >= since else 0
        return n + DISTINCT_CELLS
    first = n
    for at in range(offset, offset + (word & 255)):
        if mem[at + cap] >= since:
            place = n
            while place > first and out[place - 2] > mem[at]:
                out[place], out[place + 1] = out[place - 2], out[place - 1]
                place -= 2
            out[place], out[place + 1] = mem[at], mem[at + cap]
            n += 2
    return n
