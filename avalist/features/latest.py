"""An entity's latest events of a kind: how many of the last k a window holds, their sum, the first of them, its age.

A quiet key reads them from its events. A busy one keeps a list in its header, ``[n, t, value, t, value…]`` with the
latest last; of events with one time the one that came later is later.
"""

from __future__ import annotations

import numpy as np

from avalist.domain.row import AT, MISSING, VALUES
from avalist.features.arena import BUSY, ENTITY, H_FORM, H_STREAMS
from avalist.features.elementary import distance_km
from avalist.features.jit import jit_inline, jit_part
from avalist.features.layout import (
    C_STEP,
    E_EVENT,
    F64,
    I64,
    L_CELLS,
    L_CLOCK,
    L_ENTITY,
    L_KINDS,
    L_LENGTH,
    L_LIST,
    L_PLACE,
    L_VALUE,
    LIST_CELLS,
    PLACE,
)
from avalist.features.quiet import counted, fill
from avalist.features.tiles import CLOCK
from avalist.features.widen import east_of, north_of

_LEAST_S = 60.0
"""Of two payments nearer in time a speed would tell the clocks' errors."""


@jit_part
def read_lists(
    row: I64, e: int, header: int, seen: bool, entities: I64, clocks: I64, lists: I64, clocks_at: int, mem: I64,
    work: I64, cells: F64,
) -> None:  # fmt: skip
    """Write the cells of an entity's lists, of a key that was seen or not."""
    for i in range(lists.shape[0]):
        if lists[i, L_ENTITY] != e:
            continue
        at = lists[i, L_CELLS] & PLACE
        own = row[VALUES + lists[i, L_VALUE]] if lists[i, L_VALUE] >= 0 else 0
        for cell in range(at, at + LIST_CELLS):
            cells[cell] = np.nan
        cells[at + 4] = np.float64(own) if own != MISSING else np.nan
        if seen:
            since = list_since(i, clocks, clocks_at, lists, work)
            read_list(row[AT], lists, i, header, since, entities, mem, cells, at)


@jit_part
def list_since(i: int, clocks: I64, clocks_at: int, lists: I64, work: I64) -> int:
    """Return the time from which a list's window counts."""
    clock = lists[i, L_CLOCK] & PLACE
    return int(work[clocks_at + CLOCK * clock] * clocks[clock, C_STEP])


@jit_inline
def read_list(
    at_ms: int, lists: I64, i: int, header: int, since: int, entities: I64, mem: I64, cells: F64, at: int
) -> None:
    """Write how many of the latest events came at or after `since`, their sum, the first one's value and its age."""
    form = mem[header + H_FORM]
    busy = form & BUSY != 0
    first = header + (lists[i, L_LIST] + 1 if busy else H_STREAMS)
    width = 2 if busy else entities[form & ENTITY, E_EVENT]
    n = mem[first - 1] if busy else fill(form)
    found, total, earliest, value = 0, 0, 0, 0
    for back in range(1, n + 1):
        place = first + width * (n - back)
        if found == lists[i, L_LENGTH] or mem[place] < since:
            break
        x = mem[place + 1] if busy else counted(mem, place, lists[i, L_KINDS], lists[i, L_PLACE])
        if x != MISSING:
            found, total, earliest, value = found + 1, total + x, mem[place], x
    cells[at] = np.float64(found)
    cells[at + 1] = np.float64(total)
    if found == lists[i, L_LENGTH]:
        cells[at + 2] = np.float64(value)
        cells[at + 3] = (at_ms - earliest) / 1000.0


@jit_inline
def keep_latest(mem: I64, at: int, length: int, t: int, value: int) -> None:
    """Put an event into the list at `at`, whose earliest gives way where it is full."""
    n = mem[at]
    if n == length:
        if t < mem[at + 1]:
            return
        n -= 1
        for w in range(at + 1, at + 1 + 2 * n):
            mem[w] = mem[w + 2]
    place = at + 1 + 2 * n
    while place > at + 1 and mem[place - 2] > t:
        mem[place], mem[place + 1] = mem[place - 2], mem[place - 1]
        place -= 2
    mem[place], mem[place + 1] = t, value
    mem[at] = n + 1


@jit_inline
def live_latest(mem: I64, header: int, lists: I64, i: int, entities: I64, since: int, out: I64, n: int) -> int:
    """Write the time and value of what the list of a key holds since a time; return the new fill of `out`."""
    form = mem[header + H_FORM]
    if form & BUSY:
        at = header + lists[i, L_LIST]
        for place in range(at + 1, at + 1 + 2 * mem[at], 2):
            if mem[place] >= since:
                out[n], out[n + 1] = mem[place], mem[place + 1]
                n += 2
        return n
    width, first = entities[form & ENTITY, E_EVENT], header + H_STREAMS
    begin, place = n, first + width * fill(form)
    while place > first and n < begin + 2 * lists[i, L_LENGTH]:
        place -= width
        x = counted(mem, place, lists[i, L_KINDS], lists[i, L_PLACE])
        if x != MISSING and mem[place] >= since:
            out[n], out[n + 1] = mem[place], x
            n += 2
    for pair in range((n - begin) // 4):  # the latest stands last
        low, high = begin + 2 * pair, n - 2 - 2 * pair
        for w in range(2):
            out[low + w], out[high + w] = out[high + w], out[low + w]
    return n


@jit_inline
def speed_kmh(place: float, seconds: float, own: float) -> float:
    """Return the speed from an earlier place to the event's own, NaN where one is unknown."""
    if place != place or own != own:
        return np.nan
    here, there = int(own), int(place)
    distance = distance_km(north_of(there), east_of(there), north_of(here), east_of(here))
    return distance / (max(seconds, _LEAST_S) / 3600.0)
