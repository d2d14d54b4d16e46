"""A merchant's feature state: a fold of its inputs, held in two arrays."""

from __future__ import annotations

import hashlib
import mmap
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from avalist.features import kernel
from avalist.features.arena import (
    BUMP,
    BUSY,
    D_CAP,
    D_OFFSET,
    DIRECTORY,
    ENTITY,
    H_FORM,
    H_KEY,
    H_LAST,
    H_STREAMS,
    LARGEST,
    LIVE,
    META_WORDS,
    NOW,
    QUIET,
    SUBTABLES,
    TILE,
    key_words,
    streams_of,
)  # fmt: skip
from avalist.features.block import CAPACITY, STAGE, run_block, scratch_words
from avalist.features.declare import DISTINCT_CELLS
from avalist.features.distinct import live_elements
from avalist.features.jit import jit
from avalist.features.latest import live_latest
from avalist.features.layout import (
    C_LAG,
    C_STEP,
    C_WINDOW,
    D_KINDS,
    D_PLACE,
    D_WINDOW,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_STREAMS,
    E_STREAMS_END,
    I64,
    L_CLOCK,
    L_ENTITY,
    L_LENGTH,
    MAX_TILES,
    S_CLOCK,
    S_KINDS,
    S_LABELS,
    S_PLACE,
)  # fmt: skip
from avalist.features.plan import Plan
from avalist.features.quiet import elements_of_events, fill, tiles_of_events
from avalist.features.rings import Rings
from avalist.features.tiles import CLOCK, live_tiles
from avalist.features.wave import Watch
from avalist.features.widen import widened

F32 = npt.NDArray[np.float32]
Row = npt.NDArray[np.int64]
_GROWTH_WORDS = 4 << 20
_HUGE_WORDS = 1 << 18
"""From so many words on a state is worth huge pages: before, one would hold all that an idle merchant has, and more."""
_FIRST_CAP = 64
_DIGEST_WORDS = 1 << 16
_EVERY = np.ones(0, dtype=np.bool_)
SHORT = 4096
"""Events that go one by one, at most: of fewer a key has too few together for an order to pay."""
BLOCK = 65_536
"""Events that are run together, key by key, at most."""
QUIET_EVENTS = 16
"""Events that a key keeps before it turns to tiles: no column depends on it."""


class State:
    """What the kernel remembers of one merchant, under one plan. One writer at a time."""

    def __init__(self, plan: Plan, quiet_events: int = QUIET_EVENTS, watch: Watch | None = None) -> None:
        self.plan = plan
        self.watch = watch
        self.rings = Rings(plan.rings)
        self.meta = np.zeros(META_WORDS, dtype=np.int64)
        self.mem = zeroed_pages(_GROWTH_WORDS)
        self._huge = False
        self.meta[BUMP] = 8
        self.meta[NOW] = -(2**62)
        self.meta[QUIET] = quiet_events
        self.meta[LARGEST] = _FIRST_CAP
        for i in range(SUBTABLES):
            self.meta[DIRECTORY + 3 * i + D_OFFSET] = 8 + i * 2 * _FIRST_CAP
            self.meta[DIRECTORY + 3 * i + D_CAP] = _FIRST_CAP
        self.meta[BUMP] += SUBTABLES * 2 * _FIRST_CAP
        self._code, self._params, self._width = plan.code, plan.params, len(plan.columns)
        words = 3 * len(plan.entities) + CLOCK * len(plan.clocks) + kernel.SCRATCH
        self._work = np.zeros(words, dtype=np.int64)
        self._cells = np.full(plan.cells, np.nan)

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
        if self.watch:
            rows = self.watch.fold(rows)
        if len(self.plan.made):
            rows = widened(rows, self.plan.made)
            self.rings.fold(rows)
            rows.flags.writeable = False  # as rows of a log are: to the compiler another type
        out = np.empty((len(rows) if reads is None else np.count_nonzero(reads), self._width), dtype=np.float32)
        asked = _EVERY if reads is None else reads
        if len(rows) > SHORT:
            self._run_blocks(rows, asked, out)
        else:
            self._run_events(rows, asked, out)
        if not self._huge and self.meta[BUMP] > _HUGE_WORDS:
            self._make_huge()
        return out

    def _run_events(self, rows: Row, asked: npt.NDArray[np.bool_], out: F32) -> None:
        """Run rows event by event."""
        done = 0
        while True:
            done = kernel.run(
                rows, asked, done, self._code, self._params, self.mem, self.meta, self._work, self._cells, out
            )
            if done == len(rows):
                return
            self._grow(len(self.mem) + max(_GROWTH_WORDS, self._room()))

    def _run_blocks(self, rows: Row, asked: npt.NDArray[np.bool_], out: F32) -> None:
        """Run rows in blocks, each key by key."""
        plan, capacity = self.plan, 1 << (min(len(rows), BLOCK) - 1).bit_length()
        rows = rows.view()
        rows.flags.writeable = False  # as rows of a log are: to the compiler another type
        work = np.empty(scratch_words(capacity, len(plan.entities), CLOCK * len(plan.clocks)), dtype=np.int64)
        work[STAGE], work[CAPACITY], written = 0, capacity, 0
        cells = np.empty(plan.cells + plan.kept * capacity)
        cells[: plan.cells] = np.nan
        for first in range(0, len(rows), BLOCK):
            part, marked = rows[first : first + BLOCK], asked[first : first + BLOCK]
            to = out[written:]
            while not run_block(part, marked, self._code, self._params, self.mem, self.meta, work, cells, to):
                self._grow(len(self.mem) + max(_GROWTH_WORDS, self._room()))
            written += int(np.count_nonzero(marked)) if len(asked) else len(part)

    def _grow(self, words: int) -> None:
        """Make the arena longer: where the system can, by moving its pages, without a copy."""
        area = self._area()
        if area is not None:
            self.mem = np.zeros(0, dtype=np.int64)
            with suppress(BufferError, OSError):  # somebody else looks at the pages: they are copied
                area.resize(8 * words)
            self.mem = np.frombuffer(area, dtype=np.int64)
        if len(self.mem) < words:
            longer = zeroed_pages(words)
            longer[: len(self.mem)] = self.mem
            self.mem = longer
        self._huge = False

    def _area(self) -> mmap.mmap | None:
        area = getattr(self.mem.base, "obj", None)
        return area if isinstance(area, mmap.mmap) else None

    def _make_huge(self) -> None:
        """Ask for huge pages, where the system has them: a state is read at random."""
        self._huge = True
        area = self._area()
        if area is not None and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):
                area.madvise(mmap.MADV_HUGEPAGE)

    def _room(self) -> int:
        plan = self.plan
        return int(kernel.room_needed(plan.entities, plan.streams, plan.distincts, self.meta))

    def key_bytes(self) -> I64:
        """Return each live key's entity, and the bytes of its blocks and its share of the table; int64 [keys, 2]."""
        plan = self.plan
        headers = _headers(self.mem, self.meta, self.now_ms - plan.memory_ms)
        cells = int(self.meta[DIRECTORY + D_CAP : META_WORDS : 3].sum())
        words = _words(self.mem, headers, plan.entities)
        return np.stack([self.mem[headers + H_FORM] & ENTITY, words * 8 + 16 * cells // max(self.live_keys, 1)], axis=1)

    def digest(self) -> str:
        """Return a hash of everything a later decision could see: entities sorted by key, live values only (I2)."""
        plan = self.plan
        headers = _headers(self.mem, self.meta, self.now_ms - plan.memory_ms)
        headers = headers[np.lexsort((self.mem[headers + H_KEY], self.mem[headers + H_FORM] & ENTITY))]
        most = 5 + len(plan.streams) * (1 + TILE * MAX_TILES) + len(plan.distincts) * (1 + DISTINCT_CELLS)
        most += int((2 + 2 * plan.lists[:, L_LENGTH]).sum())
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
                plan.canonical,
                plan.distincts,
                plan.lists,
                buffer,
            )
            canonical.update(buffer[:filled].astype("<i8", copy=False).data)
        if self.watch:
            canonical.update(self.watch.words.astype("<i8", copy=False).data)
        for nodes in self.rings.canonical():
            canonical.update(np.ascontiguousarray(nodes, dtype="<i8").data)
        return canonical.hexdigest()


def zeroed_pages(words: int) -> I64:
    """Return zeroed words that cost no memory before they are written."""
    if not words or not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(words, dtype=np.int64)
    return np.frombuffer(mmap.mmap(-1, 8 * words, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype=np.int64)


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
        words[i] = key_words(mem, entities, headers[i])
    return words


@jit
def _canonical(
    mem: I64, headers: I64, start: int, most: int, now: int, entities: I64, clocks: I64, streams: I64, canonical: I64,
    distincts: I64, lists: I64, out: I64,
) -> tuple[int, int]:  # fmt: skip
    """Write the live values of keys from `start` on, each at most `most` words, in a fixed order while `out` has room.

    Returns the index after the last key written, and the words filled.
    """
    n = 0
    for i in range(start, len(headers)):
        if n + most > len(out):
            return i, n
        header = headers[i]
        form = mem[header + H_FORM]
        e, width, events = form & ENTITY, entities[form & ENTITY, E_EVENT], header + H_STREAMS
        for w in range(H_STREAMS):
            out[n + w] = mem[header + w]
        out[n + H_FORM] = e
        n += H_STREAMS
        for c in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
            s = canonical[c]
            clock, labels = streams[s, S_CLOCK], streams[s, S_LABELS]
            step = clocks[clock, C_STEP]
            lowest = (now - clocks[clock, C_LAG] - clocks[clock, C_WINDOW]) // step
            out[n] = -1 - c
            if form & BUSY:
                n = live_tiles(mem, mem[header + H_STREAMS + s - entities[e, E_STREAMS]], lowest, out, n + 1)
            else:
                kinds, place = streams[s, S_KINDS], streams[s, S_PLACE]
                n = tiles_of_events(mem, events, width, fill(form), kinds, place, labels, step, lowest, out, n + 1)
        at = header + H_STREAMS + streams_of(entities, e)
        for d in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
            out[n] = -1_000_000 - d
            since = now - distincts[d, D_WINDOW]
            if form & BUSY:
                n = live_elements(mem, mem[at], since, out, n + 1)
            else:
                kinds, place = distincts[d, D_KINDS], distincts[d, D_PLACE]
                n = elements_of_events(mem, events, width, fill(form), kinds, place, since, out, n + 1)
            at += 1
        for i in range(lists.shape[0]):
            if lists[i, L_ENTITY] == e:
                clock = lists[i, L_CLOCK]
                out[n] = -2_000_000 - i
                since = (now - clocks[clock, C_WINDOW]) // clocks[clock, C_STEP] * clocks[clock, C_STEP]
                n = live_latest(mem, header, lists, i, entities, since, out, n + 1)
    return len(headers), n
