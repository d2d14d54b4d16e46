"""A busy key's streams: a ring of tiles, one for each step in which something happened, at most MAX_TILES.

A tile is ``[step, n, sum, max]`` (of labels ``[step, captured, frauds, amount of frauds]``). A stream's word packs its
ring's offset, head, size class and fill. Windows only move forward, so the header keeps each one running, in a cache:
``[low, end, first, last, n, sum, third, bad]``: it covers the tiles at `first` to before `last`, those of steps from
`low` to before `end`, and what they add up to; `bad` are those with frauds. A tile is added once and taken off once.
Of labels to be scanned ``[latest, clean, begun, stale]`` follow. `third` is a maximum only where one is asked for.
"""

from __future__ import annotations

from typing import Final

from avalist.features.arena import LOW, TILE, allocate, release
from avalist.features.jit import jit_part, prefetch
from avalist.features.layout import I64, PLACE, R_CACHE, R_CLOCK, R_SCAN, S_LABELS, S_READS, S_READS_END

CLOCK: Final = 3
"""Words of a clock: a window's first step, its end (exclusive), the event's own step."""
NEVER: Final = 2**62
"""The end of a window without one."""
LOWEST, END, FIRST, LAST, COUNT, TOTAL, THIRD, BAD, LATEST, CLEAN, BEGUN, STALE = range(12)


@jit_part
def ring(word: int) -> tuple[int, int, int, int]:
    """Return a stream's offset, head, mask and fill."""
    return word >> 24 & PLACE, word >> 16 & 255, (1 << (word >> 8 & 15)) - 1, word & 255


@jit_part
def prefetch_tiles(mem: I64, header: int, word: int, s: int, streams: I64, reads: I64) -> None:
    """Ask for the tiles that the windows of a stream will drop, and for the newest and the next."""
    offset, head, mask, n = ring(word)
    prefetch(mem, offset + TILE * (head + n - 1 & mask))
    prefetch(mem, offset + TILE * (head + n & mask))
    for r in range(streams[s, S_READS] & PLACE, streams[s, S_READS_END]):
        cache = header + (reads[r, R_CACHE] & PLACE)
        prefetch(mem, offset + TILE * (head + mem[cache + FIRST] & mask))
        if mem[cache + LAST] < n:
            prefetch(mem, offset + TILE * (head + mem[cache + LAST] & mask))


@jit_part
def start_window(mem: I64, cache: int, labels: int) -> None:
    """Make a window empty, before all tiles."""
    for w in range(BAD + 1):
        mem[cache + w] = 0
    mem[cache + LOWEST] = mem[cache + END] = LOW
    mem[cache + THIRD] = 0 if labels else LOW


@jit_part
def advance(mem: I64, word: int, cache: int, low: int, end: int, scan: int, labels: int) -> None:
    """Let a window cover the tiles with low ≤ step < end."""
    if low < mem[cache + LOWEST] or end < mem[cache + END]:
        start_window(mem, cache, labels)
    offset, head, mask, n = ring(word)
    first, last, count, total = mem[cache + FIRST], mem[cache + LAST], mem[cache + COUNT], mem[cache + TOTAL]
    third, bad, moved = mem[cache + THIRD], mem[cache + BAD], False
    while last < n:
        tile = offset + TILE * (head + last & mask)
        if mem[tile] >= end:
            break
        count += mem[tile + 1]
        total += mem[tile + 2]
        if labels:
            third += mem[tile + 3]
            bad += mem[tile + 2] != 0
            moved = True
        elif scan:
            third = max(third, mem[tile + 3])
        last += 1
    while first < last:
        tile = offset + TILE * (head + first & mask)
        if mem[tile] >= low:
            break
        count -= mem[tile + 1]
        total -= mem[tile + 2]
        if labels:
            third -= mem[tile + 3]
            bad -= mem[tile + 2] != 0
            moved = True
        elif scan:
            moved |= mem[tile + 3] == third
        first += 1
    if scan and moved:
        if labels:
            mem[cache + STALE] = 1
        else:
            third = LOW
            for i in range(first, last):
                third = max(third, mem[offset + TILE * (head + i & mask) + 3])
    mem[cache + LOWEST] = low
    mem[cache + END] = end
    mem[cache + FIRST] = first
    mem[cache + LAST] = last
    mem[cache + COUNT] = count
    mem[cache + TOTAL] = total
    mem[cache + THIRD] = third
    mem[cache + BAD] = bad


@jit_part
def judge_tiles(mem: I64, word: int, cache: int, gap: int) -> None:
    """Find in a window the latest step with fraud, the payments captured after it, and the first step of its run.

    Fraud steps of a run are at most `gap` steps apart. Without fraud the steps are LOW.
    """
    if mem[cache + BAD] == 0:
        mem[cache + LATEST] = mem[cache + BEGUN] = LOW
        mem[cache + CLEAN] = mem[cache + COUNT]
        return
    if mem[cache + STALE] == 0:
        return
    offset, head, mask, _ = ring(word)
    latest, clean, begun = LOW, 0, LOW
    for i in range(mem[cache + LAST] - 1, mem[cache + FIRST] - 1, -1):
        tile = offset + TILE * (head + i & mask)
        if mem[tile + 2] > 0:
            index = mem[tile]
            latest = max(latest, index)
            if begun != LOW and begun - index > gap:
                break
            begun = index
        elif begun == LOW:
            clean += mem[tile + 1]
    mem[cache + LATEST] = latest
    mem[cache + CLEAN] = clean
    mem[cache + BEGUN] = begun
    mem[cache + STALE] = 0


@jit_part
def tile_at(
    mem: I64, meta: I64, header: int, at: int, index: int, s: int, streams: I64, reads: I64, work: I64, clocks_at: int
) -> tuple[int, int]:
    """Return the offset of the tile `index` of the stream `s`, whose word is at `at`, and 1 if it had to be made."""
    if mem[at] == 0:
        mem[at] = allocate(mem, meta, TILE) << 24
    offset, head, mask, n = ring(mem[at])
    i = n
    while i > 0 and mem[offset + TILE * (head + i - 1 & mask)] > index:
        i -= 1
    if i > 0 and mem[offset + TILE * (head + i - 1 & mask)] == index:
        return int(offset + TILE * (head + i - 1 & mask)), 0
    if n == mask + 1:
        i -= make_room(mem, meta, header, at, s, streams, reads, work, clocks_at)
        offset, head, mask, n = ring(mem[at])
    for j in range(n, i, -1):
        to, old = offset + TILE * (head + j & mask), offset + TILE * (head + j - 1 & mask)
        for w in range(TILE):
            mem[to + w] = mem[old + w]
    tile = offset + TILE * (head + i & mask)
    mem[tile] = index
    mem[tile + 1] = mem[tile + 2] = 0
    mem[tile + 3] = 0 if streams[s, S_LABELS] else LOW
    mem[at] += 1
    return int(tile), 1


@jit_part
def make_room(
    mem: I64, meta: I64, header: int, at: int, s: int, streams: I64, reads: I64, work: I64, clocks_at: int
) -> int:
    """Drop the tiles that the deepest window has passed from a full ring, or double it; return how many went."""
    word = mem[at]
    offset, head, mask, n = ring(word)
    for r in range(streams[s, S_READS] & PLACE, streams[s, S_READS_END]):
        cache, clock = header + (reads[r, R_CACHE] & PLACE), clocks_at + CLOCK * (reads[r, R_CLOCK] & PLACE)
        advance(mem, word, cache, work[clock], work[clock + 1], reads[r, R_SCAN], streams[s, S_LABELS])
    deepest = reads[streams[s, S_READS_END] - 1, R_CACHE] & PLACE
    expired = int(mem[header + deepest + FIRST])
    if expired > 0:
        for r in range(streams[s, S_READS] & PLACE, streams[s, S_READS_END]):
            cache = header + (reads[r, R_CACHE] & PLACE)
            mem[cache + FIRST] -= expired
            mem[cache + LAST] -= expired
        mem[at] = offset << 24 | (head + expired & mask) << 16 | (word & 0xF00) | (n - expired)
        return expired
    larger = allocate(mem, meta, 2 * TILE * n)
    for i in range(n):
        old = offset + TILE * (head + i & mask)
        for w in range(TILE):
            mem[larger + TILE * i + w] = mem[old + w]
    release(mem, meta, offset, TILE * n)
    mem[at] = larger << 24 | (word & 0xF00) + 0x100 | n
    return 0


@jit_part
def add(
    mem: I64, header: int, tile: int, made: int, count: int, total: int, third: int, s: int, streams: I64, reads: I64
) -> None:
    """Add to a tile, perhaps made just now, and to the windows of its stream that cover it."""
    labels, index, was_bad = streams[s, S_LABELS], mem[tile], mem[tile + 2] != 0
    mem[tile + 1] += count
    mem[tile + 2] += total
    mem[tile + 3] = mem[tile + 3] + third if labels else max(mem[tile + 3], third)
    bad = (mem[tile + 2] != 0) - was_bad
    for r in range(streams[s, S_READS] & PLACE, streams[s, S_READS_END]):
        cache = header + (reads[r, R_CACHE] & PLACE)
        if index >= mem[cache + END]:
            continue  # it will come when the window does
        early = index < mem[cache + LOWEST]
        mem[cache + FIRST] += made & early
        mem[cache + LAST] += made
        if not early:
            mem[cache + COUNT] += count
            mem[cache + TOTAL] += total
            if labels:
                mem[cache + THIRD] += third
                mem[cache + BAD] += bad
                if reads[r, R_SCAN]:
                    mem[cache + STALE] = 1
            elif reads[r, R_SCAN]:
                mem[cache + THIRD] = max(mem[cache + THIRD], third)


@jit_part
def live_tiles(mem: I64, word: int, lowest: int, out: I64, n: int) -> int:
    """Write the tiles from `lowest` on that are not zero; return the new fill of `out`."""
    offset, head, mask, fill = ring(word)
    for i in range(fill):
        tile = offset + TILE * (head + i & mask)
        if mem[tile] >= lowest:
            for w in range(TILE):
                out[n + w] = mem[tile + w]
            if out[n + 1] != 0 or out[n + 2] != 0 or out[n + 3] != 0:
                n += TILE
    return n
