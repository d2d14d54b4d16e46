"""Playing a world: all its events in the order in which a merchant learns them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from avalist.domain.events import OutcomeEvent, WireEvent
from avalist.simulator.fate import Attempt, Due
from avalist.simulator.world import Batch, World

Approve = Callable[[Attempt], bool]
"""A merchant's policy, asked once per payment, after the payment was handed over."""


class Pending:
    """Outcomes that are on their way, handed out when they are due.

    >>> pending = Pending()
    >>> next(pending.until(0), None) is None
    True
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, OutcomeEvent]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, follow_ups: Iterable[Due]) -> None:
        """Put outcomes on their way, those of a payment that was approved."""
        for at_ms, event in follow_ups:
            self._added += 1
            heapq.heappush(self._heap, (at_ms, self._added, event))

    def until(self, at_ms: int | None = None) -> Iterator[OutcomeEvent]:
        """Yield what is due by a time, in order; without one, all that is left."""
        heap = self._heap
        while heap and (at_ms is None or heap[0][0] <= at_ms):
            yield heapq.heappop(heap)[2]


def approve_all(attempt: Attempt) -> bool:
    """Approve every payment: a merchant without fraud prevention."""
    return True


def live(batches: Iterable[Batch], pending: Pending, approve: Approve = approve_all) -> Iterator[WireEvent]:
    """Yield the events of some hours in order, with the outcomes due between them; what comes later stays `pending`."""
    for batch in batches:
        for step in batch.steps:
            yield from pending.until(step.at_ms)
            yield step.event
            if step.attempt and approve(step.attempt):
                pending.add(step.attempt.follow_ups)


def play(world: World, days: float, approve: Approve = approve_all, *, late: bool = False) -> Iterator[WireEvent]:
    """Yield a world's events in order of ``received_at``; only approved payments are authorised and captured.

    `approve` is called when the event after a payment is asked for: a live caller sends the payment first and answers
    with what came back. Outcomes due after the end are left out unless `late`.

    >>> world = World(seed=1, payments_per_day=200)
    >>> {e.type for e in play(world, 0.5, lambda attempt: False)} <= {"payment", "login", "sign_up"}
    True
    """
    pending = Pending()
    yield from live(world.batches(days), pending, approve)
    yield from pending.until(None if late else world.start_ms + round(days * 24) * 3_600_000 - 1)


def history(world: World, days: float, *, late: bool = False) -> Iterator[WireEvent]:
    """Yield the events of a merchant that had no fraud prevention: all that issuers approve is captured.

    >>> kinds = [e.type for e in history(World(seed=1, payments_per_day=200), 1)]
    >>> kinds.count("payment") > kinds.count("capture") > 0
    True
    """
    return play(world, days, late=late)
