"""Payments that come in while the log syncs are decided together when it has."""

from __future__ import annotations

import asyncio
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
    """Decides in batches: the first payment of a quiet moment at once, under load as many as came in during a sync.

    The answers are those of one by one; a batch shares one sync, and each of its steps finds the caches warm.
    """

    def __init__(self, writer: Writer, commit: GroupCommit) -> None:
        self._writer, self._commit = writer, commit
        self._loop = asyncio.get_running_loop()
        self._requests: list[_Request] = []
        self._waiting: asyncio.TimerHandle | None = None
        commit.on_synced = self._decide

    @property
    def depth(self) -> int:
        """Return how many payments are not decided yet."""
        return len(self._requests)

    def ask(self, asked: Asked, timeout_s: float, done: _Done) -> None:
        """Give `done` the answer once it is durable, or not yet so when the time is out."""
        self._requests.append(_Request(asked, self._loop.time() + timeout_s, done))
        count = len(self._requests)
        if count == MOST or (count == 1 and self._commit.idle):
            self._loop.call_soon(self._decide)  # after those that are being read in this very turn
        elif count == 1:
            self._waiting = self._loop.call_later(PATIENCE_S, self._decide)

    def _decide(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
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
