"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
from typing import Self, TypeVar, Unpack

import httpx

from avalist_client import types
from avalist_client.client import LIMITS, Client
from avalist_client.fallback import Decision
from avalist_client.protocol import Checkpoint, Lost, Outcome, Pause, Reply, Send, Steps

T = TypeVar("T")
_PARALLEL = 32


class AsyncAvalist(Client[httpx.AsyncClient]):
    """A client of the service. Make one for an event loop; any number of tasks may share it.

    The methods are those of ``Avalist``.
    """

    _task: asyncio.Task[None] | None = None

    @functools.cached_property
    def _turns(self) -> asyncio.Semaphore:
        """How many requests are under way: the work of httpx for one grows with their number."""
        return asyncio.Semaphore(_PARALLEL)

    def _connect(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(limits=LIMITS)

    async def decide(self, **payment: Unpack[types.DecisionRequest]) -> Decision:
        """Decide a payment before it is authorised: see ``Avalist.decide``."""
        decision = await self._run(self._protocol.decide(payment))
        if decision.local:
            self._wake()
        return decision

    async def get(self, payment_id: str, checkpoint: Checkpoint = "pre_auth") -> types.StoredDecision:
        """Return a decision as first answered, with all that it was made from. Raises ``NotFound``."""
        return await self._run(self._protocol.get(payment_id, checkpoint))

    async def lookup(self, **query: Unpack[types.Lookup]) -> types.Found:
        """Return the decisions on payments that share an e-mail address, a card, an IP: newest first."""
        return await self._run(self._protocol.lookup(query))

    async def record(self, *events: types.Event) -> types.Recorded:
        """Record events: see ``Avalist.record``."""
        return await self._run(self._protocol.record(events))

    async def flush(self, timeout_ms: float = 1000) -> int:
        """Send what waits now; return how many still do when all is sent or time is over."""
        await self._run(self._protocol.deliver(timeout_ms / 1000))
        return self.waiting

    async def close(self, flush_ms: float = 1000) -> None:
        """Send what waits, for so long at most, and close the connections."""
        if self._closing.is_set():
            return
        self._closing.set()
        try:
            if (task := self._task) is not None:
                task.cancel()
                await asyncio.wait([task])
            await self.flush(flush_ms)
        finally:  # also when the closing is cancelled
            self._close_outbox()
            if self._own_http:
                await self._http.aclose()

    async def __aenter__(self) -> Self:
        self._wake()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as stop:
                answer: T = stop.value
                return answer
            outcome = await self._carry_out(step)

    async def _carry_out(self, step: Send | Pause) -> Outcome | None:
        if isinstance(step, Send):
            return await self._send(step)
        await asyncio.sleep(step.seconds)
        return None

    async def _send(self, step: Send) -> Outcome:
        method, _, body = step.request
        try:
            async with asyncio.timeout(step.timeout_s), self._turns:
                response = await self._http.request(
                    method, self._url(step.request), content=body, headers=self._headers, timeout=None
                )
        except TimeoutError:
            return Lost(f"no answer within {step.timeout_s * 1000:.0f} ms")
        except httpx.RequestError as error:
            return Lost(f"{type(error).__name__}: {error}")
        except RuntimeError:
            return self._lost_closed()
        return Reply(response.status_code, response.headers, response.content)

    def _wake(self) -> None:
        """Have a task send what waits; it ends when nothing does. Outside a loop there is nobody to do so yet."""
        if self._task is None and not self._closing.is_set() and self.waiting and _in_loop():
            self._task = asyncio.create_task(self._deliver(), name="avalist-outbox")

    async def _deliver(self) -> None:
        try:
            while self.waiting:
                await self._run(self._protocol.deliver())
        finally:
            self._task = None


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
