"""Group commit: answers leave once the log is durable past them; many answers share one fsync."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from avalist.domain.errors import LogFailed
from avalist.ports.log import Log

T = TypeVar("T")
_SWEEP_S = 0.004


class Kept(NamedTuple, Generic[T]):
    """What waited for the log, and whether it is durable: if not, the time ran out first."""

    what: T
    durable: bool


C = TypeVar("C", contravariant=True)


class Settles(Protocol[C]):
    """What gets a result once: an ``asyncio.Future`` does."""

    def done(self) -> bool:
        """Tell whether nothing more is wanted."""

    def set_result(self, result: C, /) -> None:
        """Take the result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Take what went wrong."""


class _Waiter(NamedTuple):
    position: int
    due_s: float
    what: Any
    done: Settles[Any]


class GroupCommit:
    """Syncs the log on a thread of its own while the event loop goes on.

    When the log fails, whatever waits gets ``LogFailed`` and `on_failure` is called, for the decider must stop.
    `on_settled` is called on the event loop when a sync has ended and all that waited for it is settled, then
    `on_synced`.
    """

    def __init__(self, log: Log, on_failure: Callable[[], None], on_settled: Callable[[], None] = lambda: None) -> None:
        self._log = log
        self._on_failure = on_failure
        self._on_settled = on_settled
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiter] = deque()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._asked = False
        self._sweeping = False
        self.on_synced: Callable[[], None] = lambda: None
        self.failed: LogFailed | None = None
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Return how many answers wait."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Tell whether nobody waits for a sync."""
        return not self._waiting

    def wait(self, position: int, timeout_s: float) -> asyncio.Future[Kept[None]]:
        """Return a future of the commit of `position`."""
        done: asyncio.Future[Kept[None]] = self._loop.create_future()
        self.expect(position, self._loop.time() + timeout_s, None, done)
        return done

    def expect(self, position: int, due_s: float, what: T, done: Settles[Kept[T]]) -> None:
        """Settle `done` once everything up to and with `position` is durable, or at `due_s` of the loop's clock."""
        if self.failed is not None:
            done.set_exception(self.failed)
        elif position < self._log.durable_end:
            done.set_result(Kept(what, True))
        else:
            self._waiting.append(_Waiter(position, due_s, what, done))
            if not self._asked:
                self._asked = True
                self._wake.put(True)
            if not self._sweeping:
                self._sweeping = True
                self._loop.call_later(_SWEEP_S, self._sweep)

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
                self._loop.call_soon_threadsafe(self.fail, error)
                return
            self._loop.call_soon_threadsafe(self._settle, end)

    def _settle(self, end: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0].position < end:
            waiter = waiting.popleft()
            if not waiter.done.done():
                waiter.done.set_result(Kept(waiter.what, True))
        self._on_settled()
        self.on_synced()

    def fail(self, error: LogFailed) -> None:
        """Give up: whatever waits gets the error, and the decider must stop."""
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
                waiter.done.set_result(Kept(waiter.what, False))
        self._loop.call_later(_SWEEP_S, self._sweep)
