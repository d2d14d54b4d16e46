"""A merchant's feature state: a fold of its inputs, held in two arrays."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from avalist.features import kernel
from avalist.features.declare import DISTINCT_CELLS
from avalist.features.jit import jit
from avalist.features.kernel import (
    BUMP, D_CAP, D_OFFSET, DIRECTORY, H_ENTITY, H_FIRST, H_KEY, H_LAST, H_LAST_PAYMENT, H_STREAMS, LARGEST, LIVE, NOW,
    SKETCH, SUBTABLES, TILE,
)  # fmt: skip
from avalist.features.plan import (
    D_WINDOW, E_DISTINCTS, E_DISTINCTS_END, E_STREAMS, E_STREAMS_END, I64, S_LAG, S_STEP, S_WINDOW, Plan,
)  # fmt: skip

F32 = npt.NDArray[np.float32]
Row = npt.NDArray[np.int64]
_GROWTH_WORDS = 4 << 20
_FIRST_CAP = 64


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
        self._work = np.zeros(3 * (len(plan.entities) + len(plan.streams)) + 8, dtype=np.int64)
        self._values = np.full(len(plan.columns), np.nan)
        self._tables = (
            plan.keys_at, plan.memory_ms, plan.entities, plan.streams, plan.distincts, plan.nodes, plan.params,
        )  # fmt: skip
        self._one = np.ones(1, dtype=np.bool_), np.zeros(1, dtype=np.bool_)

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

        A row's columns are read before it is folded, so that it is not in its own aggregates.
        """
        marked = np.ones(len(rows), dtype=np.bool_) if reads is None else reads
        out = np.empty((int(marked.sum()), len(self.plan.columns)), dtype=np.float32)
        done = 0
        while True:
            done = kernel.run(
                rows, marked, done, *self._tables, self.mem, self.meta, self._work, self._values, out
            )
            if done == len(rows):
                return out
            self.mem.resize(len(self.mem) + max(_GROWTH_WORDS, self._room()), refcheck=False)

    def step(self, row: Row, *, reads: bool = True) -> F32:
        """Read the columns for one event, then fold it; float32 [columns], or [0] when nothing was read."""
        out = self.run(row.reshape(1, -1), self._one[0] if reads else self._one[1])
        return out[0] if reads else out.reshape(-1)

    def _room(self) -> int:
        plan = self.plan
        return int(kernel.room_needed(plan.entities, plan.streams, plan.distincts, self.meta))

    def digest(self) -> str:
        """Return a hash of everything a later decision could see: entities sorted by key, live values only (I2)."""
        plan = self.plan
        headers = _headers(self.mem, self.meta, self.now_ms - plan.memory_ms)
        order = np.lexsort((self.mem[headers + H_KEY], self.mem[headers + H_ENTITY]))
        canonical = hashlib.blake2b(digest_size=16)
        names = np.argsort(np.argsort(np.array(plan.entity_names)))
        for header in headers[order]:
            words = _canonical(
                self.mem, int(header), self.now_ms, plan.entities, plan.streams, plan.distincts
            )
            words[1] = names[words[1]]
            canonical.update(words.astype("<i8").tobytes())
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
def _canonical(mem: I64, header: int, now: int, entities: I64, streams: I64, distincts: I64) -> I64:
    """Return one key's live values in a fixed order."""
    entity = entities[mem[header + H_ENTITY]]
    first_distinct = header + H_STREAMS + entity[E_STREAMS_END] - entity[E_STREAMS]
    out = np.empty(8 + 72 * TILE * (len(streams) + 1) + (len(distincts) + 1) * (DISTINCT_CELLS + 4), dtype=np.int64)
    out[0] = mem[header + H_KEY]
    out[1] = mem[header + H_ENTITY]
    out[2] = mem[header + H_FIRST]
    out[3] = mem[header + H_LAST]
    out[4] = mem[header + H_LAST_PAYMENT]
    n = 5
    for s in range(entity[E_STREAMS], entity[E_STREAMS_END]):
        word = mem[header + H_STREAMS + s - entity[E_STREAMS]]
        lowest = (now - streams[s, S_LAG] - streams[s, S_WINDOW]) // streams[s, S_STEP]
        out[n] = -1 - s
        n += 1
        for i in range(word & 255):
            tile = (word >> 16) + TILE * i
            if mem[tile] >= lowest and (mem[tile + 1] != 0 or mem[tile + 2] != 0):
                out[n : n + TILE] = mem[tile : tile + TILE]
                n += TILE
    for d in range(entity[E_DISTINCTS], entity[E_DISTINCTS_END]):
        word = mem[first_distinct + d - entity[E_DISTINCTS]]
        since = now - distincts[d, D_WINDOW]
        out[n] = -1_000_000 - d
        n += 1
        offset = word >> 16
        if word & SKETCH:
            for i in range(DISTINCT_CELLS):
                out[n + i] = mem[offset + i] if mem[offset + i] >= since else 0
            n += DISTINCT_CELLS
        else:
            live = np.empty((word & 255, 2), dtype=np.int64)
            m = 0
            for i in range(word & 255):
                if mem[offset + 2 * i + 1] >= since:
                    live[m, 0] = mem[offset + 2 * i]
                    live[m, 1] = mem[offset + 2 * i + 1]
                    m += 1
            for i in np.argsort(live[:m, 0]):
                out[n] = live[i, 0]
                out[n + 1] = live[i, 1]
                n += 2
    return out[:n].copy()
