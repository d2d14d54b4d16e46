"""Before an event is read: its keys, the memory that their state needs, and where windows begin and end."""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.row import AT, T
from avalist.features.arena import BUSY, H_FORM, H_LAST, H_STREAMS, find, home_of, mix
from avalist.features.distinct import prefetch_elements
from avalist.features.jit import jit_part, prefetch
from avalist.features.layout import (
    BASE,
    C_LAG,
    C_PLACE,
    C_STEP,
    C_STEPS,
    C_WINDOW,
    CONSTANT,
    E_A,
    E_B,
    E_BUSY,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_FORM,
    E_SALT,
    E_STREAMS,
    E_STREAMS_END,
    I64,
    PLACE,
)  # fmt: skip
from avalist.features.quiet import fill
from avalist.features.tiles import CLOCK, NEVER, prefetch_tiles

MISSING_KEY: Final = 0
UNSEEN: Final = 1
SEEN: Final = 2


@jit_part
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


@jit_part
def locate(row: I64, keys_at: int, memory_ms: int, entities: I64, mem: I64, meta: I64, work: I64) -> None:
    """Write each entity's key to `work`, behind them their headers' offsets (meant only if seen), then their status.

    In passes, so that the waits for memory of all entities overlap.
    """
    keys = entities.shape[0] & PLACE
    for e in range(keys):
        work[e] = key_of(row, keys_at, entities, e)
        prefetch(mem, home_of(meta, work[e]))
    for e in range(keys):
        header = find(mem, meta, work[e]) if work[e] != 0 else 0
        work[keys + e] = header
        prefetch(mem, header)
        prefetch(mem, header + 8)
    for e in range(keys):
        work[2 * keys + e] = status_of(row, work[e], work[keys + e] & PLACE, memory_ms, mem)


@jit_part
def touch(entities: I64, streams: I64, reads: I64, mem: I64, work: I64) -> None:
    """Ask for the memory that seen keys need, in two passes: what follows the headers, then what that names."""
    keys = entities.shape[0] & PLACE
    for e in range(keys):
        if work[2 * keys + e] == SEEN:
            touch_block(e, work[keys + e] & PLACE, entities, mem)
    for e in range(keys):
        if work[2 * keys + e] == SEEN:
            touch_named(e, work[keys + e] & PLACE, entities, streams, reads, mem)


@jit_part
def name_keys(row: I64, keys_at: int, entities: I64, work: I64, at: int) -> None:
    """Write the event's key of each entity to ``work[at:]``."""
    for e in range(entities.shape[0]):
        work[at + e] = key_of(row, keys_at, entities, e)


@jit_part
def status_of(row: I64, key: int, header: int, memory_ms: int, mem: I64) -> int:
    """Return whether a key is missing, seen or not; a header of 0 is none."""
    if key == 0:
        return MISSING_KEY
    return SEEN if header != 0 and row[AT] - mem[header + H_LAST] <= memory_ms else UNSEEN


@jit_part
def touch_block(e: int, header: int, entities: I64, mem: I64) -> None:
    """Ask for the rest of a key's block, whose begin was asked for."""
    form = mem[header + H_FORM]
    words = entities[e, E_BUSY] if form & BUSY else H_STREAMS + entities[e, E_EVENT] * fill(form)
    for at in range(header + 16, header + words, 8):
        prefetch(mem, at)


@jit_part
def touch_named(e: int, header: int, entities: I64, streams: I64, reads: I64, mem: I64) -> None:
    """Ask for the tiles and elements that a busy block names; of a block that moved since, for anything."""
    if mem[header + H_FORM] & BUSY and header + entities[e, E_BUSY] <= mem.shape[0]:
        at = header + H_STREAMS
        for s in range(entities[e, E_STREAMS] & PLACE, entities[e, E_STREAMS_END]):
            prefetch_tiles(mem, header, mem[at], s, streams, reads)
            at += 1
        for _ in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
            prefetch_elements(mem, mem[at])
            at += 1


@jit_part
def stepped(t: int, step: int) -> int:
    """Return t // step for |t| < 2⁵³: a quotient of doubles is never below the whole one, and at most one above."""
    whole = np.int64(np.float64(t) / np.float64(step))
    return int(whole - (whole * step > t))


@jit_part
def step_of(t: int, step: int, guess: int) -> int:
    """Return t // step, without dividing where that is `guess`."""
    return guess if guess * step <= t < guess * step + step else stepped(t, step)


@jit_part
def set_clocks(row: I64, clocks: I64, first: int, end: int, work: I64, base: int) -> None:
    """Write the CLOCK words of some windows to their places in ``work[base:]``."""
    step, lag, own, since = 0, 0, 0, 0
    for c in range(first & PLACE, end):
        window, at = clocks[c, C_WINDOW], base + CLOCK * (clocks[c, C_PLACE] & PLACE)
        if clocks[c, C_STEP] != step or clocks[c, C_LAG] != lag:  # neighbours often share them
            step, lag = clocks[c, C_STEP], clocks[c, C_LAG]
            own = stepped(row[T], step)
            since = own if row[T] == row[AT] - lag else stepped(row[AT] - lag, step)
        steps = clocks[c, C_STEPS]
        work[at] = since - steps if steps >= 0 else stepped(row[AT] - lag - window, step)
        work[at + 1] = since if lag > 0 else NEVER
        work[at + 2] = own
