"""The one kernel: reads a plan's columns for an event, then folds the event in. Live, replay and training all call it.

Events come in blocks: of one when live, of thousands in replay. What a key holds depends on its own events alone, so a
block goes by stages: first what the rows say themselves, then entity by entity and key by key, each through its events
in their order (:mod:`avalist.features.block`). So a key's state is fetched once a block, and the next keys' is asked
for meanwhile (:mod:`avalist.features.locate`). An event is read (:mod:`avalist.features.read`), then folded
(:mod:`avalist.features.fold`). A quiet key keeps its events (:mod:`avalist.features.quiet`), a busy one tiles
(:mod:`avalist.features.tiles`), sets (:mod:`avalist.features.distinct`) and lists (:mod:`avalist.features.latest`),
with the same values by construction; windows of one step read one stream. Everything is a commutative integer addition,
maximum or minimum at the event's own step, so late events are no special case. What the windows hold goes into cells of
float64 (:mod:`avalist.features.cells`); a stage computes its columns from those and from what others kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT
from avalist.features.arena import BUMP, LARGEST, NOW, TILE, find, home_of
from avalist.features.block import (
    BY_EVENT,
    CAPACITY,
    CLOCKS_AT,
    NEXT,
    Q_END,
    Q_HEADER,
    Q_KEY,
    Q_STAGE,
    RUN,
    RUN_WORDS,
    RUNS,
    SCRATCH,
    go_by_event,
    go_by_key,
)  # fmt: skip
from avalist.features.declare import DISTINCT_CELLS, DISTINCT_EXACT
from avalist.features.fold import fold_event
from avalist.features.jit import jit, jit_part, prefetch, table
from avalist.features.latest import read_lists
from avalist.features.layout import (
    E_BUSY,
    E_EVENT,
    F64,
    G_CLOCKS,
    G_CLOCKS_END,
    G_COLUMN,
    G_COLUMN_END,
    G_ENTITY,
    G_KEPT,
    G_KEPT_END,
    G_NODES,
    G_NODES_END,
    G_RUNS,
    G_RUNS_END,
    G_TAKEN,
    G_TAKEN_END,
    G_VARIANCES,
    G_VARIANCES_END,
    I64,
    MAX_TILES,
    N_CELL,
    O_CELL,
    O_PLACE,
    PLACE,
)  # fmt: skip
from avalist.features.locate import SEEN, name_keys, set_clocks, status_of, touch_block, touch_named
from avalist.features.read import compute, read_key, read_row, read_told
from avalist.features.tiles import CLOCK
from avalist.features.variance import compute_variances

F32 = npt.NDArray[np.float32]

_AHEAD: Final = (24, 16, 10, 4)
"""How many keys ahead memory is asked for: a key's place in its table, its block's begin, its rest, what that names.

Where events go one by one: each for all keys of an event at once, so that the waits for memory overlap.
"""
_NOTE, _EVENT = 24, 12
"""How many events ahead what was noted of an event is asked for, and the rest of it."""
_LINE: Final = 16
"""Columns in a line of memory."""


@jit
def room_needed(entities: I64, streams: I64, distincts: I64, meta: I64) -> int:
    """Return the most words that one event can take from the arena, as its tables are now."""
    # a key that turns to tiles may make blocks of every size at once
    words = streams.shape[0] * 2 * TILE * MAX_TILES + distincts.shape[0] * (DISTINCT_CELLS + 4 * DISTINCT_EXACT)
    for e in range(entities.shape[0]):
        words += 2048 + entities[e, E_BUSY] + entities[e, E_EVENT] * 256
    return int(words + entities.shape[0] * 4 * meta[LARGEST])


@jit_part
def write_columns(
    stage: int, stages: I64, nodes: I64, runs: I64, variances: I64, handed: I64, params: F64, cells: F64,
    kept: int, out: F32, place: int,
) -> None:  # fmt: skip
    """Compute the columns of a stage and write them to ``out[place]``; take and keep what stages share of the event."""
    for m in range(stages[stage, G_TAKEN] & PLACE, stages[stage, G_TAKEN_END]):
        cells[handed[m, O_CELL] & PLACE] = cells[kept + (handed[m, O_PLACE] & PLACE)]
    compute_variances(variances, stages[stage, G_VARIANCES], stages[stage, G_VARIANCES_END], cells)
    compute(nodes, runs, stages[stage, G_RUNS], stages[stage, G_RUNS_END], params, cells)
    for m in range(stages[stage, G_KEPT] & PLACE, stages[stage, G_KEPT_END]):
        cells[kept + (handed[m, O_PLACE] & PLACE)] = cells[handed[m, O_CELL] & PLACE]
    if stage == stages.shape[0] - 1:
        for column in range(out.shape[1]):
            out[place, column] = np.float32(cells[column])
    else:
        for c in range(stages[stage, G_NODES] & PLACE, stages[stage, G_NODES_END]):
            column = nodes[c, N_CELL] & PLACE
            out[place, column] = np.float32(cells[column])


@jit_part
def begin_block(
    rows: I64, asked: npt.NDArray[np.bool_], keys_at: int, width: int, entities: I64, meta: I64, work: I64, notes: int
) -> None:
    """Note each event's keys and the row of its columns."""
    every, written = asked.shape[0] == 0, 0
    for i in range(rows.shape[0]):
        note = notes + i * width
        meta[NOW] = max(meta[NOW], rows[i, AT])
        name_keys(rows[i], keys_at, entities, work, note + 1)
        work[note] = written if every or asked[i] else -1
        written += every or asked[i]


@jit_part
def write_rows(
    rows: I64, keys_at: int, width: int, nodes: I64, runs: I64, variances: I64, told: I64, stages: I64, handed: I64,
    params: F64, work: I64, cells: F64, kept_at: int, kept_cells: int, out: F32, notes: int,
) -> None:  # fmt: skip
    """Write the columns that need each event's row alone."""
    for i in range(rows.shape[0]):
        written = work[notes + i * width]
        if written >= 0:
            read_row(rows[i], keys_at, out.shape[1], cells)
            read_told(rows[i], told, cells)
            kept = kept_at + i * kept_cells
            write_columns(0, stages, nodes, runs, variances, handed, params, cells, kept, out, written)


@jit_part
def ask_for_keys(
    u: int, first: int, last: int, ahead: tuple[int, int, int, int], plan: int, entities: I64, streams: I64, reads: I64,
    stages: I64, mem: I64, meta: I64, work: I64,
) -> None:  # fmt: skip
    """Ask for the memory that the runs after `u` will need, in four passes: each names what the next one asks for."""
    home, found, rest, named = ahead
    if first <= u + home < last:
        prefetch(mem, home_of(meta, work[plan + RUN_WORDS * (u + home) + Q_KEY]))
    if first <= u + found < last:
        at = plan + RUN_WORDS * (u + found)
        header = find(mem, meta, work[at + Q_KEY]) if work[at + Q_KEY] != 0 else 0
        work[at + Q_HEADER] = header  # for now: it may move until its run comes
        prefetch(mem, header)
        prefetch(mem, header + 8)
    if first <= u + rest < last:
        at = plan + RUN_WORDS * (u + rest)
        touch_block(stages[work[at + Q_STAGE] & PLACE, G_ENTITY] & PLACE, work[at + Q_HEADER] & PLACE, entities, mem)
    if first <= u + named < last:
        at = plan + RUN_WORDS * (u + named)
        e = stages[work[at + Q_STAGE] & PLACE, G_ENTITY] & PLACE
        touch_named(e, work[at + Q_HEADER] & PLACE, entities, streams, reads, mem)


@jit_part
def ask_for_event(
    rows: I64, p: int, stage: int, width: int, stages: I64, work: I64, notes: int, order: int, cells: F64, kept_at: int,
    kept_cells: int, out: F32,
) -> None:  # fmt: skip
    """Ask for what belongs to events that come later in the order: their notes, then the rest."""
    ordered = rows.shape[0] * (width - 1)
    if p + _NOTE < ordered:
        prefetch(work, notes + work[order + p + _NOTE] * width)
    if p + _EVENT < ordered:
        i = work[order + p + _EVENT]
        prefetch(rows, i * rows.shape[1])
        prefetch(rows, i * rows.shape[1] + rows.shape[1] - 1)
        prefetch(cells, kept_at + i * kept_cells)
        prefetch(cells, kept_at + i * kept_cells + kept_cells)
        place = max(work[notes + i * width], 0)
        for c in range(stages[stage, G_COLUMN], stages[stage, G_COLUMN_END], _LINE):
            prefetch(out, place * out.shape[1] + c)


@jit
def run(
    rows: I64, asked: npt.NDArray[np.bool_], code: I64, params: F64, mem: I64, meta: I64, work: I64, cells: F64,
    out: F32,
) -> bool:  # fmt: skip
    """Run the events of a block, writing the columns of those `asked`, or of all if that is empty, to rows of `out`.

    Returns False when the arena must grow first: the next call goes on.
    """
    keys_at, memory_ms, kept_at, kept_cells = code[0], code[1], code[2], code[3]
    entities, clocks = table(code, code[4], code[5], 16), table(code, code[6], code[7], 5)
    feeds, streams = table(code, code[8], code[9], 8), table(code, code[10], code[11], 8)
    reads, distincts = table(code, code[12], code[13], 8), table(code, code[14], code[15], 7)
    counts, records = table(code, code[16], code[17], 4), table(code, code[18], code[19], 2)
    nodes, runs = table(code, code[20], code[21], 3), table(code, code[22], code[23], 3)
    lists, variances = table(code, code[24], code[25], 8), table(code, code[26], code[27], 4)
    told, stages = table(code, code[28], code[29], 2), table(code, code[30], code[31], 15)
    handed = table(code, code[32], code[33], 2)
    n, width, capacity = rows.shape[0], stages.shape[0] - 1, work[CAPACITY]
    short = work[BY_EVENT] != 0 and width > 1
    scratch = CLOCKS_AT + CLOCK * clocks.shape[0] & PLACE
    notes = scratch + SCRATCH
    plan = notes + capacity * width
    order = plan + RUN_WORDS * capacity * (width - 1)
    if work[RUNS] == 0:
        begin_block(rows, asked, keys_at, width, entities, meta, work, notes)
        work[RUN] = work[NEXT] = 0
        if short:
            work[RUNS] = go_by_event(n, width, stages, work, notes, plan, order)
        else:
            work[RUNS] = go_by_key(n, width, stages, work, notes, plan, order, order + capacity * (width - 1))
            write_rows(
                rows, keys_at, width, nodes, runs, variances, told, stages, handed, params, work, cells, kept_at,
                kept_cells, out, notes,
            )  # fmt: skip
    room, largest = room_needed(entities, streams, distincts, meta), meta[LARGEST]
    # a table that grows must not forget a key that an earlier event of the block, run later, may still see
    forget_before = rows[0, AT] - memory_ms if n else 0
    first, last = work[RUN], work[RUNS]
    keys = entities.shape[0]
    ahead = (4 * keys, 3 * keys, 2 * keys, keys) if short else _AHEAD
    for u in range(first - ahead[0], last):
        ask_for_keys(u, first, last, ahead, plan, entities, streams, reads, stages, mem, meta, work)
        if u < first:
            continue
        at = plan + RUN_WORDS * u
        stage, key = work[at + Q_STAGE] & PLACE, work[at + Q_KEY]
        e, header = stages[stage, G_ENTITY] & PLACE, find(mem, meta, key) if key != 0 else 0
        for p in range(work[NEXT], work[at + Q_END]):
            if not short:
                ask_for_event(rows, p, stage, width, stages, work, notes, order, cells, kept_at, kept_cells, out)
            i, header = work[order + p] & PLACE, header & PLACE
            row, note = rows[i], notes + i * width
            if not short or stage == 1:
                if meta[LARGEST] != largest:
                    room, largest = room_needed(entities, streams, distincts, meta), meta[LARGEST]
                if meta[BUMP] + room > mem.shape[0]:
                    work[RUN], work[NEXT] = u, p
                    return False
                of = 0 if short else stage  # of an event that goes alone, all clocks at once
                set_clocks(row, clocks, stages[of, G_CLOCKS], stages[of, G_CLOCKS_END], work, CLOCKS_AT)
            status = status_of(row, key, header, memory_ms, mem)
            if work[note] >= 0:
                read_key(
                    row, e, header, status, entities, feeds, streams, reads, distincts, counts, CLOCKS_AT, scratch,
                    mem, work, cells,
                )  # fmt: skip
                read_lists(row, e, header, status == SEEN, entities, lists, CLOCKS_AT, mem, work, cells)
                if short and stage == width - 1:
                    read_row(row, keys_at, out.shape[1], cells)
                    read_told(row, told, cells)
                if not short or stage == width - 1:
                    kept, of = kept_at + i * kept_cells, width if short else stage
                    write_columns(of, stages, nodes, runs, variances, handed, params, cells, kept, out, work[note])
            header = fold_event(
                row, e, key, header, status == SEEN, memory_ms, forget_before, entities, clocks, streams, reads,
                CLOCKS_AT, distincts, counts, records, lists, mem, meta, work, note + 1, scratch,
            )  # fmt: skip
        work[NEXT] = work[at + Q_END]
    work[RUNS] = 0
    return True
