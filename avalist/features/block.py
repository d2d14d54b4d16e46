"""The kernel over thousands of events at once: they go key by key.

What a key holds depends on its own events alone. So a block goes by stages: first what the rows say themselves, then
entity by entity and key by key, each through its events in their order, by the parts of :mod:`avalist.features.kernel`.
So a key's state is fetched once a block, and the next keys' is asked for meanwhile. A stage computes the columns that
are known by then; cells that another needs are kept for each event.

The scratch holds, behind its head, the clocks and room to add up a quiet key's events; for each event a note: the row
of its columns (−1: not asked for) and its keys; of one stage at a time the runs, each a key of its entity, the order of
the events, run by run, and room to make it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT
from avalist.features.arena import BUMP, LARGEST, NOW, find, home_of
from avalist.features.fold import fold_event
from avalist.features.jit import jit, jit_part, prefetch
from avalist.features.kernel import F32, SCRATCH, compute_stage, room_needed, tables_of
from avalist.features.latest import read_lists
from avalist.features.layout import (
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
    G_TAKEN,
    G_TAKEN_END,
    I64,
    N_CELL,
    O_CELL,
    O_PLACE,
    PLACE,
)  # fmt: skip
from avalist.features.locate import SEEN, name_keys, set_clocks, status_of, touch_block, touch_named
from avalist.features.read import read_key, read_row, read_told
from avalist.features.tiles import CLOCK

# the scratch's head: the stage to go on with (0: not begun), how many runs it has (0: not listed), the run to go on
# with, and its event in the order; and for how many events there is room: a power of two
STAGE, RUNS, RUN, NEXT, CAPACITY = range(5)
CLOCKS_AT: Final = 5
# columns of the runs: a key, the end of its events in the order, where its state was found ahead
Q_KEY, Q_END, Q_HEADER = range(3)
RUN_WORDS: Final = 3
_HOME, _FIND, _REST, _NAMED = 24, 16, 10, 4
"""How many keys ahead memory is asked for: a key's place in its table, its block's begin, its rest, what that names."""
_NOTE, _EVENT = 24, 12
"""How many events ahead what was noted of an event is asked for, and the rest of it."""
_LINE: Final = 16
"""Columns in a line of memory."""


def scratch_words(events: int, entities: int, clock_words: int) -> int:
    """Return how many words a block of so many events needs."""
    return CLOCKS_AT + clock_words + SCRATCH + events * (1 + entities + RUN_WORDS + 4)


@jit_part
def go_by_key(n: int, e: int, width: int, work: I64, notes: int, plan: int, order: int, homes: int) -> int:
    """List the runs of an entity, and order the events by them; return how many runs there are.

    ``work[homes:]`` takes a table of the runs by key, then each event's run.
    """
    count, size = 0, 2
    while size < 2 * n:
        size *= 2
    mask, named = size - 1, homes + size
    work[homes:named] = 0
    for i in range(n):
        key = work[notes + i * width + 1 + e]
        slot = np.int64(np.uint64(key) >> np.uint64(20)) & mask
        run = work[homes + slot] - 1
        while run >= 0 and work[plan + RUN_WORDS * run + Q_KEY] != key:
            slot = (slot + 1) & mask
            run = work[homes + slot] - 1
        if run < 0:
            run = count
            count += 1
            work[homes + slot] = count
            work[plan + RUN_WORDS * run + Q_KEY], work[plan + RUN_WORDS * run + Q_END] = key, 0
        work[named + i] = run
        work[plan + RUN_WORDS * run + Q_END] += 1
    begin = 0
    for run in range(count):
        begin, work[plan + RUN_WORDS * run + Q_END] = begin + work[plan + RUN_WORDS * run + Q_END], begin
    for i in range(n):
        at = plan + RUN_WORDS * work[named + i] + Q_END
        work[order + work[at]] = i
        work[at] += 1
    return count


@jit_part
def write_columns(
    stage: int, stages: I64, nodes: I64, runs: I64, variances: I64, handed: I64, params: F64, cells: F64,
    kept: int, out: F32, place: int,
) -> None:  # fmt: skip
    """Compute the columns of a stage and write them to ``out[place]``; take and keep what stages share of the event."""
    for m in range(stages[stage, G_TAKEN] & PLACE, stages[stage, G_TAKEN_END]):
        cells[handed[m, O_CELL] & PLACE] = cells[kept + (handed[m, O_PLACE] & PLACE)]
    compute_stage(stage, stages, nodes, runs, variances, params, cells)
    for m in range(stages[stage, G_KEPT] & PLACE, stages[stage, G_KEPT_END]):
        cells[kept + (handed[m, O_PLACE] & PLACE)] = cells[handed[m, O_CELL] & PLACE]
    for c in range(stages[stage, G_NODES] & PLACE, stages[stage, G_NODES_END]):
        column = nodes[c, N_CELL] & PLACE
        out[place, column] = np.float32(cells[column])


@jit_part
def begin_block(
    rows: I64, asked: npt.NDArray[np.bool_], keys_at: int, width: int, entities: I64, nodes: I64, runs: I64,
    variances: I64, told: I64, stages: I64, handed: I64, params: F64, meta: I64, work: I64, cells: F64, kept_at: int,
    kept_cells: int, out: F32, notes: int,
) -> None:  # fmt: skip
    """Note each event's keys and the row of its columns, and write the columns that need nothing else."""
    every, written = asked.shape[0] == 0, 0
    for i in range(rows.shape[0]):
        row, note, kept = rows[i], notes + i * width, kept_at + i * kept_cells
        meta[NOW] = max(meta[NOW], row[AT])
        name_keys(row, keys_at, entities, work, note + 1)
        work[note] = -1
        if every or asked[i]:
            work[note] = written
            read_row(row, keys_at, out.shape[1], cells)
            read_told(row, told, cells)
            write_columns(0, stages, nodes, runs, variances, handed, params, cells, kept, out, written)
            written += 1


@jit_part
def ask_for_keys(
    u: int, e: int, first: int, last: int, plan: int, entities: I64, streams: I64, reads: I64, mem: I64, meta: I64,
    work: I64,
) -> None:  # fmt: skip
    """Ask for the memory that the runs after `u` will need, in four passes: each names what the next one asks for."""
    if first <= u + _HOME < last:
        prefetch(mem, home_of(meta, work[plan + RUN_WORDS * (u + _HOME) + Q_KEY]))
    if first <= u + _FIND < last:
        at = plan + RUN_WORDS * (u + _FIND)
        header = find(mem, meta, work[at + Q_KEY]) if work[at + Q_KEY] != 0 else 0
        work[at + Q_HEADER] = header  # for now: it may move until its run comes
        prefetch(mem, header)
        prefetch(mem, header + 8)
    if first <= u + _REST < last:
        touch_block(e, work[plan + RUN_WORDS * (u + _REST) + Q_HEADER] & PLACE, entities, mem)
    if first <= u + _NAMED < last:
        touch_named(e, work[plan + RUN_WORDS * (u + _NAMED) + Q_HEADER] & PLACE, entities, streams, reads, mem)


@jit_part
def ask_for_event(
    rows: I64, p: int, stage: int, width: int, stages: I64, work: I64, notes: int, order: int, cells: F64, kept_at: int,
    kept_cells: int, out: F32,
) -> None:  # fmt: skip
    """Ask for what belongs to events that come later in the order: their notes, then the rest."""
    if p + _NOTE < rows.shape[0]:
        prefetch(work, notes + work[order + p + _NOTE] * width)
    if p + _EVENT < rows.shape[0]:
        i = work[order + p + _EVENT]
        prefetch(rows, i * rows.shape[1])
        prefetch(rows, i * rows.shape[1] + rows.shape[1] - 1)
        if stages[stage, G_TAKEN] < stages[stage, G_TAKEN_END] or stages[stage, G_KEPT] < stages[stage, G_KEPT_END]:
            prefetch(cells, kept_at + i * kept_cells)
            prefetch(cells, kept_at + i * kept_cells + kept_cells)
        place = max(work[notes + i * width], 0)
        for c in range(stages[stage, G_COLUMN], stages[stage, G_COLUMN_END], _LINE):
            prefetch(out, place * out.shape[1] + c)


@jit
def run_block(
    rows: I64, asked: npt.NDArray[np.bool_], code: I64, params: F64, mem: I64, meta: I64, work: I64, cells: F64,
    out: F32,
) -> bool:  # fmt: skip
    """Run the events of a block, writing the columns of those `asked`, or of all if that is empty, to rows of `out`.

    Returns False when the arena must grow first: the next call goes on.
    """
    keys_at, memory_ms, kept_at, kept_cells = code[0], code[1], code[2], code[3]
    (
        entities, clocks, feeds, streams, reads, distincts, counts, records, nodes, runs, lists, variances, told,
        stages, handed,
    ) = tables_of(code)  # fmt: skip
    n, width, capacity = rows.shape[0], stages.shape[0] - 1, work[CAPACITY]
    scratch = CLOCKS_AT + CLOCK * clocks.shape[0] & PLACE
    notes = scratch + SCRATCH
    plan = notes + capacity * width
    order = plan + RUN_WORDS * capacity
    homes = order + capacity
    if work[STAGE] == 0:
        begin_block(
            rows, asked, keys_at, width, entities, nodes, runs, variances, told, stages, handed, params, meta, work,
            cells, kept_at, kept_cells, out, notes,
        )  # fmt: skip
        work[STAGE], work[RUNS] = 1, 0
    room, largest = room_needed(entities, streams, distincts, meta), meta[LARGEST]
    # a table that grows must not forget a key that an earlier event of the block, run later, may still see
    forget_before = rows[0, AT] - memory_ms if n else 0
    for stage in range(work[STAGE] & PLACE, width):
        e = stages[stage, G_ENTITY] & PLACE
        if work[RUNS] == 0:
            work[RUNS], work[RUN], work[NEXT] = go_by_key(n, e, width, work, notes, plan, order, homes), 0, 0
        first, last = work[RUN], work[RUNS]
        for u in range(first - _HOME, last):
            ask_for_keys(u, e, first, last, plan, entities, streams, reads, mem, meta, work)
            if u < first:
                continue
            key, end = work[plan + RUN_WORDS * u + Q_KEY], work[plan + RUN_WORDS * u + Q_END]
            header = find(mem, meta, key) if key != 0 else 0
            for p in range(work[NEXT], end):
                ask_for_event(rows, p, stage, width, stages, work, notes, order, cells, kept_at, kept_cells, out)
                i, header = work[order + p] & PLACE, header & PLACE
                row, note = rows[i], notes + i * width
                if meta[LARGEST] != largest:
                    room, largest = room_needed(entities, streams, distincts, meta), meta[LARGEST]
                if meta[BUMP] + room > mem.shape[0]:
                    work[STAGE], work[RUN], work[NEXT] = stage, u, p
                    return False
                set_clocks(row, clocks, stages[stage, G_CLOCKS], stages[stage, G_CLOCKS_END], work, CLOCKS_AT)
                status = status_of(row, key, header, memory_ms, mem)
                if work[note] >= 0:
                    read_key(
                        row, e, header, status, entities, feeds, streams, reads, distincts, counts, CLOCKS_AT, scratch,
                        mem, work, cells,
                    )  # fmt: skip
                    read_lists(row, e, header, status == SEEN, entities, clocks, lists, CLOCKS_AT, mem, work, cells)
                    kept = kept_at + i * kept_cells
                    write_columns(stage, stages, nodes, runs, variances, handed, params, cells, kept, out, work[note])
                header = fold_event(
                    row, e, key, header, status == SEEN, memory_ms, forget_before, entities, clocks, streams, reads,
                    CLOCKS_AT, distincts, counts, records, lists, mem, meta, work, note + 1, scratch,
                )  # fmt: skip
            work[NEXT] = end
        work[RUNS] = 0
    work[STAGE] = 0
    return True
