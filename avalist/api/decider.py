"""Payments that come in while the log syncs are decided together when it has; under load they wait for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from avalist.api.commit import GroupCommit, Kept, Settles
from avalist.app.writer import Answer, Asked, Writer
from avalist.domain.errors import LogFailed

MOST = 32
"""So many payments are decided without waiting for anything: more would gain little."""
PATIENCE_S = 0.002
"""So long a payment waits for a sync under way: a slow log delays answers, not decisions."""
GATHER_S = 0.004
"""So long after a batch payments wait for others, where batches usually hold ``FEW`` or more, unless as many wait as
came together lately.
"""
FEW = 2.0
_MEMORY = 1 / 16
_LESS = 0.25

_Done = Settles[Kept[Answer]]


class _Request(NamedTuple):
    asked: Asked
    due_s: float
    done: _Done


class Decider:
    """Decides in batches: the first payment of a quiet moment at once, under load as many as came in meanwhile.

    The answers are those of one by one; a batch shares one sync, and each of its steps finds the caches warm. A payment
    of a batch of eight costs half of what it costs alone, so a processor that is nearly busy gains by waiting.
    """

    def __init__(self, writer: Writer, commit: GroupCommit) -> None:
        self._writer, self._commit = writer, commit
        self._loop = asyncio.get_running_loop()
        self._requests: list[_Request] = []
        self._ask: Callable[[], None] | None = None
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._usual = self._most = 1.0
        self._decided_s = 0.0
        commit.on_synced = self._synced

    @property
    def depth(self) -> int:
        """Return how many payments are asked and not decided yet."""
        return len(self._requests)

    def gather(self, ask: Callable[[], None]) -> None:
        """Have a request wait that is not asked yet: when they are to be decided, `ask` asks all that wait so."""
        self._ask = ask
        self._count()

    def ask(self, asked: Asked, timeout_s: float, done: _Done) -> None:
        """Give `done` the answer once it is durable, or not yet so when the time is out."""
        self._requests.append(_Request(asked, self._loop.time() + timeout_s, done))
        if self._ask is None:
            self._count()

    def _count(self) -> None:
        self._waiting += 1
        if self._waiting == MOST:
            self._loop.call_soon(self._decide)  # after those that are being read in this very turn
        elif self._waiting == 1:
            self._plan(0.0 if self._commit.idle else PATIENCE_S)
        elif self._waiting - 1 < self._most <= self._waiting and self._commit.idle:
            self._plan(0.0)

    def _synced(self) -> None:
        if self._waiting:
            self._plan(0.0)

    def _plan(self, wait_s: float) -> None:
        """Decide what waits in so many seconds, or later where more payments are worth waiting for."""
        self._stop_waiting()
        if self._usual >= FEW and self._waiting < self._most:
            wait_s = max(wait_s, self._decided_s + GATHER_S - self._loop.time())
        if wait_s > 0.0:
            self._timer = self._loop.call_later(wait_s, self._decide)
        else:
            self._loop.call_soon(self._decide)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _decide(self) -> None:
        self._stop_waiting()
        if self._ask is not None:
            self._ask()
            self._ask = None
        self._waiting = 0
        requests, self._requests = self._requests, []
        if not requests:
            return
        self._decided_s = self._loop.time()
        self._usual += (len(requests) - self._usual) * _MEMORY
        self._most = max(len(requests), self._most - _LESS)
        try:
            answers = self._writer.decide_many([request.asked for request in requests])
        except BaseException as error:
            for request in requests:
                request.done.set_exception(error)
            if isinstance(error, LogFailed):
                self._commit.fail(error)
                return
            raise
        for request, answer in zip(requests, answers, strict=True):
            if request.done.done():
                continue  # the caller went away
            if isinstance(answer, Answer):
                self._commit.expect(answer.position, request.due_s, answer, request.done)
            else:
                request.done.set_exception(answer)
