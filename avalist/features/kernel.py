"""The one kernel: reads a plan's columns for an event, then folds the event in. Live, replay and training all call it.

State is two int64 arrays, so that a snapshot is a copy and growth is a reallocation:

- ``meta``: the arena's fill, free lists, and the directory of SUBTABLES hash tables: each grows alone, so growth never
  stalls;
- ``mem``: an arena of blocks. A key's header is ``[key, entity, first_t, last_t, last_payment_t, stream…, distinct…]``;
  a stream word packs its block's offset, size class and fill.

A stream keeps one tile ``[index, n, sum, max]`` (labels: ``[index, captured, frauds, amount of frauds]``) for each
*step in which something happened*, sorted, at most MAX_TILES: a quiet key holds as many tiles as events, a busy one
as many as steps, with the same values by construction; windows of one step read one stream. A distinct word holds
(element, last seen) pairs up to DISTINCT_EXACT, then DISTINCT_CELLS last-seen cells (linear counting, Whang et al.
1990: n ≈ −m·ln(1 − z/m)), which serves every window at once.

Everything is a commutative integer addition, maximum or minimum at the event's own step, so late events are no special
case.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, OCCURRED, VALUES, T
from avalist.features.declare import ACTIVITY, DISTINCT_CELLS, DISTINCT_EXACT, RUN_GAP
from avalist.features.elementary import ln
from avalist.features.jit import jit, jit_inline
from avalist.features.plan import (
    BASE,
    C_LAG,
    C_STEP,
    C_WINDOW,
    CAPTURED,
    CLEAN,
    CONSTANT,
    COUNT,
    D_ENTITY,
    D_KINDS,
    D_OF,
    D_WINDOW,
    DISTINCT,
    E_A,
    E_B,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_FORM,
    E_SALT,
    E_STREAMS,
    E_STREAMS_END,
    F64,
    FIRST_FRAUD,
    FRAUD_MEAN,
    FRAUDS,
    HOUR,
    I64,
    KNOWN,
    MEAN,
    N_A,
    N_B,
    N_OP,
    N_OWN,
    N_STEP,
    N_WINDOW,
    R_CLOCK,
    R_STREAM,
    RATE,
    RATIO,
    S_CLOCK,
    S_ENTITY,
    S_KINDS,
    S_LABELS,
    S_READS,
    S_READS_END,
    S_VALUE,
    SINCE_FIRST,
    SINCE_FRAUD,
    SINCE_LAST,
    SUM,
    VALUE,
    WEEKDAY,
)  # fmt: skip

F32 = npt.NDArray[np.float32]

# meta
BUMP: Final = 0
LIVE: Final = 1
NOW: Final = 2
LARGEST: Final = 3
FREE: Final = 8
CLASSES: Final = 300
DIRECTORY: Final = FREE + CLASSES
SUBTABLES: Final = 256
D_OFFSET: Final = 0
D_CAP: Final = 1
D_COUNT: Final = 2
META_WORDS: Final = DIRECTORY + 3 * SUBTABLES

# header
H_KEY: Final = 0
H_ENTITY: Final = 1
H_FIRST: Final = 2
H_LAST: Final = 3
H_LAST_PAYMENT: Final = 4
H_STREAMS: Final = 5

TILE: Final = 4
TILES: Final = 128
READ: Final = 6
"""Words that a read leaves: ``[n, sum, max]`` or ``[captured, frauds, their amount, latest, clean, first]``."""
MISSING_KEY: Final = 0
UNSEEN: Final = 1
SEEN: Final = 2
LOW: Final = -(2**62)
DAY: Final = 86_400_000
SKETCH: Final = 1 << 15
_READ_ONLY: Final = 10


@jit_inline
def mix(x: np.uint64) -> np.uint64:
    """Return a 64-bit bijective mix (splitmix64 finaliser; Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit_inline
def key_of(row: I64, keys_at: int, entities: I64, e: int) -> int:
    """Return the event's key of an entity: its own, a mix of two, or the merchant's; 0 if a part is missing."""
    salt = np.uint64(entities[e, E_SALT])
    if entities[e, E_FORM] == CONSTANT:
        mixed = mix(salt)
    else:
        a = row[keys_at + entities[e, E_A]]
        if a == 0:
            return 0
        mixed = mix(np.uint64(a) ^ salt)
        if entities[e, E_FORM] != BASE:
            b = row[keys_at + entities[e, E_B]]
            if b == 0:
                return 0
            mixed = mix((mixed << np.uint64(1)) ^ mix(np.uint64(b) + salt))
    key = np.int64(mixed)
    return int(key) if key != 0 else 1


# --- arena -----------------------------------------------------------------------------------------------------


@jit_inline
def size_class(words: int) -> int:
    """Return the free list of a block: exact to 4 words up to 1024, then powers of two."""
    if words <= 1024:
        return (words + 3) // 4
    c = 257
    size = 2048
    while size < words:
        size *= 2
        c += 1
    return c


@jit_inline
def allocate(mem: I64, meta: I64, words: int) -> int:
    """Return the offset of a block; its content is undefined. Room was reserved before the event."""
    c = size_class(words)
    head = meta[FREE + c]
    if head != 0:
        meta[FREE + c] = mem[head]
        return int(head)
    offset = meta[BUMP]
    meta[BUMP] = offset + (4 * c if c <= 256 else 2048 << (c - 257))
    return int(offset)


@jit_inline
def release(mem: I64, meta: I64, offset: int, words: int) -> None:
    """Return a block to its free list."""
    c = size_class(words)
    mem[offset] = meta[FREE + c]
    meta[FREE + c] = offset


# --- the table of keys -------------------------------------------------------------------------------------------


@jit_inline
def find(mem: I64, meta: I64, key: int) -> int:
    """Return the header's offset, or 0."""
    u = np.uint64(key)
    d = DIRECTORY + 3 * np.int64(u >> np.uint64(56))
    base, mask = meta[d + D_OFFSET], meta[d + D_CAP] - 1
    i = np.int64(u & np.uint64(0x7FFFFFFF)) & mask
    while True:
        here = mem[base + 2 * i]
        if here == key:
            return int(mem[base + 2 * i + 1])
        if here == 0:
            return 0
        i = (i + 1) & mask


@jit_inline
def place(mem: I64, base: int, mask: int, key: int, header: int) -> None:
    """Put a key into the first free place of its table."""
    i = np.int64(np.uint64(key) & np.uint64(0x7FFFFFFF)) & mask
    while mem[base + 2 * i] != 0:
        i = (i + 1) & mask
    mem[base + 2 * i] = key
    mem[base + 2 * i + 1] = header


@jit_inline
def empty_header(mem: I64, meta: I64, entities: I64, header: int) -> int:
    """Free the blocks of a header; return its size in words."""
    e = mem[header + H_ENTITY]
    distincts = header + H_STREAMS + entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
    end = distincts + entities[e, E_DISTINCTS_END] - entities[e, E_DISTINCTS]
    for at in range(header + H_STREAMS, end):
        word = mem[at]
        if word & SKETCH:
            release(mem, meta, word >> 16, DISTINCT_CELLS)
        elif word != 0:
            release(mem, meta, word >> 16, (TILE if at < distincts else 2) << ((word >> 8) & 15))
    return int(end - header)


@jit_inline
def key_words(mem: I64, entities: I64, header: int) -> int:
    """Return how many words a header and its blocks take."""
    e = mem[header + H_ENTITY]
    distincts = header + H_STREAMS + entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
    end = distincts + entities[e, E_DISTINCTS_END] - entities[e, E_DISTINCTS]
    words = 4 * size_class(end - header)
    for at in range(header + H_STREAMS, end):
        if mem[at] & SKETCH:
            words += DISTINCT_CELLS
        elif mem[at] != 0:
            words += 4 * size_class((TILE if at < distincts else 2) << ((mem[at] >> 8) & 15))
    return int(words)


@jit_inline
def drop_header(mem: I64, meta: I64, entities: I64, header: int) -> None:
    """Free a header and its blocks."""
    words = empty_header(mem, meta, entities, header)
    release(mem, meta, header, words)
    meta[LIVE] -= 1


@jit_inline
def grow(mem: I64, meta: I64, entities: I64, d: int, forget_before: int) -> None:
    """Rebuild one of the tables without its forgotten keys, at twice the size where the rest still fills it."""
    base, cap = meta[d + D_OFFSET], meta[d + D_CAP]
    kept = 0
    for i in range(cap):
        if mem[base + 2 * i] != 0:
            header = mem[base + 2 * i + 1]
            if mem[header + H_LAST] < forget_before:
                drop_header(mem, meta, entities, header)
                mem[base + 2 * i] = 0
            else:
                kept += 1
    larger = cap * 2 if kept * 3 > cap else cap
    fresh = allocate(mem, meta, 2 * larger)
    mem[fresh : fresh + 2 * larger] = 0
    for i in range(cap):
        if mem[base + 2 * i] != 0:
            place(mem, fresh, larger - 1, mem[base + 2 * i], mem[base + 2 * i + 1])
    release(mem, meta, base, 2 * cap)
    meta[d + D_OFFSET] = fresh
    meta[d + D_CAP] = larger
    meta[d + D_COUNT] = kept
    meta[LARGEST] = max(meta[LARGEST], larger)


@jit_inline
def insert(mem: I64, meta: I64, entities: I64, e: int, key: int, forget_before: int) -> int:
    """Return the offset of a new, empty header for a key not in the table."""
    d = DIRECTORY + 3 * np.int64(np.uint64(key) >> np.uint64(56))
    if meta[d + D_COUNT] * 5 >= meta[d + D_CAP] * 3:
        grow(mem, meta, entities, int(d), forget_before)
    streams = entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
    words = H_STREAMS + streams + entities[e, E_DISTINCTS_END] - entities[e, E_DISTINCTS]
    header = allocate(mem, meta, words)
    mem[header + H_KEY] = key
    mem[header + H_ENTITY] = e
    clear_header(mem, header, words)
    place(mem, meta[d + D_OFFSET], meta[d + D_CAP] - 1, key, header)
    meta[d + D_COUNT] += 1
    meta[LIVE] += 1
    return header


@jit_inline
def clear_header(mem: I64, header: int, words: int) -> None:
    """Make a header as of a key never seen."""
    mem[header + H_FIRST] = 2**62
    mem[header + H_LAST] = LOW
    mem[header + H_LAST_PAYMENT] = LOW
    mem[header + H_STREAMS : header + words] = 0


# --- tiles -------------------------------------------------------------------------------------------------------


@jit_inline
def tile_at(mem: I64, meta: I64, at: int, index: int, lowest: int, fourth: int) -> int:
    """Return the offset of the tile `index` of the stream word at `at`, made if need be with a last word `fourth`.

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
            for w in range(TILE * (n - expired)):
                mem[offset + w] = mem[offset + TILE * expired + w]
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
    mem[tile + 1] = 0
    mem[tile + 2] = 0
    mem[tile + 3] = fourth
    mem[at] = (offset << 16) | (size << 8) | (n + 1)
    return int(tile)


@jit_inline
def read_stream(mem: I64, word: int, lowest: int, end: int, work: I64, out: int) -> None:
    """Sum the tiles with lowest ≤ index < end into ``work[out : out + 3]``."""
    n = 0
    total = 0
    highest = LOW
    offset = word >> 16
    for i in range((word & 255) - 1, -1, -1):
        tile = offset + TILE * i
        index = mem[tile]
        if index < lowest:
            break
        if index < end:
            n += mem[tile + 1]
            total += mem[tile + 2]
            highest = max(highest, mem[tile + 3])
    work[out] = n
    work[out + 1] = total
    work[out + 2] = highest


@jit_inline
def read_labels(mem: I64, word: int, lowest: int, end: int, gap: int, work: I64, out: int) -> None:
    """Sum the label tiles with lowest ≤ index < end into ``work[out : out + 6]``; without fraud two of them are LOW.

    First is of the latest run: fraud steps at most `gap` steps apart.
    """
    captured = 0
    frauds = 0
    amount = 0
    latest = LOW
    first = LOW
    clean = 0
    offset = word >> 16
    for i in range((word & 255) - 1, -1, -1):
        tile = offset + TILE * i
        index = mem[tile]
        if index < lowest:
            break
        if index < end:
            if mem[tile + 2] > 0:
                latest = max(latest, index)
                if first == LOW or first - index <= gap:
                    first = index
            elif first == LOW:
                clean += mem[tile + 1]
            captured += mem[tile + 1]
            frauds += mem[tile + 2]
            amount += mem[tile + 3]
    work[out] = captured
    work[out + 1] = frauds
    work[out + 2] = amount
    work[out + 3] = latest
    work[out + 4] = clean
    work[out + 5] = first


# --- distinct ----------------------------------------------------------------------------------------------------


@jit_inline
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
        mem[larger : larger + 2 * n] = mem[offset : offset + 2 * n]
        release(mem, meta, offset, 2 << size)
        offset = larger
        size += 1
    mem[offset + 2 * n] = element
    mem[offset + 2 * n + 1] = t
    mem[at] = (offset << 16) | (size << 8) | (n + 1)


@jit_inline
def see_distinct_cell(mem: I64, sketch: int, element: int, t: int) -> None:
    """Note an element in a sketch."""
    cell = sketch + np.int64(mix(np.uint64(element)) & np.uint64(DISTINCT_CELLS - 1))
    mem[cell] = max(mem[cell], t)


@jit_inline
def count_distinct(mem: I64, word: int, since: int) -> float:
    """Return how many elements were seen at or after `since`."""
    offset = word >> 16
    seen = 0
    if word & SKETCH:
        for i in range(DISTINCT_CELLS):
            seen += mem[offset + i] >= since
        m = float(DISTINCT_CELLS)
        return m * ln(m) if seen == DISTINCT_CELLS else -m * ln(1.0 - seen / m)
    for i in range(word & 255):
        seen += mem[offset + 2 * i + 1] >= since
    return float(seen)


# --- one event ---------------------------------------------------------------------------------------------------


@jit_inline
def locate(row: I64, keys_at: int, memory_ms: int, entities: I64, mem: I64, meta: I64, work: I64) -> None:
    """Write each entity's key, header offset (meant only if seen) and status: ``work[3e : 3e + 3]``."""
    for e in range(entities.shape[0]):
        key = key_of(row, keys_at, entities, e)
        header = find(mem, meta, key) if key != 0 else 0
        status = MISSING_KEY if key == 0 else UNSEEN
        if header != 0 and row[AT] - mem[header + H_LAST] <= memory_ms:
            status = SEEN
        work[3 * e] = key
        work[3 * e + 1] = header
        work[3 * e + 2] = status


@jit_inline
def set_clocks(row: I64, clocks: I64, work: I64, base: int) -> None:
    """Write each window's first step, end (exclusive) and the event's own step: ``work[base + 3c : base + 3c + 3]``."""
    for c in range(clocks.shape[0]):
        step, lagged = clocks[c, C_STEP], row[AT] - clocks[c, C_LAG]
        work[base + 3 * c] = (lagged - clocks[c, C_WINDOW]) // step
        work[base + 3 * c + 1] = lagged // step if clocks[c, C_LAG] > 0 else 2**62
        work[base + 3 * c + 2] = row[T] // step


@jit_inline
def read_streams(entities: I64, clocks: I64, streams: I64, reads: I64, mem: I64, work: I64) -> None:
    """Read every window of every seen entity into ``work``, after the entities."""
    base = 3 * entities.shape[0]
    clocks_at = base + READ * reads.shape[0]
    for e in range(entities.shape[0]):
        if work[3 * e + 2] != SEEN:
            continue
        header = work[3 * e + 1] + H_STREAMS - entities[e, E_STREAMS]
        for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
            for r in range(streams[s, S_READS], streams[s, S_READS_END]):
                clock = clocks_at + 3 * reads[r, R_CLOCK]
                if streams[s, S_LABELS]:
                    gap = clocks[reads[r, R_CLOCK], C_WINDOW] // (RUN_GAP * clocks[reads[r, R_CLOCK], C_STEP])
                    read_labels(mem, mem[header + s], work[clock], work[clock + 1], gap, work, base + READ * r)
                else:
                    read_stream(mem, mem[header + s], work[clock], work[clock + 1], work, base + READ * r)


@jit_inline
def counted(row: I64, kinds: int, value_at: int) -> int:
    """Return the value that the event adds to a stream (0 where it only counts), or MISSING."""
    if kinds & (1 << row[KIND]) == 0:
        return MISSING
    return 0 if value_at < 0 else row[VALUES + value_at]


@jit_inline
def read_nodes(
    row: I64, entities: I64, streams: I64, reads: I64, distincts: I64, nodes: I64, params: F64, mem: I64, work: I64,
    values: F64,
) -> None:  # fmt: skip
    """Evaluate the columns in order into ``values``."""
    base = 3 * entities.shape[0]
    clocks = base + READ * reads.shape[0]
    t = row[AT]
    for c in range(nodes.shape[0]):
        op, a = nodes[c, N_OP], nodes[c, N_A]
        result = np.nan
        if op == VALUE:
            if row[VALUES + a] != MISSING:
                result = row[VALUES + a] * params[c, 0]
        elif op == HOUR:
            result = (row[OCCURRED] % DAY) / 3_600_000.0
        elif op == WEEKDAY:
            result = float((row[OCCURRED] // DAY + 3) % 7)
        elif op == KNOWN:
            result = float(work[3 * a + 2])
        elif op == SINCE_LAST or op == SINCE_FIRST:
            if work[3 * a + 2] == SEEN:
                then = mem[work[3 * a + 1] + (H_LAST_PAYMENT if op == SINCE_LAST else H_FIRST)]
                if then != LOW:
                    result = (t - then) / 1000.0
        elif op == RATIO:
            if values[nodes[c, N_B]] != 0.0:
                result = values[a] / values[nodes[c, N_B]]
        elif op == DISTINCT:
            e = distincts[a, D_ENTITY]
            if work[3 * e + 2] == SEEN:
                streams_of_e = entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
                at = work[3 * e + 1] + H_STREAMS + streams_of_e + a - entities[e, E_DISTINCTS]
                step = nodes[c, N_STEP]
                result = count_distinct(mem, mem[at], (t - nodes[c, N_WINDOW]) // step * step)
        else:
            s = reads[a, R_STREAM]
            status = work[3 * streams[s, S_ENTITY] + 2]
            n, total, highest = 0, 0, LOW
            if status == SEEN:
                n, total, highest = work[base + READ * a], work[base + READ * a + 1], work[base + READ * a + 2]
            if nodes[c, N_OWN] and status != MISSING_KEY:
                value = counted(row, streams[s, S_KINDS], streams[s, S_VALUE])
                clock = clocks + 3 * reads[a, R_CLOCK]
                if value != MISSING and work[clock + 2] >= work[clock]:
                    status = SEEN
                    n += 1
                    total += value
                    highest = max(highest, value)
            if status != SEEN:
                values[c] = result
                continue
            if op == COUNT or op == CAPTURED:
                result = float(n)
            elif op == SUM:
                result = total * params[c, 0]
            elif op == FRAUDS:
                result = float(total)
            elif op == RATE:
                prior = values[nodes[c, N_B]] if nodes[c, N_B] >= 0 else params[c, 1]
                if not prior >= 0.0:
                    prior = params[c, 1]
                result = (total + params[c, 0] * prior) / (n + params[c, 0])
            elif op == FRAUD_MEAN:
                if total > 0:
                    result = highest / total * params[c, 0]
            elif op == SINCE_FRAUD or op == FIRST_FRAUD:
                index = work[base + READ * a + (3 if op == SINCE_FRAUD else 5)]
                if index != LOW:
                    result = (t - index * nodes[c, N_STEP]) / 1000.0
            elif op == CLEAN:
                result = float(work[base + READ * a + 4])
            elif n > 0:
                result = total / n * params[c, 0] if op == MEAN else highest * params[c, 0]
        values[c] = result


@jit_inline
def fold_event(
    row: I64,
    memory_ms: int,
    entities: I64,
    streams: I64,
    clocks_at: int,
    distincts: I64,
    mem: I64,
    meta: I64,
    work: I64,
) -> None:
    """Fold the event into every entity it names."""
    kind, at, t = row[KIND], row[AT], row[T]
    if t < at - memory_ms or kind == _READ_ONLY:
        return
    active = ((1 << kind) & ACTIVITY) != 0
    for e in range(entities.shape[0]):
        if work[3 * e] == 0:
            continue
        header = work[3 * e + 1]
        if work[3 * e + 2] != SEEN:
            if not active:
                continue
            # looked up again: an insertion for this very event may have dropped the forgotten header
            header = find(mem, meta, work[3 * e])
            if header == 0:
                header = insert(mem, meta, entities, e, work[3 * e], at - memory_ms)
            else:
                clear_header(mem, header, empty_header(mem, meta, entities, header))
        if active:
            mem[header + H_FIRST] = min(mem[header + H_FIRST], t)
            mem[header + H_LAST] = max(mem[header + H_LAST], t)
            if kind == 0:
                mem[header + H_LAST_PAYMENT] = max(mem[header + H_LAST_PAYMENT], t)
        fold_streams(row, e, header, entities, streams, clocks_at, mem, meta, work)
        first = header + H_STREAMS + entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
        for d in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
            element = work[3 * distincts[d, D_OF]]
            if element != 0 and distincts[d, D_KINDS] & (1 << kind) and t >= at - distincts[d, D_WINDOW]:
                place_at = first + d - entities[e, E_DISTINCTS]
                see_distinct(mem, meta, place_at, element, t, at - distincts[d, D_WINDOW])


@jit_inline
def fold_streams(
    row: I64, e: int, header: int, entities: I64, streams: I64, clocks_at: int, mem: I64, meta: I64, work: I64
) -> None:
    """Add the event to each stream of one entity that counts its kind."""
    judges = row[CAPTURED_DELTA] != 0 or row[FRAUD_DELTA] != 0
    amount = 0 if row[VALUES] == MISSING else row[VALUES] * row[FRAUD_DELTA]
    header += H_STREAMS - entities[e, E_STREAMS]
    for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
        clock = clocks_at + 3 * streams[s, S_CLOCK]
        lowest, index = work[clock], work[clock + 2]
        if index < lowest:
            continue
        if streams[s, S_LABELS]:
            if judges:
                tile = tile_at(mem, meta, header + s, index, lowest, 0)
                mem[tile + 1] += row[CAPTURED_DELTA]
                mem[tile + 2] += row[FRAUD_DELTA]
                mem[tile + 3] += amount
        else:
            value = counted(row, streams[s, S_KINDS], streams[s, S_VALUE])
            if value != MISSING:
                tile = tile_at(mem, meta, header + s, index, lowest, LOW)
                mem[tile + 1] += 1
                mem[tile + 2] += value
                mem[tile + 3] = max(mem[tile + 3], value)


@jit_inline
def step_event(
    row: I64, asked: bool, keys_at: int, memory_ms: int, entities: I64, clocks: I64, streams: I64, reads: I64,
    distincts: I64, nodes: I64, params: F64, mem: I64, meta: I64, work: I64, values: F64,
) -> None:  # fmt: skip
    """Read the columns as of before the event (into ``values``) if asked, then fold it."""
    locate(row, keys_at, memory_ms, entities, mem, meta, work)
    clocks_at = 3 * entities.shape[0] + READ * reads.shape[0]
    set_clocks(row, clocks, work, clocks_at)
    if asked:
        read_streams(entities, clocks, streams, reads, mem, work)
        read_nodes(row, entities, streams, reads, distincts, nodes, params, mem, work, values)
    fold_event(row, memory_ms, entities, streams, clocks_at, distincts, mem, meta, work)
    meta[NOW] = max(meta[NOW], row[AT])


@jit_inline
def room_needed(entities: I64, streams: I64, distincts: I64, meta: I64) -> int:
    """Return the most words that one event can take from the arena."""
    blocks = streams.shape[0] * TILE * TILES + distincts.shape[0] * (DISTINCT_CELLS + 2 * DISTINCT_EXACT)
    return int(blocks + entities.shape[0] * (64 + 4 * meta[LARGEST] + 2048))


@jit
def run(
    rows: I64, asked: npt.NDArray[np.bool_], start: int, keys_at: int, memory_ms: int, entities: I64, clocks: I64,
    streams: I64, reads: I64, distincts: I64, nodes: I64, params: F64, mem: I64, meta: I64, work: I64, values: F64,
    out: F32,
) -> int:  # fmt: skip
    """Run events ``rows[start:]``, writing the columns of those ``asked`` to successive rows of `out`.

    Returns the index after the last event run: less than ``len(rows)`` when the arena must grow first.
    """
    written = 0
    for i in range(start):
        written += asked[i]
    for i in range(start, rows.shape[0]):
        if meta[BUMP] + room_needed(entities, streams, distincts, meta) > mem.shape[0]:
            return i
        step_event(
            rows[i], asked[i], keys_at, memory_ms, entities, clocks, streams, reads, distincts, nodes, params, mem,
            meta, work, values,
        )  # fmt: skip
        if asked[i]:
            for c in range(nodes.shape[0]):
                out[written, c] = np.float32(values[c])
            written += 1
    return int(rows.shape[0])
