"""Group commit: answers leave once the log is durable past them; many answers share one fsync."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from avalist.domain.errors import LogFailed
from avalist.ports.log import Log

_SWEEP_S = 0.004


class _Waiter(NamedTuple):
    position: int
    due_s: float
    done: asyncio.Future[bool]


class GroupCommit:
    """Syncs the log on a thread of its own while the event loop goes on deciding.

    ``wait(position, timeout_s)`` gives a future: True once everything up to and with `position` is durable, False when
    the time ran out first, ``LogFailed`` when the log failed; then `on_failure` is called, for the decider must stop.
    """

    def __init__(self, log: Log, on_failure: Callable[[], None]) -> None:
        self._log = log
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiter] = deque()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._asked = False
        self._sweeping = False
        self.failed: LogFailed | None = None
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Return how many answers wait."""
        return len(self._waiting)

    def wait(self, position: int, timeout_s: float) -> asyncio.Future[bool]:
        """Return a future of the commit of `position`."""
        done = self._loop.create_future()
        if self.failed is not None:
            done.set_exception(self.failed)
        elif position < self._log.durable_end:
            done.set_result(True)
        else:
            self._waiting.append(_Waiter(position, self._loop.time() + timeout_s, done))
            if not self._asked:
                self._asked = True
                self._wake.put(True)
            if not self._sweeping:
                self._sweeping = True
                self._loop.call_later(_SWEEP_S, self._sweep)
        return done

    def close(self) -> None:
        """Stop the thread after a last sync."""
        self._wake.put(False)
        self._thread.join()

    def _run(self) -> None:
        while self._wake.get():
            self._asked = False  # before the sync: whoever appends from here on asks again
            try:
                end = self._log.sync()
            except LogFailed as error:
                self._loop.call_soon_threadsafe(self._fail, error)
                return
            self._loop.call_soon_threadsafe(self._settle, end)

    def _settle(self, end: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0].position < end:
            done = waiting.popleft().done
            if not done.done():
                done.set_result(True)

    def _fail(self, error: LogFailed) -> None:
        self.failed = error
        while self._waiting:
            done = self._waiting.popleft().done
            if not done.done():
                done.set_exception(error)
        self._on_failure()

    def _sweep(self) -> None:
        self._sweeping = bool(self._waiting)
        if not self._sweeping:
            return
        now = self._loop.time()
        for waiter in self._waiting:
            if waiter.due_s <= now and not waiter.done.done():
                waiter.done.set_result(False)
        self._loop.call_later(_SWEEP_S, self._sweep)
