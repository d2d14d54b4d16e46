"""The order in which a block goes: runs, each a key of an entity's stage with events in their order.

A long block goes key by key. A short one has few events a key, so it goes event by event: each run is of one event.

The kernel's scratch holds, behind its head, the clocks and room to add up a quiet key's events; for each event a note:
the row of its columns (−1: not asked for) and its keys; the runs; and the order of the events, run by run.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.features.jit import jit_part
from avalist.features.layout import G_ENTITY, I64

# the scratch's head: how many runs there are, the run to go on with, and its event in the order; for how many events
# there is room: a power of two; and whether its blocks go event by event
RUNS, RUN, NEXT, CAPACITY, BY_EVENT = range(5)
CLOCKS_AT: Final = 5
SCRATCH: Final = 4 * 256
"""Words in which a quiet key's events are added up."""
# columns of the runs: an entity's stage, a key, the end of its events in the order, where its state was found ahead
Q_STAGE, Q_KEY, Q_END, Q_HEADER = range(4)
RUN_WORDS: Final = 4


def scratch_words(events: int, entities: int, clock_words: int) -> int:
    """Return how many words a block of so many events needs."""
    return CLOCKS_AT + clock_words + SCRATCH + events * (1 + entities + 3 + entities * (RUN_WORDS + 1))


@jit_part
def go_by_event(n: int, width: int, stages: I64, work: I64, notes: int, plan: int, order: int) -> int:
    """List the runs of events one after another, each with its stages; return how many runs there are."""
    count = 0
    for i in range(n):
        for stage in range(1, width):
            at = plan + RUN_WORDS * count
            work[order + count] = i
            count += 1
            work[at + Q_STAGE], work[at + Q_END] = stage, count
            work[at + Q_KEY] = work[notes + i * width + 1 + stages[stage, G_ENTITY]]
    return count


@jit_part
def go_by_key(n: int, width: int, stages: I64, work: I64, notes: int, plan: int, order: int, homes: int) -> int:
    """List the runs, and order the events by them; return how many runs there are.

    ``work[homes:]`` takes a table of the runs by key, then each event's run.
    """
    count, size = 0, 2
    while size < 2 * n:
        size *= 2
    mask, named = size - 1, homes + size
    work[homes:named] = 0
    for stage in range(1, width):
        e, first = stages[stage, G_ENTITY], count
        for i in range(n):
            key = work[notes + i * width + 1 + e]
            slot = np.int64(np.uint64(key) >> np.uint64(20)) & mask
            run = work[homes + slot] - 1
            while run >= first and work[plan + RUN_WORDS * run + Q_KEY] != key:
                slot = (slot + 1) & mask
                run = work[homes + slot] - 1
            if run < first:
                run = count
                count += 1
                work[homes + slot] = count
                at = plan + RUN_WORDS * run
                work[at + Q_STAGE], work[at + Q_KEY], work[at + Q_END] = stage, key, 0
            work[named + i] = run
            work[plan + RUN_WORDS * run + Q_END] += 1
        begin = n * (stage - 1)
        for run in range(first, count):
            begin, work[plan + RUN_WORDS * run + Q_END] = begin + work[plan + RUN_WORDS * run + Q_END], begin
        for i in range(n):
            at = plan + RUN_WORDS * work[named + i] + Q_END
            work[order + work[at]] = i
            work[at] += 1
    return count
