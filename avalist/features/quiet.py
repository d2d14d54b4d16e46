"""A quiet key's past: its few events, in one block with the key, sorted by time.

An event is ``[t, tag, value…, element…]``: what its entity's streams and distinct sets may ask of it. `tag` packs kind
and label changes. Values are those that tiles would give, by construction, so the number of events after which a key
turns to tiles (``meta[QUIET]``) changes no column and no digest.
"""

from __future__ import annotations

from typing import Final

from avalist.domain.row import CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, VALUES, T
from avalist.features.arena import (
    BUSY,
    ENTITY,
    H_FORM,
    H_KEY,
    H_STREAMS,
    LOW,
    QUIET,
    allocate,
    block_words,
    busy_words,
    release,
    slot_of,
)  # fmt: skip
from avalist.features.jit import jit_part
from avalist.features.plan import E_DEPTH, E_EVENT, E_RECORDS, E_RECORDS_END, I64, RECORDED, X_ELEMENT, X_INDEX

TAG: Final = 1
_BIAS: Final = 1 << 15


@jit_part
def write_event(row: I64, e: int, entities: I64, records: I64, keys: I64, out: I64, at: int) -> None:
    """Write what entity `e` keeps of an event to ``out[at:]``; `keys` holds each entity's key at every third word."""
    out[at] = row[T]
    out[at + TAG] = row[KIND] | (row[CAPTURED_DELTA] + _BIAS) << 8 | (row[FRAUD_DELTA] + _BIAS) << 24
    first = entities[e, E_RECORDS]
    for x in range(first, entities[e, E_RECORDS_END]):
        index = records[x, X_INDEX]
        out[at + RECORDED + x - first] = keys[3 * index] if records[x, X_ELEMENT] else row[VALUES + index]


@jit_part
def kind_of(tag: int) -> int:
    """Return a tag's fold kind."""
    return tag & 255


@jit_part
def captured_of(tag: int) -> int:
    """Return a tag's change of captured payments."""
    return (tag >> 8 & 0xFFFF) - _BIAS


@jit_part
def frauds_of(tag: int) -> int:
    """Return a tag's change of frauds."""
    return (tag >> 24 & 0xFFFF) - _BIAS


@jit_part
def counted(source: I64, at: int, kinds: int, place: int) -> int:
    """Return the value that an event adds to a stream (0 where it only counts), or MISSING."""
    if kinds >> kind_of(source[at + TAG]) & 1 == 0:
        return MISSING
    return 0 if place < 0 else source[at + place]


@jit_part
def amount_of_fraud(source: I64, at: int, place: int) -> int:
    """Return what an event adds to the amount of frauds."""
    return 0 if source[at + place] == MISSING else source[at + place] * frauds_of(source[at + TAG])


@jit_part
def fill(form: int) -> int:
    """Return how many events a quiet key holds."""
    return form >> 16 & 255


@jit_part
def room_for_event(mem: I64, meta: I64, entities: I64, header: int, at_ms: int) -> int:
    """Return the key's block with room for another event, perhaps elsewhere; 0 where it has events enough to be busy.

    Events too old for every window go first.
    """
    form = mem[header + H_FORM]
    e, n, room = form & ENTITY, fill(form), form >> 24 & 255
    if n < room and n < meta[QUIET]:
        return header
    width, events, expired = entities[e, E_EVENT], header + H_STREAMS, 0
    while expired < n and mem[events + width * expired] < at_ms - entities[e, E_DEPTH]:
        expired += 1
    if expired > 0:
        for w in range(width * (n - expired)):
            mem[events + w] = mem[events + width * expired + w]
        n -= expired
        mem[header + H_FORM] = e | n << 16 | room << 24
    if n >= meta[QUIET]:
        return 0
    if n < room:
        return header
    room = room + 1 if room < 4 else min(room + 4, 255)
    return move(mem, meta, entities, header, e | n << 16 | room << 24, width * n)


@jit_part
def move(mem: I64, meta: I64, entities: I64, header: int, form: int, events: int) -> int:
    """Give the key a block of another form, with `events` words of events; free the old one."""
    moved = allocate(mem, meta, block_words(entities, form))
    for w in range(H_STREAMS + events):
        mem[moved + w] = mem[header + w]
    release(mem, meta, header, block_words(entities, mem[header + H_FORM]))
    mem[moved + H_FORM] = form
    mem[slot_of(mem, meta, mem[moved + H_KEY]) + 1] = moved
    return moved


@jit_part
def keep_event(mem: I64, entities: I64, header: int, source: I64, at: int) -> None:
    """Put an event in its place by time; there is room."""
    form = mem[header + H_FORM]
    width, n = entities[form & ENTITY, E_EVENT], fill(form)
    place = header + H_STREAMS + width * n
    while place > header + H_STREAMS and mem[place - width] > source[at]:
        for w in range(width):
            mem[place + w] = mem[place - width + w]
        place -= width
    for w in range(width):
        mem[place + w] = source[at + w]
    mem[header + H_FORM] = form + (1 << 16)


@jit_part
def open_streams(mem: I64, meta: I64, entities: I64, header: int) -> int:
    """Return a busy header, without anything in it, for a key whose events the caller folds into it and frees."""
    e = mem[header + H_FORM] & ENTITY
    busy = allocate(mem, meta, busy_words(entities, e))
    for w in range(H_STREAMS):
        mem[busy + w] = mem[header + w]
    mem[busy + H_FORM] = e | BUSY
    mem[busy + H_STREAMS : busy + busy_words(entities, e)] = 0
    mem[slot_of(mem, meta, mem[busy + H_KEY]) + 1] = busy
    return busy


@jit_part
def read_events(
    mem: I64, first: int, width: int, n: int, kinds: int, place: int, low_ms: int, end_ms: int, work: I64, out: int
) -> None:
    """Sum the events with low ≤ t < end into ``work[out : out + 3]``, as tiles would."""
    count, total, highest = 0, 0, LOW
    for at in range(first + width * (n - 1), first - width, -width):
        if mem[at] < low_ms:
            break
        if mem[at] < end_ms:
            value = counted(mem, at, kinds, place)
            if value != MISSING:
                count += 1
                total += value
                highest = max(highest, value)
    work[out] = count
    work[out + 1] = total
    work[out + 2] = highest


@jit_part
def read_judged(
    mem: I64, first: int, width: int, n: int, place: int, low_ms: int, end_ms: int, step: int, gap: int, work: I64,
    out: int,
) -> None:  # fmt: skip
    """Sum the label changes with low ≤ t < end into ``work[out : out + 6]``, step by step, as tiles would."""
    captured, frauds, amount, latest, clean, begun = 0, 0, 0, LOW, 0, LOW
    at = first + width * (n - 1)
    while at >= first and mem[at] >= low_ms:
        if mem[at] >= end_ms:
            at -= width
            continue
        index, now_captured, now_frauds = mem[at] // step, 0, 0
        while at >= first and mem[at] >= index * step:
            now_captured += captured_of(mem[at + TAG])
            now_frauds += frauds_of(mem[at + TAG])
            amount += amount_of_fraud(mem, at, place)
            at -= width
        if now_frauds > 0:
            latest = max(latest, index)
            if begun == LOW or begun - index <= gap:
                begun = index
        elif begun == LOW:
            clean += now_captured
        captured += now_captured
        frauds += now_frauds
    work[out] = captured
    work[out + 1] = frauds
    work[out + 2] = amount
    work[out + 3] = latest
    work[out + 4] = clean
    work[out + 5] = begun


@jit_part
def count_apart(mem: I64, first: int, width: int, n: int, kinds: int, place: int, since: int) -> float:
    """Return how many different elements events from `since` on name."""
    seen = 0
    end = first + width * n
    for at in range(first, end, width):
        if names(mem, at, kinds, place, since):
            later = at + width
            while later < end and not (
                names(mem, later, kinds, place, since) and mem[later + place] == mem[at + place]
            ):
                later += width
            seen += later == end
    return float(seen)


@jit_part
def names(mem: I64, at: int, kinds: int, place: int, since: int) -> bool:
    """Tell whether an event counts in a distinct set."""
    return bool(mem[at] >= since and mem[at + place] != 0 and kinds >> kind_of(mem[at + TAG]) & 1)


@jit_part
def tiles_of_events(
    mem: I64, first: int, width: int, n: int, kinds: int, place: int, labels: int, step: int, lowest: int, out: I64,
    filled: int,
) -> int:  # fmt: skip
    """Write the tiles from `lowest` on that these events would make; return the new fill of `out`."""
    at, end = first, first + width * n
    while at < end:
        index = mem[at] // step
        out[filled] = index
        out[filled + 1] = 0
        out[filled + 2] = 0
        out[filled + 3] = 0 if labels else LOW
        while at < end and mem[at] < (index + 1) * step:
            value = counted(mem, at, kinds, place)
            if labels:
                out[filled + 1] += captured_of(mem[at + TAG])
                out[filled + 2] += frauds_of(mem[at + TAG])
                out[filled + 3] += amount_of_fraud(mem, at, place)
            elif value != MISSING:
                out[filled + 1] += 1
                out[filled + 2] += value
                out[filled + 3] = max(out[filled + 3], value)
            at += width
        empty = out[filled + 1] == 0 and out[filled + 2] == 0 and (out[filled + 3] == 0 or not labels)
        if index >= lowest and not empty:
            filled += 4
    return filled


@jit_part
def elements_of_events(
    mem: I64, first: int, width: int, n: int, kinds: int, place: int, since: int, out: I64, filled: int
) -> int:
    """Write (element, last seen) of these events in order of element; return the new fill of `out`."""
    begin = filled
    for at in range(first, first + width * n, width):
        if not names(mem, at, kinds, place, since):
            continue
        element = mem[at + place]
        i = begin
        while i < filled and out[i] < element:
            i += 2
        if i == filled or out[i] != element:
            for w in range(filled - 1, i - 1, -1):
                out[w + 2] = out[w]
            out[i] = element
            filled += 2
        out[i + 1] = mem[at]
    return filled
