"""The service that decides in its own process: the writer, the commit, and what reads the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from avalist.api.commit import GroupCommit, Kept, Settles
from avalist.api.decider import Decider
from avalist.api.metrics import EmbeddedMetrics
from avalist.api.service import Service
from avalist.app.administer import AddFeatures, Administration, AdminRequest, SetTables, TablesInForce
from avalist.app.followed import Followed, told
from avalist.app.lookup import Archive
from avalist.app.warm import warm_up
from avalist.app.writer import Answer, Asked, Writer
from avalist.config import Settings
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, Unavailable
from avalist.domain.events import WireEvent
from avalist.policy.economics import Policy
from avalist.ports.clock import Clock
from avalist.ports.documents import Documents
from avalist.ports.log import Log

_SLICE: Final = 64


class Embedded(Service):
    """Gateway and decider in one. `commit` is made when the event loop runs."""

    decider: Decider

    def __init__(
        self,
        settings: Settings,
        event_log: Log,
        writer: Writer,
        administration: Administration,
        documents: Documents,
        clock: Clock,
        admin_token: str,
        metrics_token: str,
        generation: int = 1,
    ) -> None:
        super().__init__(settings, administration, documents, clock, admin_token, metrics_token)
        self.metrics: EmbeddedMetrics = EmbeddedMetrics()
        self.writer = writer
        self.administration = administration
        self.webhooks = administration.webhooks
        self.archive = Archive(event_log, documents, writer, generation)
        self._log = event_log
        self._adding = asyncio.Lock()
        self._commit: GroupCommit | None = None

    def warm_up(self) -> None:
        """Compile or load the kernels, and score with every active model once."""
        warm_up(self.writer.merchants.values())

    def start(self) -> None:
        """Begin to answer; called on the event loop."""
        self._commit = GroupCommit(self._log, lambda: self.on_log_failure(), self.on_settled)
        self.decider = Decider(self.writer, self._commit)
        super().start()

    def stop(self) -> None:
        """Make everything durable and stop answering."""
        super().stop()
        if self._commit is not None:
            self._commit.close()

    @property
    def log_failed(self) -> bool:
        """Tell whether the log failed."""
        return self._commit is not None and self._commit.failed is not None

    @property
    def waiting(self) -> int:
        """Return how many answers wait to be decided or for the log; known even when it has failed."""
        return self._commit.depth + self.decider.depth if self._commit is not None else 0

    def check(self) -> None:
        """Raise ``Unavailable`` before the start, ``LogFailed`` once the log has failed."""
        if self._commit is None or not self.ready:
            raise Unavailable("the service is starting or stopping: try again in a moment")
        if self._commit.failed is not None:
            raise self._commit.failed

    def policy(self, merchant: str) -> Policy:
        """Return a merchant's policy. Raises ``NotFound``."""
        return self.writer.merchant(merchant).policy

    def gather(self, ask: Callable[[], None]) -> None:
        """Have a request wait for others; all that wait are asked by `ask` when they can be decided."""
        self.decider.gather(ask)

    def ask(self, asked: Asked, timeout_s: float, done: Settles[Kept[Answer] | Decision]) -> None:
        """Give `done` the answer once it is durable, or not yet so when the time is out; the fallback at once where too
        many wait.
        """
        if self.full and not self.writer.knows(asked.merchant, asked.event.event_id):
            decision = self.writer.answer_unscored(asked.merchant, asked.event, asked.at_ms)
            self.metrics.fallbacks.labels("overloaded").inc()
            done.set_result(decision)
        else:
            self.decider.ask(asked, timeout_s, done)

    def first(self, asked: Asked, kept: Kept[Answer]) -> Decision:
        """Return the first answer: the fallback, where the decision is not durable in time and becomes advice."""
        if kept.durable and not asked.degraded:
            return self.writer.first(asked.merchant, kept.what)
        self.metrics.fallbacks.labels("deadline").inc()
        return self.writer.fallback(asked.merchant, kept.what, self.clock.now_ms(), "deadline")

    async def record(self, merchant: str, events: Sequence[WireEvent]) -> list[AvalistError | None]:
        """Record events without deciding; return for each what was wrong with it, once the others are durable."""
        last, found = -1, list[AvalistError | None]()
        for start in range(0, len(events), _SLICE):
            some = events[start : start + _SLICE]
            if far := self.writer.far(merchant, some):
                await asyncio.to_thread(self.writer.fetch, far)
            for result in self.writer.record_many(merchant, some, self.clock.now_ms()):
                if isinstance(result, AvalistError):
                    found.append(result)
                else:
                    found.append(None)
                    last = max(last, result)
            await asyncio.sleep(0)  # decisions go between
        if last >= 0:
            await self._durable(last)
        return found

    async def administer(self, request: AdminRequest) -> dict[str, Any]:
        """Carry out an operator's request."""
        if isinstance(request, AddFeatures):
            async with self._adding:
                return await self._add_features(request)
        await asyncio.to_thread(self.administration.prepare, request)
        answer = self.administration.carry_out(request, self.clock.now_ms())
        await self._durable(self._log.end - 1)
        return answer

    async def _add_features(self, request: AddFeatures) -> dict[str, Any]:
        """Catch up with a staged state a little at a time, and take it over in the turn in which nothing is missing."""
        await asyncio.to_thread(self.administration.prepare, request)
        while not self.writer.catch_up(request.merchant):
            await asyncio.sleep(0)  # decisions go between
        before = [self.writer.merchant(request.merchant).features]
        answer = self.administration.carry_out(request, self.clock.now_ms())
        await asyncio.to_thread(before.clear)  # giving a large state's memory back takes long
        await self._durable(self._log.end - 1)
        return answer

    async def set_tables(self, request: SetTables) -> TablesInForce:
        """Put reference tables in force for every merchant."""
        await asyncio.to_thread(self.administration.prepare, request)
        answer = self.administration.set_tables(request, self.clock.now_ms())
        await self._durable(self._log.end - 1)
        return answer

    async def measure(self) -> None:
        """Set the gauges of the metrics."""
        said = await asyncio.get_running_loop().run_in_executor(None, self._followed)
        self.metrics.followed(said, self.clock.now_ms(), self._log.durable_end)
        self.metrics.waiting.set(self.waiting)
        self.metrics.entities.set(sum(m.features.live_keys for m in self.writer.merchants.values()))

    def _followed(self) -> Followed | None:
        """Return what the follower said last; None where the documents cannot tell. Not on the deciding thread."""
        try:
            return told(self._documents)
        except Unavailable:
            return None

    async def _durable(self, position: int) -> None:
        """Return once the log is durable past `position`. Raises ``LogFailed``, ``Unavailable`` after ten seconds."""
        self.check()
        assert self._commit is not None
        if not (await self._commit.wait(position, 10.0)).durable:
            raise Unavailable("the log is slow: the event may or may not be kept; retry with the same event_id")
