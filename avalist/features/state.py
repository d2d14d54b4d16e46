"""A merchant's feature state: a fold of its inputs, held in two arrays."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from avalist.features import kernel
from avalist.features.declare import DISTINCT_CELLS
from avalist.features.jit import jit, jit_inline
from avalist.features.kernel import (
    BUMP,
    D_CAP,
    D_OFFSET,
    DIRECTORY,
    H_ENTITY,
    H_KEY,
    H_LAST,
    H_STREAMS,
    LARGEST,
    LIVE,
    NOW,
    SKETCH,
    SUBTABLES,
    TILE,
    TILES,
)  # fmt: skip
from avalist.features.plan import (
    C_LAG,
    C_STEP,
    C_WINDOW,
    D_WINDOW,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_STREAMS,
    E_STREAMS_END,
    I64,
    S_CLOCK,
    Plan,
)  # fmt: skip

F32 = npt.NDArray[np.float32]
Row = npt.NDArray[np.int64]
_GROWTH_WORDS = 4 << 20
_FIRST_CAP = 64
_DIGEST_WORDS = 1 << 16


class State:
    """What the kernel remembers of one merchant, under one plan. One writer at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.meta = np.zeros(kernel.META_WORDS, dtype=np.int64)
        self.mem = np.zeros(_GROWTH_WORDS, dtype=np.int64)
        self.meta[BUMP] = 8
        self.meta[NOW] = -(2**62)
        self.meta[LARGEST] = _FIRST_CAP
        for i in range(SUBTABLES):
            self.meta[DIRECTORY + 3 * i + D_OFFSET] = 8 + i * 2 * _FIRST_CAP
            self.meta[DIRECTORY + 3 * i + D_CAP] = _FIRST_CAP
        self.meta[BUMP] += SUBTABLES * 2 * _FIRST_CAP
        self._work = np.zeros(
            3 * (len(plan.entities) + len(plan.clocks)) + kernel.READ * len(plan.reads), dtype=np.int64
        )
        self._values = np.full(len(plan.columns), np.nan)
        self._tables = (
            plan.keys_at, plan.memory_ms, plan.entities, plan.clocks, plan.streams, plan.reads, plan.distincts,
            plan.nodes, plan.params,
        )  # fmt: skip

    @property
    def live_keys(self) -> int:
        """Return how many entity keys are held."""
        return int(self.meta[LIVE])

    @property
    def now_ms(self) -> int:
        """Return the arrival time of the last event folded."""
        return int(self.meta[NOW])

    def run(self, rows: Row, reads: npt.NDArray[np.bool_] | None = None) -> F32:
        """Fold `rows` int64 [n, width] in order; return the columns of those marked, float32 [marked, columns].

        A row's columns are read before it is folded, so that it is in its own aggregates only where they ask for it.
        """
        marked = np.ones(len(rows), dtype=np.bool_) if reads is None else reads
        out = np.empty((len(rows) if reads is None else int(reads.sum()), len(self.plan.columns)), dtype=np.float32)
        done = 0
        while True:
            done = kernel.run(rows, marked, done, *self._tables, self.mem, self.meta, self._work, self._values, out)
            if done == len(rows):
                return out
            self.mem.resize(len(self.mem) + max(_GROWTH_WORDS, self._room()), refcheck=False)

    def _room(self) -> int:
        plan = self.plan
        return int(kernel.room_needed(plan.entities, plan.streams, plan.distincts, self.meta))

    def key_bytes(self) -> I64:
        """Return each live key's entity, and the bytes of its blocks and its share of the table; int64 [keys, 2]."""
        plan = self.plan
        headers = _headers(self.mem, self.meta, self.now_ms - plan.memory_ms)
        cells = int(self.meta[DIRECTORY + D_CAP : kernel.META_WORDS : 3].sum())
        words = _words(self.mem, headers, plan.entities)
        return np.stack([self.mem[headers + H_ENTITY], words * 8 + 16 * cells // max(self.live_keys, 1)], axis=1)

    def digest(self) -> str:
        """Return a hash of everything a later decision could see: entities sorted by key, live values only (I2)."""
        plan = self.plan
        headers = _headers(self.mem, self.meta, self.now_ms - plan.memory_ms)
        headers = headers[np.lexsort((self.mem[headers + H_KEY], self.mem[headers + H_ENTITY]))]
        most = 5 + len(plan.streams) * (1 + TILE * TILES) + len(plan.distincts) * (1 + DISTINCT_CELLS)
        buffer = np.empty(max(_DIGEST_WORDS, most), dtype=np.int64)
        canonical = hashlib.blake2b(digest_size=16)
        done = 0
        while done < len(headers):
            done, filled = _canonical(
                self.mem,
                headers,
                done,
                most,
                self.now_ms,
                plan.entities,
                plan.clocks,
                plan.streams,
                plan.distincts,
                buffer,
            )
            canonical.update(buffer[:filled].astype("<i8", copy=False).data)
        return canonical.hexdigest()


@jit
def _headers(mem: I64, meta: I64, forget_before: int) -> I64:
    """Return the offsets of the headers of keys not forgotten."""
    found = np.empty(meta[LIVE], dtype=np.int64)
    n = 0
    for d in range(SUBTABLES):
        base = meta[DIRECTORY + 3 * d + D_OFFSET]
        for i in range(meta[DIRECTORY + 3 * d + D_CAP]):
            if mem[base + 2 * i] != 0 and mem[mem[base + 2 * i + 1] + H_LAST] >= forget_before:
                found[n] = mem[base + 2 * i + 1]
                n += 1
    return found[:n]


@jit
def _words(mem: I64, headers: I64, entities: I64) -> I64:
    """Return how many words the blocks of each header take."""
    words = np.empty(len(headers), dtype=np.int64)
    for i in range(len(headers)):
        words[i] = kernel.key_words(mem, entities, headers[i])
    return words


@jit
def _canonical(
    mem: I64, headers: I64, start: int, most: int, now: int, entities: I64, clocks: I64, streams: I64, distincts: I64,
    out: I64,
) -> tuple[int, int]:  # fmt: skip
    """Write the live values of keys from `start` on, each at most `most` words, in a fixed order while `out` has room.

    Returns the index after the last key written, and the words filled.
    """
    n = 0
    for i in range(start, len(headers)):
        if n + most > len(out):
            return i, n
        header = headers[i]
        e = mem[header + H_ENTITY]
        for w in range(H_STREAMS):
            out[n + w] = mem[header + w]
        n += H_STREAMS
        at = header + H_STREAMS
        for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
            clock = streams[s, S_CLOCK]
            lowest = (now - clocks[clock, C_LAG] - clocks[clock, C_WINDOW]) // clocks[clock, C_STEP]
            out[n] = -1 - s
            n = _live_tiles(mem, mem[at], lowest, out, n + 1)
            at += 1
        for d in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
            out[n] = -1_000_000 - d
            n = _live_elements(mem, mem[at], now - distincts[d, D_WINDOW], out, n + 1)
            at += 1
    return len(headers), n


@jit_inline
def _live_tiles(mem: I64, word: int, lowest: int, out: I64, n: int) -> int:
    """Write a stream's tiles from `lowest` on that are not zero; return the new fill of `out`."""
    for tile in range(word >> 16, (word >> 16) + TILE * (word & 255), TILE):
        if mem[tile] >= lowest and (mem[tile + 1] != 0 or mem[tile + 2] != 0 or mem[tile + 3] != 0):
            for w in range(TILE):
                out[n + w] = mem[tile + w]
            n += TILE
    return n


@jit_inline
def _live_elements(mem: I64, word: int, since: int, out: I64, n: int) -> int:
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
