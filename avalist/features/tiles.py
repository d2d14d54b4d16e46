"""A busy key's streams: one tile for each step in which something happened, sorted, at most MAX_TILES.

A tile is ``[step, n, sum, max]`` (of labels ``[step, captured, frauds, amount of frauds]``). All but the maximum run on
from tile to tile, so a window is the difference of two of them, found by binary search. Sums may wrap: differences do
not mind.
"""

from __future__ import annotations

from avalist.features.arena import LOW, TILE, allocate, release
from avalist.features.jit import jit_part
from avalist.features.plan import I64


@jit_part
def tile_at(mem: I64, meta: I64, at: int, index: int, lowest: int, labels: int) -> int:
    """Return the offset of the tile `index` of the stream word at `at`, made if need be.

    Tiles below `lowest` may go.
    """
    word = mem[at]
    if word == 0:
        word = allocate(mem, meta, TILE) << 16
    offset, size, n = word >> 16, (word >> 8) & 15, word & 255
    i = n - 1
    while i >= 0 and mem[offset + TILE * i] > index:
        i -= 1
    if i >= 0 and mem[offset + TILE * i] == index:
        return int(offset + TILE * i)
    if n == 1 << size:
        expired = 0
        while expired < n and mem[offset + TILE * expired] < lowest:
            expired += 1
        if expired > 0:
            forget(mem, offset, n, expired, labels)
            n -= expired
            i -= expired
        else:
            larger = allocate(mem, meta, TILE << (size + 1))
            for w in range(TILE * n):
                mem[larger + w] = mem[offset + w]
            release(mem, meta, offset, TILE << size)
            offset = larger
            size += 1
    i += 1
    for w in range(TILE * n - 1, TILE * i - 1, -1):
        mem[offset + w + TILE] = mem[offset + w]
    tile = offset + TILE * i
    mem[tile] = index
    for w in range(1, TILE):
        mem[tile + w] = mem[tile + w - TILE] if i > 0 else 0
    if not labels:
        mem[tile + 3] = LOW
    mem[at] = (offset << 16) | (size << 8) | (n + 1)
    return int(tile)


@jit_part
def forget(mem: I64, offset: int, n: int, expired: int, labels: int) -> None:
    """Drop the first `expired` tiles, and what they had added to later ones."""
    last = offset + TILE * (expired - 1)
    count, total, third = mem[last + 1], mem[last + 2], mem[last + 3] if labels else 0
    for tile in range(offset + TILE * expired, offset + TILE * n, TILE):
        to = tile - TILE * expired
        mem[to] = mem[tile]
        mem[to + 1] = mem[tile + 1] - count
        mem[to + 2] = mem[tile + 2] - total
        mem[to + 3] = mem[tile + 3] - third


@jit_part
def add(mem: I64, word: int, tile: int, count: int, total: int, third: int) -> None:
    """Add to a tile and to all later ones: to none where the event is not late."""
    for later in range(tile, (word >> 16) + TILE * (word & 255), TILE):
        mem[later + 1] += count
        mem[later + 2] += total
        mem[later + 3] += third


@jit_part
def first_from(mem: I64, offset: int, n: int, lowest: int) -> int:
    """Return the offset of the first of `n` tiles whose step is `lowest` or later, or of the end."""
    while n > 0:
        half = n >> 1
        if mem[offset + TILE * half] < lowest:
            offset += TILE * (half + 1)
            n -= half + 1
        else:
            n = half
    return offset


@jit_part
def read_stream(mem: I64, word: int, lowest: int, end: int, scan: int, work: I64, out: int) -> None:
    """Sum the tiles with lowest ≤ step < end into ``work[out : out + 3]``; the maximum if `scan`."""
    highest = LOW
    first, last = bounds(mem, word, lowest, end)
    write_sums(mem, word >> 16, first, last, work, out)
    if scan:
        for tile in range(first, last, TILE):
            highest = max(highest, mem[tile + 3])
    work[out + 2] = highest


@jit_part
def bounds(mem: I64, word: int, lowest: int, end: int) -> tuple[int, int]:
    """Return the offsets of the first tile with lowest ≤ step, and of the first one after it with step ≥ end."""
    offset, n = word >> 16, word & 255
    past = offset + TILE * n
    first = offset if n == 0 or mem[offset] >= lowest else first_from(mem, offset, n, lowest)
    last = past if n == 0 or mem[past - TILE] < end else first_from(mem, first, (past - first) // TILE, end)
    return first, last


@jit_part
def write_sums(mem: I64, offset: int, first: int, last: int, work: I64, out: int) -> None:
    """Write what the tiles from `first` to before `last` add up to."""
    for w in range(3):
        upto = mem[last - TILE + 1 + w] if last > offset else 0
        before = mem[first - TILE + 1 + w] if first > offset else 0
        work[out + w] = upto - before


@jit_part
def read_labels(mem: I64, word: int, lowest: int, end: int, gap: int, scan: int, work: I64, out: int) -> None:
    """Sum the label tiles with lowest ≤ step < end into ``work[out : out + 3]``.

    If `scan`, write the latest step with fraud, the payments captured after it, and the first step of its run into the
    next three: fraud steps at most `gap` steps apart. Without fraud the steps are LOW.
    """
    offset = word >> 16
    first, last = bounds(mem, word, lowest, end)
    write_sums(mem, offset, first, last, work, out)
    if scan:
        latest, clean, begun = LOW, 0, LOW
        for tile in range(last - TILE, first - TILE, -TILE):
            captured, frauds, index = mem[tile + 1], mem[tile + 2], mem[tile]
            if tile > offset:
                captured -= mem[tile + 1 - TILE]
                frauds -= mem[tile + 2 - TILE]
            if frauds > 0:
                latest = max(latest, index)
                if begun == LOW or begun - index <= gap:
                    begun = index
            elif begun == LOW:
                clean += captured
        work[out + 3] = latest
        work[out + 4] = clean
        work[out + 5] = begun


@jit_part
def live_tiles(mem: I64, word: int, lowest: int, labels: int, out: I64, n: int) -> int:
    """Write the tiles from `lowest` on that are not zero, each with its own sums; return the new fill of `out`."""
    offset = word >> 16
    for tile in range(offset, offset + TILE * (word & 255), TILE):
        if mem[tile] < lowest:
            continue
        for w in range(TILE):
            runs_on = tile > offset and (w in (1, 2) or (w == 3 and labels))
            out[n + w] = mem[tile + w] - (mem[tile + w - TILE] if runs_on else 0)
        if out[n + 1] != 0 or out[n + 2] != 0 or out[n + 3] != 0:
            n += TILE
    return n
