"""What the columns of an event are: what its windows hold goes into cells, and columns are computed from those."""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.row import AT, MISSING, OCCURRED, VALUES
from avalist.features.arena import BUSY, H_FIRST, H_FORM, H_LAST_PAYMENT, H_STREAMS, LOW, streams_of
from avalist.features.cells import own_value, write_labels, write_run, write_sums, write_unknown, write_window
from avalist.features.distinct import count_distinct
from avalist.features.jit import jit_part
from avalist.features.latest import speed_kmh
from avalist.features.layout import (
    COPY,
    D_COUNTS,
    D_COUNTS_END,
    D_KINDS,
    D_PLACE,
    E_CELLS,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_FEEDS,
    E_FEEDS_END,
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
    LEAST,
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
    S_READS,
    S_READS_END,
    SCALE,
    SPEED,
    U_END,
    U_FIRST,
    U_OP,
    W_CELL,
    W_PLACE,
)  # fmt: skip
from avalist.features.locate import SEEN, UNSEEN
from avalist.features.quiet import add_up_apart, fill, read_quiet, since
from avalist.features.tiles import BEGUN, CLEAN, CLOCK, COUNT, END, LATEST, THIRD, TOTAL, advance, judge_tiles

DAY: Final = 86_400_000


@jit_part
def read_row(row: I64, keys_at: int, columns: int, cells: F64) -> None:
    """Write the cells that the event itself gives, behind those of the columns: its values, hour and weekday."""
    at = columns
    for v in range(VALUES, keys_at):
        cells[at] = np.float64(row[v]) if row[v] != MISSING else np.nan
        at += 1
    cells[at] = (row[OCCURRED] % DAY) / 3_600_000.0
    cells[at + 1] = np.float64((row[OCCURRED] // DAY + 3) % 7)


@jit_part
def read_key(
    row: I64, e: int, header: int, status: int, entities: I64, feeds: I64, streams: I64, reads: I64, distincts: I64,
    counts: I64, clocks_at: int, scratch: int, mem: I64, work: I64, cells: F64,
) -> None:  # fmt: skip
    """Write a key's cells, and those of its windows and distinct counts."""
    at = entities[e, E_CELLS] & PLACE
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
def compute(nodes: I64, runs: I64, first_run: int, end_run: int, params: F64, cells: F64) -> None:
    """Compute columns from the other cells: those of one op in a row, columns that others read before them."""
    for u in range(first_run & PLACE, end_run):
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
        elif op == LEAST:
            for i in range(first, end):
                cells[nodes[i, N_CELL] & PLACE] = 0.0 - cells[nodes[i, N_A] & PLACE] * params[i, 0]
        elif op == SPEED:
            for i in range(first, end):
                a = nodes[i, N_A] & PLACE
                cells[nodes[i, N_CELL] & PLACE] = speed_kmh(cells[a], cells[a + 1], cells[a + 2])
        else:
            for i in range(first, end):
                top, bottom = cells[nodes[i, N_A] & PLACE], cells[nodes[i, N_B] & PLACE]
                cells[nodes[i, N_CELL] & PLACE] = top / bottom if bottom != 0.0 else np.nan


@jit_part
def read_told(row: I64, told: I64, cells: F64) -> None:
    """Write the cells of words that the row was widened by."""
    for i in range(told.shape[0]):
        word = row[told[i, W_PLACE]]
        cells[told[i, W_CELL] & PLACE] = np.float64(word) if word != MISSING else np.nan
