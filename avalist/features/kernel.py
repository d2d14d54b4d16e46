"""The one kernel: reads a plan's columns for an event, then folds the event in. Live, replay and training all call it.

A quiet key keeps its events (:mod:`avalist.features.quiet`), a busy one tiles (:mod:`avalist.features.tiles`) and sets
(:mod:`avalist.features.distinct`), with the same values by construction; windows of one step read one stream.
Everything is a commutative integer addition, maximum or minimum at the event's own step, so late events are no special
case.
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
    busy_words,
    find,
    home_of,
    insert,
    mix,
    release,
)  # fmt: skip
from avalist.features.declare import ACTIVITY, DISTINCT_CELLS, DISTINCT_EXACT, RUN_GAP
from avalist.features.distinct import count_distinct, see_distinct
from avalist.features.jit import jit, jit_part
from avalist.features.plan import (
    BASE,
    C_LAG,
    C_STEP,
    C_WINDOW,
    CAPTURED,
    CLEAN,
    CONSTANT,
    COUNT,
    D_ENTITY,
    D_KINDS,
    D_OF,
    D_PLACE,
    D_WINDOW,
    DISTINCT,
    E_A,
    E_B,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_FORM,
    E_SALT,
    E_STREAMS,
    E_STREAMS_END,
    F64,
    FIRST_FRAUD,
    FRAUD_MEAN,
    FRAUDS,
    HOUR,
    I64,
    KNOWN,
    MAX_TILES,
    MEAN,
    N_A,
    N_B,
    N_OP,
    N_OWN,
    N_STEP,
    N_WINDOW,
    R_CLOCK,
    R_SCAN,
    R_STREAM,
    RATE,
    RATIO,
    S_CLOCK,
    S_ENTITY,
    S_KINDS,
    S_LABELS,
    S_PLACE,
    S_READS,
    S_READS_END,
    S_VALUE,
    SINCE_FIRST,
    SINCE_FRAUD,
    SINCE_LAST,
    SUM,
    VALUE,
    WEEKDAY,
)  # fmt: skip
from avalist.features.quiet import (
    TAG,
    amount_of_fraud,
    captured_of,
    count_apart,
    counted,
    fill,
    frauds_of,
    keep_event,
    names,
    open_streams,
    read_events,
    read_judged,
    room_for_event,
    write_event,
)  # fmt: skip
from avalist.features.tiles import add, read_labels, read_stream, tile_at

F32 = npt.NDArray[np.float32]

READ: Final = 6
"""Words that a read leaves: ``[n, sum, max]`` or ``[captured, frauds, their amount, latest, clean, first]``."""
CLOCK: Final = 5
"""Words of a clock: a window's first step, its end (exclusive), the event's own step; first and end in ms."""
MISSING_KEY: Final = 0
UNSEEN: Final = 1
SEEN: Final = 2
DAY: Final = 86_400_000
NEVER: Final = 2**62
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
        key = key_of(row, keys_at, entities, e)
        work[3 * e] = key
        work[3 * e + 1] = mem[home_of(meta, key)]
    for e in range(entities.shape[0]):
        work[3 * e + 1] = find(mem, meta, work[3 * e]) if work[3 * e] != 0 else 0
    for e in range(entities.shape[0]):
        status, header = MISSING_KEY if work[3 * e] == 0 else UNSEEN, work[3 * e + 1]
        if header != 0 and row[AT] - mem[header + H_LAST] <= memory_ms:
            status = SEEN
        work[3 * e + 2] = status


@jit_part
def touch(entities: I64, mem: I64, work: I64) -> int:
    """Load what reading will need of every seen entity, all at once: one wait for memory, not one after the other."""
    loaded = 0
    for e in range(entities.shape[0]):
        if work[3 * e + 2] == SEEN:
            first = work[3 * e + 1] + H_STREAMS
            if mem[first - H_STREAMS + H_FORM] & BUSY:
                for at in range(first, first + busy_words(entities, e) - H_STREAMS):
                    offset, n = mem[at] >> 16, mem[at] & 255
                    if n > 0:
                        loaded ^= mem[offset] ^ mem[offset + TILE * (n >> 1)] ^ mem[offset + TILE * (n - 1)]
            else:
                loaded ^= mem[first + 3] ^ mem[first + 11]
    return int(loaded)


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
def run_gap(clocks: I64, c: int) -> int:
    """Return the steps without fraud after which a run of frauds ends."""
    return int(clocks[c, C_WINDOW] // (RUN_GAP * clocks[c, C_STEP]))


@jit_part
def read_streams(entities: I64, clocks: I64, streams: I64, reads: I64, mem: I64, work: I64) -> None:
    """Read every window of every seen entity into ``work``, after the entities."""
    base = 3 * entities.shape[0]
    clocks_at = base + READ * reads.shape[0]
    for e in range(entities.shape[0]):
        if work[3 * e + 2] != SEEN:
            continue
        first = work[3 * e + 1] + H_STREAMS
        form = mem[first - H_STREAMS + H_FORM]
        for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
            for r in range(streams[s, S_READS], streams[s, S_READS_END]):
                c, out = reads[r, R_CLOCK], base + READ * r
                clock = clocks_at + CLOCK * c
                if form & BUSY:
                    word = mem[first + s - entities[e, E_STREAMS]]
                    if streams[s, S_LABELS]:
                        gap = run_gap(clocks, c) if reads[r, R_SCAN] else 0
                        read_labels(mem, word, work[clock], work[clock + 1], gap, reads[r, R_SCAN], work, out)
                    else:
                        read_stream(mem, word, work[clock], work[clock + 1], reads[r, R_SCAN], work, out)
                else:
                    low_ms, end_ms, width = work[clock + 3], work[clock + 4], entities[e, E_EVENT]
                    place = streams[s, S_PLACE]
                    if streams[s, S_LABELS]:
                        step = clocks[c, C_STEP]
                        gap = run_gap(clocks, c) if reads[r, R_SCAN] else 0
                        read_judged(mem, first, width, fill(form), place, low_ms, end_ms, step, gap, work, out)
                    else:
                        kinds = streams[s, S_KINDS]
                        read_events(mem, first, width, fill(form), kinds, place, low_ms, end_ms, work, out)


@jit_part
def own_value(row: I64, kinds: int, value_at: int) -> int:
    """Return the value that the event would add to a stream (0 where it only counts), or MISSING."""
    if kinds & (1 << row[KIND]) == 0:
        return MISSING
    return 0 if value_at < 0 else row[VALUES + value_at]


@jit_part
def read_distinct(mem: I64, header: int, entities: I64, distincts: I64, d: int, since: int) -> float:
    """Return how many elements a seen key met from `since` on."""
    e, form, first = distincts[d, D_ENTITY], mem[header + H_FORM], header + H_STREAMS
    if form & BUSY:
        streams_of_e = entities[e, E_STREAMS_END] - entities[e, E_STREAMS]
        return count_distinct(mem, mem[first + streams_of_e + d - entities[e, E_DISTINCTS]], since)
    kinds, place = distincts[d, D_KINDS], distincts[d, D_PLACE]
    return count_apart(mem, first, entities[e, E_EVENT], fill(form), kinds, place, since)


@jit_part
def read_nodes(
    row: I64, entities: I64, streams: I64, reads: I64, distincts: I64, nodes: I64, params: F64, mem: I64, work: I64,
    values: F64,
) -> None:  # fmt: skip
    """Evaluate the columns in order into ``values``."""
    base = 3 * entities.shape[0]
    clocks = base + READ * reads.shape[0]
    t = row[AT]
    for c in range(nodes.shape[0]):
        op, a = nodes[c, N_OP], nodes[c, N_A]
        result = np.nan
        if op == VALUE:
            if row[VALUES + a] != MISSING:
                result = row[VALUES + a] * params[c, 0]
        elif op == HOUR:
            result = (row[OCCURRED] % DAY) / 3_600_000.0
        elif op == WEEKDAY:
            result = float((row[OCCURRED] // DAY + 3) % 7)
        elif op == KNOWN:
            result = float(work[3 * a + 2])
        elif op == SINCE_LAST or op == SINCE_FIRST:
            if work[3 * a + 2] == SEEN:
                then = mem[work[3 * a + 1] + (H_LAST_PAYMENT if op == SINCE_LAST else H_FIRST)]
                if then != LOW:
                    result = (t - then) / 1000.0
        elif op == RATIO:
            if values[nodes[c, N_B]] != 0.0:
                result = values[a] / values[nodes[c, N_B]]
        elif op == DISTINCT:
            e = distincts[a, D_ENTITY]
            if work[3 * e + 2] == SEEN:
                step = nodes[c, N_STEP]
                since = (t - nodes[c, N_WINDOW]) // step * step
                result = read_distinct(mem, work[3 * e + 1], entities, distincts, a, since)
        else:
            s = reads[a, R_STREAM]
            status = work[3 * streams[s, S_ENTITY] + 2]
            n, total, highest = 0, 0, LOW
            if status == SEEN:
                n, total, highest = work[base + READ * a], work[base + READ * a + 1], work[base + READ * a + 2]
            if nodes[c, N_OWN] and status != MISSING_KEY:
                value = own_value(row, streams[s, S_KINDS], streams[s, S_VALUE])
                clock = clocks + CLOCK * reads[a, R_CLOCK]
                if value != MISSING and work[clock + 2] >= work[clock]:
                    status = SEEN
                    n += 1
                    total += value
                    highest = max(highest, value)
            if status != SEEN:
                values[c] = result
                continue
            if op == COUNT or op == CAPTURED:
                result = float(n)
            elif op == SUM:
                result = total * params[c, 0]
            elif op == FRAUDS:
                result = float(total)
            elif op == RATE:
                prior = values[nodes[c, N_B]] if nodes[c, N_B] >= 0 else params[c, 1]
                if not prior >= 0.0:
                    prior = params[c, 1]
                result = (total + params[c, 0] * prior) / (n + params[c, 0])
            elif op == FRAUD_MEAN:
                if total > 0:
                    result = highest / total * params[c, 0]
            elif op == SINCE_FRAUD or op == FIRST_FRAUD:
                index = work[base + READ * a + (3 if op == SINCE_FRAUD else 5)]
                if index != LOW:
                    result = (t - index * nodes[c, N_STEP]) / 1000.0
            elif op == CLEAN:
                result = float(work[base + READ * a + 4])
            elif n > 0:
                result = total / n * params[c, 0] if op == MEAN else highest * params[c, 0]
        values[c] = result


@jit_part
def is_kept(
    row: I64, e: int, entities: I64, clocks: I64, streams: I64, clocks_at: int, distincts: I64, work: I64
) -> bool:
    """Tell whether any stream or distinct set of entity `e` counts the event."""
    judges = row[CAPTURED_DELTA] != 0 or row[FRAUD_DELTA] != 0
    for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
        clock = clocks_at + CLOCK * streams[s, S_CLOCK]
        if work[clock + 2] >= work[clock]:
            if streams[s, S_LABELS]:
                if judges:
                    return True
            elif own_value(row, streams[s, S_KINDS], streams[s, S_VALUE]) != MISSING:
                return True
    for d in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
        named = work[3 * distincts[d, D_OF]] != 0 and distincts[d, D_KINDS] >> row[KIND] & 1
        if named and row[T] >= row[AT] - distincts[d, D_WINDOW]:
            return True
    return False


@jit_part
def fold_event(
    row: I64, memory_ms: int, entities: I64, clocks: I64, streams: I64, clocks_at: int, distincts: I64, records: I64,
    mem: I64, meta: I64, work: I64,
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
        header = work[3 * e + 1]
        if work[3 * e + 2] != SEEN:
            if not active:
                continue
            header = insert(mem, meta, entities, e, work[3 * e], at - memory_ms)
        if active:
            mem[header + H_FIRST] = min(mem[header + H_FIRST], t)
            mem[header + H_LAST] = max(mem[header + H_LAST], t)
            if kind == 0:
                mem[header + H_LAST_PAYMENT] = max(mem[header + H_LAST_PAYMENT], t)
        if not is_kept(row, e, entities, clocks, streams, clocks_at, distincts, work):
            continue
        write_event(row, e, entities, records, work, work, event)
        if mem[header + H_FORM] & BUSY == 0:
            roomy = room_for_event(mem, meta, entities, header, at)
            if roomy != 0:
                keep_event(mem, entities, roomy, work, event)
                continue
            header = turn_busy(header, at, entities, clocks, streams, clocks_at, distincts, mem, meta, work)
        fold_tiles(work, event, e, header, at, entities, clocks, streams, clocks_at, distincts, mem, meta, work)


@jit_part
def turn_busy(
    header: int, at: int, entities: I64, clocks: I64, streams: I64, clocks_at: int, distincts: I64, mem: I64,
    meta: I64, work: I64,
) -> int:  # fmt: skip
    """Fold a quiet key's events into tiles and sets; return its new header."""
    form = mem[header + H_FORM]
    e, first = form & ENTITY, header + H_STREAMS
    width = entities[e, E_EVENT]
    busy = open_streams(mem, meta, entities, header)
    for old in range(first, first + width * fill(form), width):
        fold_tiles(mem, old, e, busy, at, entities, clocks, streams, clocks_at, distincts, mem, meta, work)
    release(mem, meta, header, block_words(entities, form))
    return busy


@jit_part
def fold_tiles(
    source: I64, event: int, e: int, header: int, at: int, entities: I64, clocks: I64, streams: I64, clocks_at: int,
    distincts: I64, mem: I64, meta: I64, work: I64,
) -> None:  # fmt: skip
    """Add an event that stands at ``source[event:]`` to each stream and distinct set of a busy key that counts it."""
    t, tag = source[event], source[event + TAG]
    captured, frauds = captured_of(tag), frauds_of(tag)
    word_at = header + H_STREAMS
    for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
        c, place = streams[s, S_CLOCK], streams[s, S_PLACE]
        lowest, index = work[clocks_at + CLOCK * c], stepped(t, clocks[c, C_STEP], work[clocks_at + CLOCK * c + 2])
        if index >= lowest:
            if streams[s, S_LABELS]:
                if captured != 0 or frauds != 0:
                    tile = tile_at(mem, meta, word_at, index, lowest, 1)
                    add(mem, mem[word_at], tile, captured, frauds, amount_of_fraud(source, event, place))
            else:
                value = counted(source, event, streams[s, S_KINDS], place)
                if value != MISSING:
                    tile = tile_at(mem, meta, word_at, index, lowest, 0)
                    add(mem, mem[word_at], tile, 1, value, 0)
                    mem[tile + 3] = max(mem[tile + 3], value)
        word_at += 1
    for d in range(entities[e, E_DISTINCTS], entities[e, E_DISTINCTS_END]):
        if names(source, event, distincts[d, D_KINDS], distincts[d, D_PLACE], at - distincts[d, D_WINDOW]):
            element = source[event + distincts[d, D_PLACE]]
            see_distinct(mem, meta, word_at, element, t, at - distincts[d, D_WINDOW])
        word_at += 1


@jit_part
def step_event(
    row: I64, asked: bool, keys_at: int, memory_ms: int, entities: I64, clocks: I64, streams: I64, reads: I64,
    distincts: I64, records: I64, nodes: I64, params: F64, mem: I64, meta: I64, work: I64, values: F64,
) -> None:  # fmt: skip
    """Read the columns as of before the event (into ``values``) if asked, then fold it."""
    locate(row, keys_at, memory_ms, entities, mem, meta, work)
    clocks_at = 3 * entities.shape[0] + READ * reads.shape[0]
    set_clocks(row, clocks, work, clocks_at)
    if asked:
        work[work.shape[0] - 1] = touch(entities, mem, work)
        read_streams(entities, clocks, streams, reads, mem, work)
        read_nodes(row, entities, streams, reads, distincts, nodes, params, mem, work, values)
    fold_event(row, memory_ms, entities, clocks, streams, clocks_at, distincts, records, mem, meta, work)
    meta[NOW] = max(meta[NOW], row[AT])


@jit
def room_needed(entities: I64, streams: I64, distincts: I64, meta: I64) -> int:
    """Return the most words that one event can take from the arena, as its tables are now."""
    # a key that turns to tiles may make blocks of every size at once
    words = streams.shape[0] * 2 * TILE * MAX_TILES + distincts.shape[0] * (DISTINCT_CELLS + 4 * DISTINCT_EXACT)
    for e in range(entities.shape[0]):
        words += 2048 + busy_words(entities, e) + entities[e, E_EVENT] * 256
    return int(words + entities.shape[0] * 4 * meta[LARGEST])


@jit
def run(
    rows: I64, asked: npt.NDArray[np.bool_], start: int, keys_at: int, memory_ms: int, entities: I64, clocks: I64,
    streams: I64, reads: I64, distincts: I64, records: I64, nodes: I64, params: F64, mem: I64, meta: I64, work: I64,
    values: F64, out: F32,
) -> int:  # fmt: skip
    """Run events ``rows[start:]``, writing the columns of those ``asked`` to successive rows of `out`.

    Returns the index after the last event run: less than ``len(rows)`` when the arena must grow first.
    """
    written = 0
    for i in range(start):
        written += asked[i]
    room = room_needed(entities, streams, distincts, meta)
    largest = meta[LARGEST]
    for i in range(start, rows.shape[0]):
        if meta[LARGEST] != largest:
            room = room_needed(entities, streams, distincts, meta)
            largest = meta[LARGEST]
        if meta[BUMP] + room > mem.shape[0]:
            return i
        step_event(
            rows[i], asked[i], keys_at, memory_ms, entities, clocks, streams, reads, distincts, records, nodes, params,
            mem, meta, work, values,
        )  # fmt: skip
        if asked[i]:
            for c in range(nodes.shape[0]):
                out[written, c] = np.float32(values[c])
            written += 1
    return int(rows.shape[0])
