"""Before an event is read: its keys, where their state is, and where windows begin and end."""

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
    C_STEP,
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
from avalist.features.tiles import CLOCK, prefetch_tiles

MISSING_KEY: Final = 0
UNSEEN: Final = 1
SEEN: Final = 2
NEVER: Final = 2**62


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
    """Write each entity's key, header offset (meant only if seen) and status: ``work[3e : 3e + 3]``.

    In passes, so that the waits for memory of all entities overlap.
    """
    for e in range(entities.shape[0]):
        work[3 * e] = key_of(row, keys_at, entities, e)
        prefetch(mem, home_of(meta, work[3 * e]))
    for e in range(entities.shape[0]):
        header = find(mem, meta, work[3 * e]) if work[3 * e] != 0 else 0
        work[3 * e + 1] = header
        prefetch(mem, header)
        prefetch(mem, header + 8)
    for e in range(entities.shape[0]):
        header = work[3 * e + 1] & PLACE
        status = MISSING_KEY if work[3 * e] == 0 else UNSEEN
        if header != 0 and row[AT] - mem[header + H_LAST] <= memory_ms:
            status = SEEN
        work[3 * e + 2] = status


@jit_part
def touch(entities: I64, streams: I64, reads: I64, mem: I64, work: I64) -> None:
    """Ask for the memory that seen keys need, in two passes: what follows the headers, then what that names."""
    for e in range(entities.shape[0]):
        if work[3 * e + 2] == SEEN:
            header = work[3 * e + 1] & PLACE
            form = mem[header + H_FORM]
            words = entities[e, E_BUSY] if form & BUSY else H_STREAMS + entities[e, E_EVENT] * fill(form)
            for at in range(header + 16, header + words, 8):
                prefetch(mem, at)
    for e in range(entities.shape[0]):
        header = work[3 * e + 1] & PLACE
        if work[3 * e + 2] == SEEN and mem[header + H_FORM] & BUSY:
            at = header + H_STREAMS
            for s in range(entities[e, E_STREAMS] & PLACE, entities[e, E_STREAMS_END]):
                prefetch_tiles(mem, header, mem[at], s, streams, reads)
                at += 1
            for _ in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
                prefetch_elements(mem, mem[at])
                at += 1


@jit_part
def stepped(t: int, step: int, guess: int) -> int:
    """Return t // step, without dividing where that is `guess`, the answer for the event before."""
    return guess if guess * step <= t < guess * step + step else t // step


@jit_part
def set_clocks(row: I64, clocks: I64, work: I64, base: int) -> None:
    """Write the CLOCK words of each window to ``work[base:]``."""
    for c in range(clocks.shape[0]):
        step, lagged, at = clocks[c, C_STEP], row[AT] - clocks[c, C_LAG], base + CLOCK * c
        work[at] = stepped(lagged - clocks[c, C_WINDOW], step, work[at])
        work[at + 2] = stepped(row[T], step, work[at + 2])
        work[at + 3] = work[at] * step
        if clocks[c, C_LAG] > 0:
            work[at + 1] = stepped(lagged, step, work[at + 1])
            work[at + 4] = work[at + 1] * step
        else:
            work[at + 1] = work[at + 4] = NEVER
