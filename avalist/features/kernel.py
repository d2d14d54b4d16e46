"""The one kernel: reads a plan's columns for an event, then folds the event in. Live, replay and training all call it.

An event is located (:mod:`avalist.features.locate`), read (:mod:`avalist.features.read`) and folded
(:mod:`avalist.features.fold`). A quiet key keeps its events (:mod:`avalist.features.quiet`), a busy one tiles
(:mod:`avalist.features.tiles`), sets (:mod:`avalist.features.distinct`) and lists (:mod:`avalist.features.latest`),
with the same values by construction; windows of one step read one stream. Everything is a commutative integer addition,
maximum or minimum at the event's own step, so late events are no special case. What the windows hold goes into cells of
float64 (:mod:`avalist.features.cells`); columns are computed from those.

Events go one by one here. Thousands go through the same parts in another order: :mod:`avalist.features.block`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT
from avalist.features.arena import BUMP, LARGEST, NOW, TILE
from avalist.features.declare import DISTINCT_CELLS, DISTINCT_EXACT
from avalist.features.fold import fold_event
from avalist.features.jit import jit, jit_part, table
from avalist.features.latest import read_lists
from avalist.features.layout import (
    E_BUSY,
    E_EVENT,
    F64,
    G_CLOCKS,
    G_CLOCKS_END,
    G_RUNS,
    G_RUNS_END,
    G_VARIANCES,
    G_VARIANCES_END,
    I64,
    MAX_TILES,
    PLACE,
)  # fmt: skip
from avalist.features.locate import SEEN, locate, set_clocks, touch
from avalist.features.read import compute, read_key, read_row, read_told
from avalist.features.tiles import CLOCK
from avalist.features.variance import compute_variances

F32 = npt.NDArray[np.float32]

SCRATCH: Final = 4 * 256
"""Words in which a quiet key's events are added up."""


@jit
def room_needed(entities: I64, streams: I64, distincts: I64, meta: I64) -> int:
    """Return the most words that one event can take from the arena, as its tables are now."""
    # a key that turns to tiles may make blocks of every size at once
    words = streams.shape[0] * 2 * TILE * MAX_TILES + distincts.shape[0] * (DISTINCT_CELLS + 4 * DISTINCT_EXACT)
    for e in range(entities.shape[0]):
        words += 2048 + entities[e, E_BUSY] + entities[e, E_EVENT] * 256
    return int(words + entities.shape[0] * 4 * meta[LARGEST])


@jit_part
def tables_of(code: I64) -> tuple[I64, ...]:
    """Return a plan's tables (:func:`avalist.features.tables.pack`), in the order of ``WIDTHS``."""
    return (
        table(code, code[4], code[5], 16), table(code, code[6], code[7], 5), table(code, code[8], code[9], 8),
        table(code, code[10], code[11], 8), table(code, code[12], code[13], 8), table(code, code[14], code[15], 7),
        table(code, code[16], code[17], 4), table(code, code[18], code[19], 2), table(code, code[20], code[21], 3),
        table(code, code[22], code[23], 3), table(code, code[24], code[25], 8), table(code, code[26], code[27], 4),
        table(code, code[28], code[29], 2), table(code, code[30], code[31], 15), table(code, code[32], code[33], 2),
    )  # fmt: skip


@jit_part
def compute_stage(stage: int, stages: I64, nodes: I64, runs: I64, variances: I64, params: F64, cells: F64) -> None:
    """Compute the columns of a stage."""
    compute_variances(variances, stages[stage, G_VARIANCES], stages[stage, G_VARIANCES_END], cells)
    compute(nodes, runs, stages[stage, G_RUNS], stages[stage, G_RUNS_END], params, cells)


@jit_part
def step_event(
    row: I64, asked: bool, keys_at: int, memory_ms: int, entities: I64, clocks: I64, feeds: I64, streams: I64,
    reads: I64, distincts: I64, counts: I64, records: I64, nodes: I64, runs: I64, lists: I64, variances: I64, told: I64,
    stages: I64, params: F64, mem: I64, meta: I64, work: I64, cells: F64, out: F32, written: int,
) -> None:  # fmt: skip
    """Read the columns as of before the event into ``out[written]`` if asked, then fold it."""
    keys, whole = entities.shape[0] & PLACE, stages.shape[0] - 1 & PLACE
    clocks_at = 3 * keys
    event = clocks_at + CLOCK * (clocks.shape[0] & PLACE)
    locate(row, keys_at, memory_ms, entities, mem, meta, work)
    set_clocks(row, clocks, stages[whole, G_CLOCKS], stages[whole, G_CLOCKS_END], work, clocks_at)
    touch(entities, streams, reads, mem, work)
    if asked:
        read_row(row, keys_at, out.shape[1], cells)
        read_told(row, told, cells)
        for e in range(keys):
            header, status = work[keys + e] & PLACE, work[2 * keys + e]
            read_key(
                row, e, header, status, entities, feeds, streams, reads, distincts, counts, clocks_at, event, mem, work,
                cells,
            )  # fmt: skip
            read_lists(row, e, header, status == SEEN, entities, clocks, lists, clocks_at, mem, work, cells)
        compute_stage(whole, stages, nodes, runs, variances, params, cells)
        for c in range(out.shape[1]):
            out[written, c] = np.float32(cells[c])
    for e in range(keys):
        fold_event(
            row, e, work[e], work[keys + e] & PLACE, work[2 * keys + e] == SEEN, memory_ms, row[AT] - memory_ms,
            entities, clocks, streams, reads, clocks_at, distincts, counts, records, lists, mem, meta, work, 0, event,
        )  # fmt: skip
    meta[NOW] = max(meta[NOW], row[AT])


@jit
def run(
    rows: I64, asked: npt.NDArray[np.bool_], start: int, code: I64, params: F64, mem: I64, meta: I64, work: I64,
    cells: F64, out: F32,
) -> int:  # fmt: skip
    """Run events ``rows[start:]``, writing the columns of those `asked`, or of all if that is empty, to rows of `out`.

    Returns the index after the last event run: less than ``len(rows)`` when the arena must grow first.
    """
    keys_at, memory_ms = code[0], code[1]
    (
        entities, clocks, feeds, streams, reads, distincts, counts, records, nodes, runs, lists, variances, told,
        stages, _,
    ) = tables_of(code)  # fmt: skip
    every, written = asked.shape[0] == 0, 0
    for i in range(start):
        written += every or asked[i]
    room = room_needed(entities, streams, distincts, meta)
    largest = meta[LARGEST]
    for i in range(start, rows.shape[0]):
        if meta[LARGEST] != largest:
            room = room_needed(entities, streams, distincts, meta)
            largest = meta[LARGEST]
        if meta[BUMP] + room > mem.shape[0]:
            return i
        step_event(
            rows[i], every or asked[i], keys_at, memory_ms, entities, clocks, feeds, streams, reads, distincts, counts,
            records, nodes, runs, lists, variances, told, stages, params, mem, meta, work, cells, out,
            written,
        )  # fmt: skip
        written += every or asked[i]
    return int(rows.shape[0])
