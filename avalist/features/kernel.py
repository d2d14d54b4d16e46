"""The one kernel: reads a plan's columns for an event, then folds the event in. Live, replay and training all call it.

A quiet key keeps its events (:mod:`avalist.features.quiet`), a busy one tiles (:mod:`avalist.features.tiles`) and sets
(:mod:`avalist.features.distinct`), with the same values by construction; windows of one step read one stream.
Everything is a commutative integer addition, maximum or minimum at the event's own step, so late events are no special
case. What the windows hold goes into cells of float64 (:mod:`avalist.features.cells`); columns are computed from those.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, OCCURRED, VALUES, T
from avalist.features.arena import (
    BUMP,
    BUSY,
    ENTITY,
    H_FIRST,
    H_FORM,
    H_LAST,
    H_LAST_PAYMENT,
    H_STREAMS,
    LARGEST,
    LOW,
    NOW,
    TILE,
    block_words,
    find,
    home_of,
    insert,
    mix,
    release,
    streams_of,
)  # fmt: skip
from avalist.features.cells import own_value, write_labels, write_run, write_sums, write_unknown, write_window
from avalist.features.declare import ACTIVITY, DISTINCT_CELLS, DISTINCT_EXACT
from avalist.features.distinct import count_distinct, prefetch_elements, see_distinct
from avalist.features.jit import jit, jit_part, prefetch, table
from avalist.features.layout import (
    BASE,
    C_LAG,
    C_STEP,
    C_WINDOW,
    CONSTANT,
    COPY,
    D_COUNTS,
    D_COUNTS_END,
    D_KINDS,
    D_OF,
    D_PLACE,
    D_WINDOW,
    E_A,
    E_B,
    E_BUSY,
    E_CELLS,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_FEEDS,
    E_FEEDS_END,
    E_FORM,
    E_SALT,
    E_STREAMS,
    E_STREAMS_END,
    ENTITY_CELLS,
    F64,
    F_KINDS,
    F_LABELS,
    F_READS,
    F_READS_END,
    F_STREAMS,
    F_STREAMS_END,
    F_VALUE,
    FRAUD_MEAN,
    I64,
    K_CACHE,
    K_CELL,
    K_STEP,
    K_WINDOW,
    MAX_TILES,
    MEAN,
    N_A,
    N_B,
    N_CELL,
    OWN_CELLS,
    PLACE,
    R_CACHE,
    R_CELLS,
    R_CLOCK,
    R_GAP,
    R_OWN,
    R_SCAN,
    R_STEP,
    RATE,
    READ_CELLS,
    S_CLOCK,
    S_KINDS,
    S_LABELS,
    S_PLACE,
    S_READS,
    S_READS_END,
    S_VALUE,
    SCALE,
    U_END,
    U_FIRST,
    U_OP,
)  # fmt: skip
from avalist.features.quiet import (
    TAG,
    add_up_apart,
    amount_of_fraud,
    captured_of,
    counted,
    fill,
    frauds_of,
    keep_event,
    names,
    open_streams,
    read_quiet,
    room_for_event,
    since,
    write_event,
)  # fmt: skip
from avalist.features.tiles import (
    BEGUN,
    CLEAN,
    CLOCK,
    COUNT,
    END,
    LATEST,
    THIRD,
    TOTAL,
    add,
    advance,
    judge_tiles,
    prefetch_tiles,
    tile_at,
)  # fmt: skip

F32 = npt.NDArray[np.float32]

MISSING_KEY: Final = 0
UNSEEN: Final = 1
SEEN: Final = 2
DAY: Final = 86_400_000
NEVER: Final = 2**62
SCRATCH: Final = 4 * 256
"""Words in which a quiet key's events are added up."""
_READ_ONLY: Final = 10


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


@jit_part
def read_row(row: I64, keys_at: int, nodes: I64, cells: F64) -> None:
    """Write the cells that the event itself gives: its values, hour and weekday."""
    at = nodes.shape[0]
    for v in range(VALUES, keys_at):
        cells[at] = np.float64(row[v]) if row[v] != MISSING else np.nan
        at += 1
    cells[at] = (row[OCCURRED] % DAY) / 3_600_000.0
    cells[at + 1] = np.float64((row[OCCURRED] // DAY + 3) % 7)


@jit_part
def read_entities(
    row: I64, entities: I64, feeds: I64, streams: I64, reads: I64, distincts: I64, counts: I64, clocks_at: int,
    scratch: int, mem: I64, work: I64, cells: F64,
) -> None:  # fmt: skip
    """Write every entity's cells, and those of its windows and distinct counts."""
    for e in range(entities.shape[0]):
        header, status, at = work[3 * e + 1] & PLACE, work[3 * e + 2], entities[e, E_CELLS] & PLACE
        cells[at] = np.float64(status)
        if status == SEEN:
            last, first = mem[header + H_LAST_PAYMENT], mem[header + H_FIRST]
            cells[at + 1] = (row[AT] - last) / 1000.0 if last != LOW else np.nan
            cells[at + 2] = (row[AT] - first) / 1000.0
            if mem[header + H_FORM] & BUSY:
                read_busy(row, e, header, entities, feeds, streams, reads, mem, work, clocks_at, cells)
            else:
                read_quiet(row, header, entities, feeds, reads, mem, work, clocks_at, scratch, cells)
            read_distincts(row, e, header, entities, distincts, counts, mem, work, scratch, cells)
        else:
            write_unknown(cells, at + 1, ENTITY_CELLS - 1)
            read_unseen(row, e, status, entities, feeds, reads, work, clocks_at, cells)
            for d in range(entities[e, E_DISTINCTS] & PLACE, entities[e, E_DISTINCTS_END]):
                for k in range(distincts[d, D_COUNTS] & PLACE, distincts[d, D_COUNTS_END]):
                    cells[counts[k, K_CELL] & PLACE] = np.nan


@jit_part
def read_unseen(
    row: I64, e: int, status: int, entities: I64, feeds: I64, reads: I64, work: I64, clocks_at: int, cells: F64
) -> None:
    """Write the cells of a key never seen: unknown, but for the event itself where it is asked for."""
    for f in range(entities[e, E_FEEDS] & PLACE, entities[e, E_FEEDS_END]):
        own = own_value(row, feeds[f, F_KINDS], feeds[f, F_VALUE])
        for r in range(feeds[f, F_READS] & PLACE, feeds[f, F_READS_END]):
            write_unknown(cells, reads[r, R_CELLS] & PLACE, READ_CELLS)
            at, clock = reads[r, R_OWN], clocks_at + CLOCK * (reads[r, R_CLOCK] & PLACE)
            if at >= 0:
                if status == UNSEEN and own != MISSING and work[clock + 2] >= work[clock]:
                    write_sums(cells, at, 1, own, own)
                else:
                    write_unknown(cells, at, OWN_CELLS)


@jit_part
def read_busy(
    row: I64, e: int, header: int, entities: I64, feeds: I64, streams: I64, reads: I64, mem: I64, work: I64,
    clocks_at: int, cells: F64,
) -> None:  # fmt: skip
    """Read every window of a busy key: each moves on from where it was read last."""
    at = header + H_STREAMS
    for f in range(entities[e, E_FEEDS] & PLACE, entities[e, E_FEEDS_END]):
        labels, own = feeds[f, F_LABELS], own_value(row, feeds[f, F_KINDS], feeds[f, F_VALUE])
        for s in range(feeds[f, F_STREAMS] & PLACE, feeds[f, F_STREAMS_END]):
            for r in range(streams[s, S_READS] & PLACE, streams[s, S_READS_END]):
                cache, clock = header + (reads[r, R_CACHE] & PLACE), clocks_at + CLOCK * (reads[r, R_CLOCK] & PLACE)
                if mem[cache] != work[clock] or mem[cache + END] != work[clock + 1]:
                    advance(mem, mem[at], cache, work[clock], work[clock + 1], reads[r, R_SCAN], labels)
                count, total, third = mem[cache + COUNT], mem[cache + TOTAL], mem[cache + THIRD]
                if labels:
                    write_labels(cells, reads[r, R_CELLS] & PLACE, count, total, third)
                    if reads[r, R_SCAN]:
                        judge_tiles(mem, mem[at], cache, reads[r, R_GAP])
                        latest, clean, begun = mem[cache + LATEST], mem[cache + CLEAN], mem[cache + BEGUN]
                        write_run(cells, reads[r, R_CELLS] & PLACE, row[AT], reads[r, R_STEP], latest, clean, begun)
                else:
                    write_window(cells, reads, r, count, total, third, own, work[clock + 2] >= work[clock])
            at += 1


@jit_part
def read_distincts(
    row: I64, e: int, header: int, entities: I64, distincts: I64, counts: I64, mem: I64, work: I64, sums: int,
    cells: F64,
) -> None:  # fmt: skip
    """Write how many different elements a seen key met in each window."""
    form, first, width = mem[header + H_FORM], header + H_STREAMS, entities[e, E_EVENT] & PLACE
    word_at, n, low = first + streams_of(entities, e) & PLACE, fill(form), 0
    for d in range(entities[e, E_DISTINCTS] & PLACE, entities[e, E_DISTINCTS_END]):
        if form & BUSY == 0:
            add_up_apart(mem, first, width, n, distincts[d, D_KINDS], distincts[d, D_PLACE] & PLACE, work, sums)
        for k in range(distincts[d, D_COUNTS] & PLACE, distincts[d, D_COUNTS_END]):
            step, cell = counts[k, K_STEP], counts[k, K_CELL] & PLACE
            t = (row[AT] - counts[k, K_WINDOW]) // step * step
            if form & BUSY:
                cells[cell] = count_distinct(mem, mem[word_at], header + counts[k, K_CACHE] & PLACE, t)
            else:
                low = since(mem, first, width, n, low, t)
                cells[cell] = np.float64(work[sums + low])
        word_at += 1


@jit_part
def compute(nodes: I64, runs: I64, params: F64, cells: F64) -> None:
    """Compute the columns from the other cells: those of one op in a row, columns that others read before them."""
    for u in range(runs.shape[0]):
        op, first, end = runs[u, U_OP], runs[u, U_FIRST] & PLACE, runs[u, U_END]
        if op == COPY:
            for i in range(first, end):
                cells[nodes[i, N_CELL] & PLACE] = cells[nodes[i, N_A] & PLACE]
        elif op == SCALE:
            for i in range(first, end):
                cells[nodes[i, N_CELL] & PLACE] = cells[nodes[i, N_A] & PLACE] * params[i, 0]
        elif op == MEAN:
            for i in range(first, end):
                a = nodes[i, N_A] & PLACE
                n, total = cells[a], cells[a + 1]
                cells[nodes[i, N_CELL] & PLACE] = total / n * params[i, 0] if n > 0.0 else np.nan
        elif op == FRAUD_MEAN:
            for i in range(first, end):
                a = nodes[i, N_A] & PLACE
                frauds, amount = cells[a + 1], cells[a + 2]
                cells[nodes[i, N_CELL] & PLACE] = amount / frauds * params[i, 0] if frauds > 0.0 else np.nan
        elif op == RATE:
            for i in range(first, end):
                a, prior = nodes[i, N_A] & PLACE, cells[nodes[i, N_B] & PLACE]
                captured, frauds = cells[a], cells[a + 1]
                prior = prior if prior >= 0.0 else params[i, 1]
                cells[nodes[i, N_CELL] & PLACE] = (frauds + params[i, 0] * prior) / (captured + params[i, 0])
        else:
            for i in range(first, end):
                top, bottom = cells[nodes[i, N_A] & PLACE], cells[nodes[i, N_B] & PLACE]
                cells[nodes[i, N_CELL] & PLACE] = top / bottom if bottom != 0.0 else np.nan


@jit_part
def is_kept(row: I64, e: int, entities: I64, streams: I64, clocks_at: int, distincts: I64, work: I64) -> bool:
    """Tell whether any stream or distinct set of entity `e` counts the event."""
    judges = row[CAPTURED_DELTA] != 0 or row[FRAUD_DELTA] != 0
    for s in range(entities[e, E_STREAMS] & PLACE, entities[e, E_STREAMS_END]):
        clock = clocks_at + CLOCK * streams[s, S_CLOCK]
        if work[clock + 2] >= work[clock]:
            if streams[s, S_LABELS]:
                if judges:
                    return True
            elif own_value(row, streams[s, S_KINDS], streams[s, S_VALUE]) != MISSING:
                return True
    for d in range(entities[e, E_DISTINCTS] & PLACE, entities[e, E_DISTINCTS_END]):
        named = work[3 * distincts[d, D_OF]] != 0 and distincts[d, D_KINDS] >> row[KIND] & 1
        if named and row[T] >= row[AT] - distincts[d, D_WINDOW]:
            return True
    return False


@jit_part
def fold_event(
    row: I64, memory_ms: int, entities: I64, clocks: I64, streams: I64, reads: I64, clocks_at: int, distincts: I64,
    counts: I64, records: I64, mem: I64, meta: I64, work: I64,
) -> None:  # fmt: skip
    """Fold the event into every entity it names."""
    kind, at, t = row[KIND], row[AT], row[T]
    if t < at - memory_ms or kind == _READ_ONLY:
        return
    active = ((1 << kind) & ACTIVITY) != 0
    event = clocks_at + CLOCK * clocks.shape[0]
    for e in range(entities.shape[0]):
        if work[3 * e] == 0:
            continue
        header = work[3 * e + 1] & PLACE
        if work[3 * e + 2] != SEEN:
            if not active:
                continue
            header = insert(mem, meta, entities, e, work[3 * e], at - memory_ms)
        if active:
            mem[header + H_FIRST] = min(mem[header + H_FIRST], t)
            mem[header + H_LAST] = max(mem[header + H_LAST], t)
            if kind == 0:
                mem[header + H_LAST_PAYMENT] = max(mem[header + H_LAST_PAYMENT], t)
        if not is_kept(row, e, entities, streams, clocks_at, distincts, work):
            continue
        write_event(row, e, entities, records, work, work, event)
        if mem[header + H_FORM] & BUSY == 0:
            roomy = room_for_event(mem, meta, entities, header, at)
            if roomy != 0:
                keep_event(mem, entities, roomy, work, event)
                continue
            header = turn_busy(
                header, at, entities, clocks, streams, reads, clocks_at, distincts, counts, mem, meta, work
            )
        fold_tiles(
            work, event, e, header, at, entities, clocks, streams, reads, clocks_at, distincts, counts, mem, meta, work
        )


@jit_part
def turn_busy(
    header: int, at: int, entities: I64, clocks: I64, streams: I64, reads: I64, clocks_at: int, distincts: I64,
    counts: I64, mem: I64, meta: I64, work: I64,
) -> int:  # fmt: skip
    """Fold a quiet key's events into tiles and sets; return its new header."""
    form = mem[header + H_FORM]
    e, first = form & ENTITY, header + H_STREAMS
    width = entities[e, E_EVENT]
    busy = open_streams(mem, meta, entities, streams, reads, header)
    for old in range(first, first + width * fill(form), width):
        fold_tiles(
            mem, old, e, busy, at, entities, clocks, streams, reads, clocks_at, distincts, counts, mem, meta, work
        )
    release(mem, meta, header, block_words(entities, form))
    return busy


@jit_part
def fold_tiles(
    source: I64, event: int, e: int, header: int, at: int, entities: I64, clocks: I64, streams: I64, reads: I64,
    clocks_at: int, distincts: I64, counts: I64, mem: I64, meta: I64, work: I64,
) -> None:  # fmt: skip
    """Add an event that stands at ``source[event:]`` to each stream and distinct set of a busy key that counts it."""
    t, tag = source[event], source[event + TAG]
    captured, frauds = captured_of(tag), frauds_of(tag)
    word_at = header + H_STREAMS
    for s in range(entities[e, E_STREAMS] & PLACE, entities[e, E_STREAMS_END]):
        c, place = streams[s, S_CLOCK], streams[s, S_PLACE]
        lowest, index = work[clocks_at + CLOCK * c], stepped(t, clocks[c, C_STEP], work[clocks_at + CLOCK * c + 2])
        if index >= lowest:
            count, total, third = captured, frauds, 0
            if streams[s, S_LABELS]:
                third = amount_of_fraud(source, event, place)
                counted_in = captured != 0 or frauds != 0
            else:
                total = third = counted(source, event, streams[s, S_KINDS], place)
                count, counted_in = 1, total != MISSING
            if counted_in:
                tile, made = tile_at(mem, meta, header, word_at, index, lowest, s, streams, reads, work, clocks_at)
                add(mem, header, tile, made, count, total, third, s, streams, reads)
        word_at += 1
    for d in range(entities[e, E_DISTINCTS] & PLACE, entities[e, E_DISTINCTS_END]):
        if names(source, event, distincts[d, D_KINDS], distincts[d, D_PLACE], at - distincts[d, D_WINDOW]):
            element = source[event + distincts[d, D_PLACE]]
            see_distinct(mem, meta, header, word_at, element, t, at - distincts[d, D_WINDOW], d, distincts, counts)
        word_at += 1


@jit
def room_needed(entities: I64, streams: I64, distincts: I64, meta: I64) -> int:
    """Return the most words that one event can take from the arena, as its tables are now."""
    # a key that turns to tiles may make blocks of every size at once
    words = streams.shape[0] * 2 * TILE * MAX_TILES + distincts.shape[0] * (DISTINCT_CELLS + 4 * DISTINCT_EXACT)
    for e in range(entities.shape[0]):
        words += 2048 + entities[e, E_BUSY] + entities[e, E_EVENT] * 256
    return int(words + entities.shape[0] * 4 * meta[LARGEST])


@jit_part
def step_event(
    row: I64, asked: bool, keys_at: int, memory_ms: int, entities: I64, clocks: I64, feeds: I64, streams: I64,
    reads: I64, distincts: I64, counts: I64, records: I64, nodes: I64, runs: I64, params: F64, mem: I64, meta: I64,
    work: I64, cells: F64, out: F32, written: int,
) -> None:  # fmt: skip
    """Read the columns as of before the event into ``out[written]`` if asked, then fold it."""
    clocks_at = 3 * entities.shape[0]
    event = clocks_at + CLOCK * clocks.shape[0]
    locate(row, keys_at, memory_ms, entities, mem, meta, work)
    set_clocks(row, clocks, work, clocks_at)
    touch(entities, streams, reads, mem, work)
    if asked:
        read_row(row, keys_at, nodes, cells)
        read_entities(row, entities, feeds, streams, reads, distincts, counts, clocks_at, event, mem, work, cells)
        compute(nodes, runs, params, cells)
        for c in range(nodes.shape[0]):
            out[written, c] = np.float32(cells[c])
    fold_event(row, memory_ms, entities, clocks, streams, reads, clocks_at, distincts, counts, records, mem, meta, work)
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
    entities, clocks = table(code, code[2], code[3], 16), table(code, code[4], code[5], 3)
    feeds, streams = table(code, code[6], code[7], 8), table(code, code[8], code[9], 8)
    reads, distincts = table(code, code[10], code[11], 8), table(code, code[12], code[13], 7)
    counts, records = table(code, code[14], code[15], 4), table(code, code[16], code[17], 2)
    nodes, runs = table(code, code[18], code[19], 3), table(code, code[20], code[21], 3)
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
            records, nodes, runs, params, mem, meta, work, cells, out, written,
        )  # fmt: skip
        written += every or asked[i]
    return int(rows.shape[0])
