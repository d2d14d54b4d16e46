"""An event goes into every entity that it names: into a quiet key's events, or a busy key's tiles, sets and lists."""

from __future__ import annotations

from typing import Final

from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, T
from avalist.features.arena import (
    BUSY,
    ENTITY,
    H_FIRST,
    H_FORM,
    H_LAST,
    H_LAST_PAYMENT,
    H_STREAMS,
    block_words,
    insert,
    release,
)  # fmt: skip
from avalist.features.cells import own_value
from avalist.features.declare import ACTIVITY
from avalist.features.distinct import see_distinct
from avalist.features.jit import jit_part
from avalist.features.latest import keep_latest, list_since
from avalist.features.layout import (
    C_STEP,
    D_KINDS,
    D_OF,
    D_PLACE,
    D_WINDOW,
    E_DISTINCTS,
    E_DISTINCTS_END,
    E_EVENT,
    E_STREAMS,
    E_STREAMS_END,
    I64,
    L_ENTITY,
    L_KINDS,
    L_LENGTH,
    L_LIST,
    L_PLACE,
    L_VALUE,
    PLACE,
    S_CLOCK,
    S_KINDS,
    S_LABELS,
    S_PLACE,
    S_VALUE,
)  # fmt: skip
from avalist.features.locate import step_of
from avalist.features.quiet import (
    TAG,
    amount_of_fraud,
    captured_of,
    counted,
    fill,
    frauds_of,
    keep_event,
    names,
    open_streams,
    room_for_event,
    write_event,
)  # fmt: skip
from avalist.features.tiles import CLOCK, add, tile_at

_READ_ONLY: Final = 10


@jit_part
def is_kept(
    row: I64, e: int, entities: I64, clocks: I64, streams: I64, clocks_at: int, distincts: I64, lists: I64, work: I64,
    keys_in: int,
) -> bool:  # fmt: skip
    """Tell whether any stream, distinct set or list of entity `e` counts the event."""
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
        named = work[keys_in + distincts[d, D_OF]] != 0 and distincts[d, D_KINDS] >> row[KIND] & 1
        if named and row[T] >= row[AT] - distincts[d, D_WINDOW]:
            return True
    for i in range(lists.shape[0]):
        recent = lists[i, L_ENTITY] == e and row[T] >= list_since(i, clocks, clocks_at, lists, work)
        if recent and own_value(row, lists[i, L_KINDS], lists[i, L_VALUE]) != MISSING:
            return True
    return False


@jit_part
def fold_event(
    row: I64, e: int, key: int, header: int, seen: bool, memory_ms: int, forget_before: int, entities: I64, clocks: I64,
    streams: I64, reads: I64, clocks_at: int, distincts: I64, counts: I64, records: I64, lists: I64, mem: I64,
    meta: I64, work: I64, keys_in: int, event: int,
) -> int:  # fmt: skip
    """Fold the event into a key of entity `e`; return where the key's block is then.

    What the key keeps of the event is written to ``work[event:]``. A table that grows forgets keys of `forget_before`.
    """
    kind, at, t = row[KIND], row[AT], row[T]
    active = ((1 << kind) & ACTIVITY) != 0
    if key == 0 or t < at - memory_ms or kind == _READ_ONLY or not (seen or active):
        return header
    if not seen:
        header = insert(mem, meta, entities, e, key, forget_before)
    if active:
        mem[header + H_FIRST] = min(mem[header + H_FIRST], t)
        mem[header + H_LAST] = max(mem[header + H_LAST], t)
        if kind == 0:
            mem[header + H_LAST_PAYMENT] = max(mem[header + H_LAST_PAYMENT], t)
    if not is_kept(row, e, entities, clocks, streams, clocks_at, distincts, lists, work, keys_in):
        return header
    write_event(row, e, entities, records, work, keys_in, event)
    if mem[header + H_FORM] & BUSY == 0:
        roomy = room_for_event(mem, meta, entities, header, at)
        if roomy != 0:
            keep_event(mem, entities, roomy, work, event)
            return roomy
        header = turn_busy(
            header, at, entities, clocks, streams, reads, clocks_at, distincts, counts, lists, mem, meta, work
        )
    fold_tiles(
        work, event, e, header, at, entities, clocks, streams, reads, clocks_at, distincts, counts, lists, mem, meta,
        work,
    )  # fmt: skip
    return header


@jit_part
def turn_busy(
    header: int, at: int, entities: I64, clocks: I64, streams: I64, reads: I64, clocks_at: int, distincts: I64,
    counts: I64, lists: I64, mem: I64, meta: I64, work: I64,
) -> int:  # fmt: skip
    """Fold a quiet key's events into tiles and sets; return its new header."""
    form = mem[header + H_FORM]
    e, first = form & ENTITY, header + H_STREAMS
    width = entities[e, E_EVENT]
    busy = open_streams(mem, meta, entities, streams, reads, header)
    for old in range(first, first + width * fill(form), width):
        fold_tiles(
            mem, old, e, busy, at, entities, clocks, streams, reads, clocks_at, distincts, counts, lists, mem, meta,
            work,
        )  # fmt: skip
    release(mem, meta, header, block_words(entities, form))
    return busy


@jit_part
def fold_tiles(
    source: I64, event: int, e: int, header: int, at: int, entities: I64, clocks: I64, streams: I64, reads: I64,
    clocks_at: int, distincts: I64, counts: I64, lists: I64, mem: I64, meta: I64, work: I64,
) -> None:  # fmt: skip
    """Add an event that stands at ``source[event:]`` to each stream, set and list of a busy key that counts it."""
    t, tag = source[event], source[event + TAG]
    captured, frauds = captured_of(tag), frauds_of(tag)
    word_at = header + H_STREAMS
    for s in range(entities[e, E_STREAMS] & PLACE, entities[e, E_STREAMS_END]):
        c, place = streams[s, S_CLOCK], streams[s, S_PLACE]
        lowest, index = work[clocks_at + CLOCK * c], step_of(t, clocks[c, C_STEP], work[clocks_at + CLOCK * c + 2])
        if index >= lowest:
            count, total, third = captured, frauds, 0
            if streams[s, S_LABELS]:
                third = amount_of_fraud(source, event, place)
                counted_in = captured != 0 or frauds != 0
            else:
                total = third = counted(source, event, streams[s, S_KINDS], place)
                count, counted_in = 1, total != MISSING
            if counted_in:
                tile, made = tile_at(mem, meta, header, word_at, index, s, streams, reads, work, clocks_at)
                add(mem, header, tile, made, count, total, third, s, streams, reads)
        word_at += 1
    for d in range(entities[e, E_DISTINCTS] & PLACE, entities[e, E_DISTINCTS_END]):
        if names(source, event, distincts[d, D_KINDS], distincts[d, D_PLACE], at - distincts[d, D_WINDOW]):
            element = source[event + distincts[d, D_PLACE]]
            see_distinct(mem, meta, header, word_at, element, t, at - distincts[d, D_WINDOW], d, distincts, counts)
        word_at += 1
    for i in range(lists.shape[0]):
        if lists[i, L_ENTITY] == e and t >= list_since(i, clocks, clocks_at, lists, work):
            value = counted(source, event, lists[i, L_KINDS], lists[i, L_PLACE])
            if value != MISSING:
                keep_latest(mem, header + lists[i, L_LIST], lists[i, L_LENGTH], t, value)
