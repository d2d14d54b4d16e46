"""Payments that come in while the log syncs are decided together when it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from avalist.api.commit import GroupCommit, Kept, Settles
from avalist.app.writer import Answer, Asked, Writer
from avalist.domain.errors import LogFailed

MOST = 32
"""So many payments are decided without waiting for a sync under way: more would gain little."""
PATIENCE_S = 0.002
"""So long a payment waits for a sync under way: a slow log delays answers, not decisions."""

_Done = Settles[Kept[Answer]]


class _Request(NamedTuple):
    asked: Asked
    due_s: float
    done: _Done


class Decider:
    """Decides in batches: the first payment of a quiet moment at once, under load as many as came in meanwhile.

    The answers are those of one by one; a batch shares one sync, and each of its steps finds the caches warm. Nothing
    waits for more to come: the next batch is as large as the work on this one is long (ADR 42).
    """

    def __init__(self, writer: Writer, commit: GroupCommit) -> None:
        self._writer, self._commit = writer, commit
        self._loop = asyncio.get_running_loop()
        self._requests: list[_Request] = []
        self._ask: Callable[[], None] | None = None
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
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
        if self._waiting == MOST or (self._waiting == 1 and self._commit.idle):
            self._loop.call_soon(self._decide)  # after those that are being read in this very turn
        elif self._waiting == 1:
            self._timer = self._loop.call_later(PATIENCE_S, self._decide)

    def _synced(self) -> None:
        if self._waiting:
            self._loop.call_soon(self._decide)  # after the answers are written

    def _decide(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ask is not None:
            self._ask()
            self._ask = None
        self._waiting = 0
        requests, self._requests = self._requests, []
        if not requests:
            return
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
