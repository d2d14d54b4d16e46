"""A quiet key's past: its few events, in one block with the key, sorted by time.

An event is ``[t, tag, value…, element…]``: what its entity's streams and distinct sets may ask of it. `tag` packs kind
and label changes. Values are those that tiles would give, by construction, so the number of events after which a key
turns to tiles (``meta[QUIET]``) changes no column and no digest.
"""

from __future__ import annotations

from typing import Final

from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, VALUES, T
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
    release,
    slot_of,
)  # fmt: skip
from avalist.features.cells import own_value, write_labels, write_run, write_window
from avalist.features.jit import jit_part
from avalist.features.layout import (
    E_BUSY,
    E_DEPTH,
    E_EVENT,
    E_FEEDS,
    E_FEEDS_END,
    E_RECORDS,
    E_RECORDS_END,
    E_STREAMS,
    E_STREAMS_END,
    F64,
    F_KINDS,
    F_LABELS,
    F_PLACE,
    F_READS,
    F_READS_END,
    F_VALUE,
    I64,
    PLACE,
    R_CACHE,
    R_CELLS,
    R_CLOCK,
    R_GAP,
    R_SCAN,
    R_STEP,
    RECORDED,
    S_LABELS,
    S_READS,
    S_READS_END,
    X_ELEMENT,
    X_INDEX,
)  # fmt: skip
from avalist.features.tiles import CLOCK, NEVER, start_window

TAG: Final = 1
_BIAS: Final = 1 << 15


@jit_part
def write_event(row: I64, e: int, entities: I64, records: I64, work: I64, keys_in: int, at: int) -> None:
    """Write what entity `e` keeps of an event to ``work[at:]``; each entity's key stands at ``work[keys_in:]``."""
    work[at] = row[T]
    work[at + TAG] = row[KIND] | (row[CAPTURED_DELTA] + _BIAS) << 8 | (row[FRAUD_DELTA] + _BIAS) << 24
    first = entities[e, E_RECORDS]
    for x in range(first, entities[e, E_RECORDS_END]):
        index = records[x, X_INDEX]
        work[at + RECORDED + x - first] = work[keys_in + index] if records[x, X_ELEMENT] else row[VALUES + index]


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
def open_streams(mem: I64, meta: I64, entities: I64, streams: I64, reads: I64, header: int) -> int:
    """Return a busy header, without anything in it, for a key whose events the caller folds into it and frees."""
    e = mem[header + H_FORM] & ENTITY
    busy = allocate(mem, meta, entities[e, E_BUSY])
    for w in range(H_STREAMS):
        mem[busy + w] = mem[header + w]
    mem[busy + H_FORM] = e | BUSY
    mem[busy + H_STREAMS : busy + entities[e, E_BUSY]] = 0
    for s in range(entities[e, E_STREAMS], entities[e, E_STREAMS_END]):
        for r in range(streams[s, S_READS], streams[s, S_READS_END]):
            start_window(mem, busy + reads[r, R_CACHE], streams[s, S_LABELS])
    mem[slot_of(mem, meta, mem[busy + H_KEY]) + 1] = busy
    return busy


@jit_part
def read_quiet(
    row: I64, header: int, entities: I64, feeds: I64, reads: I64, mem: I64, work: I64, clocks_at: int, sums: int,
    cells: F64,
) -> None:  # fmt: skip
    """Read every window of a quiet key: once over its events for each feed, then a look-up for each window.

    ``work[sums:]`` takes what the events from each one on add up to.
    """
    form, first = mem[header + H_FORM], header + H_STREAMS
    e, n = form & ENTITY, fill(form)
    width = entities[e, E_EVENT] & PLACE
    for f in range(entities[e, E_FEEDS] & PLACE, entities[e, E_FEEDS_END]):
        kinds, place, labels = feeds[f, F_KINDS], feeds[f, F_PLACE], feeds[f, F_LABELS]
        if labels:
            add_up_labels(mem, first, width, n, place, work, sums)
        else:
            add_up(mem, first, width, n, kinds, place, work, sums)
        own = own_value(row, kinds, feeds[f, F_VALUE])
        low = end = n
        for r in range(feeds[f, F_READS] & PLACE, feeds[f, F_READS_END]):
            clock, cell = clocks_at + CLOCK * (reads[r, R_CLOCK] & PLACE), reads[r, R_CELLS] & PLACE
            step, until = reads[r, R_STEP], work[clock + 1]
            low = since(mem, first, width, n, low, work[clock] * step)
            end = since(mem, first, width, n, end, until * step) if until != NEVER else n
            at, less = sums + 4 * low, sums + 4 * end
            count, total = work[at] - work[less], work[at + 1] - work[less + 1]
            if labels:
                write_labels(cells, cell, count, total, work[at + 2] - work[less + 2])
                if reads[r, R_SCAN]:
                    latest, clean, begun = LOW, count, LOW
                    if work[at + 3] != work[less + 3]:
                        latest, clean, begun = judge_events(mem, first, width, low, end, step, reads[r, R_GAP])
                    write_run(cells, cell, row[AT], step, latest, clean, begun)
            else:
                highest = work[at + 2]
                if reads[r, R_SCAN] and end < n:
                    highest = highest_of(mem, first, width, low, end, kinds, place)
                write_window(cells, reads, r, count, total, highest, own, work[clock + 2] >= work[clock])


@jit_part
def since(mem: I64, first: int, width: int, n: int, guess: int, t: int) -> int:
    """Return which event is the first at or after `t`, looking around a guess."""
    while guess > 0 and mem[first + width * (guess - 1)] >= t:
        guess -= 1
    while guess < n and mem[first + width * guess] < t:
        guess += 1
    return guess


@jit_part
def add_up(mem: I64, first: int, width: int, n: int, kinds: int, place: int, work: I64, sums: int) -> None:
    """Write count, sum and maximum of the events from each one on."""
    count, total, highest = 0, 0, LOW
    for i in range(n, -1, -1):
        if i < n:
            value = counted(mem, first + width * i, kinds, place)
            if value != MISSING:
                count += 1
                total += value
                highest = max(highest, value)
        work[sums + 4 * i] = count
        work[sums + 4 * i + 1] = total
        work[sums + 4 * i + 2] = highest


@jit_part
def add_up_labels(mem: I64, first: int, width: int, n: int, place: int, work: I64, sums: int) -> None:
    """Write captured, frauds, their amount and the number of changes of frauds of the events from each one on."""
    captured, frauds, amount, changes = 0, 0, 0, 0
    for i in range(n, -1, -1):
        if i < n:
            at = first + width * i
            captured += captured_of(mem[at + TAG])
            now = frauds_of(mem[at + TAG])
            if now != 0:
                frauds += now
                amount += amount_of_fraud(mem, at, place)
                changes += 1
        work[sums + 4 * i] = captured
        work[sums + 4 * i + 1] = frauds
        work[sums + 4 * i + 2] = amount
        work[sums + 4 * i + 3] = changes


@jit_part
def highest_of(mem: I64, first: int, width: int, low: int, end: int, kinds: int, place: int) -> int:
    """Return the maximum of the events from `low` to before `end`."""
    highest = LOW
    for i in range(low, end):
        value = counted(mem, first + width * i, kinds, place)
        highest = max(highest, value if value != MISSING else LOW)
    return highest


@jit_part
def judge_events(mem: I64, first: int, width: int, low: int, end: int, step: int, gap: int) -> tuple[int, int, int]:
    """Return the latest step with fraud, the payments captured after it, and its run's first step, as tiles would."""
    latest, clean, begun = LOW, 0, LOW
    i = end - 1
    while i >= low:
        index, captured, frauds = mem[first + width * i] // step, 0, 0
        while i >= low and mem[first + width * i] >= index * step:
            captured += captured_of(mem[first + width * i + TAG])
            frauds += frauds_of(mem[first + width * i + TAG])
            i -= 1
        if frauds > 0:
            latest = max(latest, index)
            if begun == LOW or begun - index <= gap:
                begun = index
        elif begun == LOW:
            clean += captured
    return latest, clean, begun


@jit_part
def add_up_apart(mem: I64, first: int, width: int, n: int, kinds: int, place: int, work: I64, sums: int) -> None:
    """Write how many different elements the events from each one on name."""
    seen = 0
    work[sums + n] = 0
    for i in range(n - 1, -1, -1):
        if names(mem, first + width * i, kinds, place, LOW):
            j = i + 1
            while j < n and not (
                mem[first + width * j + place] == mem[first + width * i + place]
                and names(mem, first + width * j, kinds, place, LOW)
            ):
                j += 1
            seen += j == n
        work[sums + i] = seen


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
