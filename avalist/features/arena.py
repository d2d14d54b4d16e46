"""The arena that holds a merchant's state: blocks of words with free lists, and the table of keys.

State is two int64 arrays, so that a snapshot is a copy and growth is a reallocation:

- ``meta``: the arena's fill, free lists, and the directory of SUBTABLES hash tables: each grows alone, so growth never
  stalls;
- ``mem``: an arena of blocks. A key's block begins ``[key, form, first_t, last_t, last_payment_t]``: `form` packs its
  entity, and BUSY or the fill and capacity of the events that follow (:mod:`avalist.features.quiet`). A busy key has
  a word for each stream and each distinct set instead, which packs a block's offset, size class and fill, then its
  running windows (:mod:`avalist.features.tiles`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.features.declare import DISTINCT_CELLS
from avalist.features.jit import jit_part
from avalist.features.layout import E_BUSY, E_DISTINCTS, E_DISTINCTS_END, E_EVENT, E_STREAMS, E_STREAMS_END, HEADER, I64

# meta
BUMP: Final = 0
LIVE: Final = 1
NOW: Final = 2
LARGEST: Final = 3
QUIET: Final = 4
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
H_FORM: Final = 1
H_FIRST: Final = 2
H_LAST: Final = 3
H_LAST_PAYMENT: Final = 4
H_STREAMS: Final = HEADER

TILE: Final = 4
SKETCH: Final = 1 << 15
LOW: Final = -(2**62)
BUSY: Final = 1 << 32
ENTITY: Final = 0xFFFF
"""Bits of a form: the entity; the events from bit 16, their capacity from bit 24."""


@jit_part
def mix(x: np.uint64) -> np.uint64:
    """Return a 64-bit bijective mix (splitmix64 finaliser; Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit_part
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


@jit_part
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


@jit_part
def release(mem: I64, meta: I64, offset: int, words: int) -> None:
    """Return a block to its free list."""
    c = size_class(words)
    mem[offset] = meta[FREE + c]
    meta[FREE + c] = offset


@jit_part
def home_of(meta: I64, key: int) -> int:
    """Return the offset of the first place where a key may stand."""
    u = np.uint64(key)
    d = DIRECTORY + 3 * np.int64(u >> np.uint64(56))
    return int(meta[d + D_OFFSET] + 2 * (np.int64(u & np.uint64(0x7FFFFFFF)) & (meta[d + D_CAP] - 1)))


@jit_part
def slot_of(mem: I64, meta: I64, key: int) -> int:
    """Return the offset of the key's place in its table, or of the empty one where it would stand."""
    u = np.uint64(key)
    d = DIRECTORY + 3 * np.int64(u >> np.uint64(56))
    base, mask = meta[d + D_OFFSET], meta[d + D_CAP] - 1
    i = np.int64(u & np.uint64(0x7FFFFFFF)) & mask
    while mem[base + 2 * i] != key and mem[base + 2 * i] != 0:
        i = (i + 1) & mask
    return int(base + 2 * i)


@jit_part
def find(mem: I64, meta: I64, key: int) -> int:
    """Return the header's offset, or 0."""
    slot = slot_of(mem, meta, key)
    return int(mem[slot + 1]) if mem[slot] != 0 else 0


@jit_part
def place(mem: I64, base: int, mask: int, key: int, header: int) -> None:
    """Put a key into the first free place of its table."""
    i = np.int64(np.uint64(key) & np.uint64(0x7FFFFFFF)) & mask
    while mem[base + 2 * i] != 0:
        i = (i + 1) & mask
    mem[base + 2 * i] = key
    mem[base + 2 * i + 1] = header


@jit_part
def block_words(entities: I64, form: int) -> int:
    """Return the words of a key's first block."""
    e = form & ENTITY
    return int(entities[e, E_BUSY] if form & BUSY else H_STREAMS + entities[e, E_EVENT] * (form >> 24 & 255))


@jit_part
def words_of(word: int, is_stream: bool) -> int:
    """Return the words of the block that a stream's or a distinct set's word names; 0 if it names none."""
    if word == 0:
        return 0
    if is_stream:
        return TILE << (word >> 8 & 15)
    return DISTINCT_CELLS if word & SKETCH else 2 << (word >> 8 & 15)


@jit_part
def drop_blocks(mem: I64, meta: I64, entities: I64, header: int) -> None:
    """Free a key's blocks."""
    form = mem[header + H_FORM]
    if form & BUSY:
        e = form & ENTITY
        streams, distincts = streams_of(entities, e), distincts_of(entities, e)
        for i in range(streams + distincts):
            word = mem[header + H_STREAMS + i]
            if word != 0:
                release(mem, meta, word >> (24 if i < streams else 16), words_of(word, i < streams))
    release(mem, meta, header, block_words(entities, form))


@jit_part
def streams_of(entities: I64, e: int) -> int:
    """Return how many streams an entity has."""
    return int(entities[e, E_STREAMS_END] - entities[e, E_STREAMS])


@jit_part
def distincts_of(entities: I64, e: int) -> int:
    """Return how many distinct sets an entity has."""
    return int(entities[e, E_DISTINCTS_END] - entities[e, E_DISTINCTS])


@jit_part
def key_words(mem: I64, entities: I64, header: int) -> int:
    """Return how many words a key's blocks take."""
    form = mem[header + H_FORM]
    words = 4 * size_class(block_words(entities, form))
    if form & BUSY:
        e = form & ENTITY
        streams, distincts = streams_of(entities, e), distincts_of(entities, e)
        for i in range(streams + distincts):
            words += 4 * size_class(words_of(mem[header + H_STREAMS + i], i < streams))
    return int(words)


@jit_part
def grow(mem: I64, meta: I64, entities: I64, d: int, forget_before: int) -> None:
    """Rebuild one of the tables without its forgotten keys, at twice the size where the rest still fills it."""
    base, cap = meta[d + D_OFFSET], meta[d + D_CAP]
    kept = 0
    for i in range(cap):
        if mem[base + 2 * i] != 0:
            header = mem[base + 2 * i + 1]
            if mem[header + H_LAST] < forget_before:
                drop_blocks(mem, meta, entities, header)
                meta[LIVE] -= 1
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


@jit_part
def unseen(mem: I64, meta: I64, entities: I64, e: int, key: int) -> int:
    """Return the offset of a new block of a key never seen, with room for one event."""
    header = allocate(mem, meta, H_STREAMS + entities[e, E_EVENT])
    mem[header + H_KEY] = key
    mem[header + H_FORM] = e | 1 << 24
    mem[header + H_FIRST] = 2**62
    mem[header + H_LAST] = LOW
    mem[header + H_LAST_PAYMENT] = LOW
    return header


@jit_part
def insert(mem: I64, meta: I64, entities: I64, e: int, key: int, forget_before: int) -> int:
    """Return the offset of a new block for a key that is not in the table, or is forgotten there."""
    slot = slot_of(mem, meta, key)
    if mem[slot] != 0:
        drop_blocks(mem, meta, entities, mem[slot + 1])
        mem[slot + 1] = unseen(mem, meta, entities, e, key)
        return int(mem[slot + 1])
    d = DIRECTORY + 3 * np.int64(np.uint64(key) >> np.uint64(56))
    if meta[d + D_COUNT] * 5 >= meta[d + D_CAP] * 3:
        grow(mem, meta, entities, int(d), forget_before)
    header = unseen(mem, meta, entities, e, key)
    place(mem, meta[d + D_OFFSET], meta[d + D_CAP] - 1, key, header)
    meta[d + D_COUNT] += 1
    meta[LIVE] += 1
    return header
