"""The client for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar, Unpack

import httpx

from avalist_client import types
from avalist_client.client import LIMITS, Client
from avalist_client.fallback import Decision
from avalist_client.protocol import Checkpoint, Lost, Outcome, Pause, Reply, Send, Steps

T = TypeVar("T")


class Avalist(Client[httpx.Client]):
    """A client of the service. Make one for a process, after it forked, and share it between threads."""

    _thread: threading.Thread | None = None

    def _connect(self) -> httpx.Client:
        return httpx.Client(limits=LIMITS)

    def decide(self, **payment: Unpack[types.DecisionRequest]) -> Decision:
        """Decide a payment before it is authorised.

        `event_id` and `occurred_at` are filled in. Give the time, such as that of the order, if you may ask again after
        a crash: the same payment said the same way gets the first answer.

        Raises
        ------
        Problem
            If the service refuses the request: ``BadInput`` and the like. Trouble of the network never raises, unless
            `fallback` is ``None``.
        ValueError
            If `event_id` comes without `occurred_at`.
        """
        decision = self._run(self._protocol.decide(payment))
        if decision.local:
            self._wake()
        return decision

    def get(self, payment_id: str, checkpoint: Checkpoint = "pre_auth") -> types.StoredDecision:
        """Return a decision as first answered, with all that it was made from. Raises ``NotFound``."""
        return self._run(self._protocol.get(payment_id, checkpoint))

    def lookup(self, **query: Unpack[types.Lookup]) -> types.Found:
        """Return the decisions on payments that share an e-mail address, a card, an IP: newest first."""
        return self._run(self._protocol.lookup(query))

    def record(self, *events: types.Event) -> types.Recorded:
        """Record events: outcomes, sign-ups, logins, payments of the past; at most 10,000 a call.

        Events of which some do not fit are recorded as far as they do, and the answer's `errors` name the others.
        Raises ``Problem`` if none is recorded, ``Unreachable`` or ``TryLater`` if the service does not answer in time.
        Give each event an `event_id` of its own if you may send it again.
        """
        return self._run(self._protocol.record(events))

    def flush(self, timeout_ms: float = 1000) -> int:
        """Send what waits now; return how many still do when all is sent or time is over."""
        self._run(self._protocol.deliver(timeout_ms / 1000))
        return self.waiting

    def close(self, flush_ms: float = 1000) -> None:
        """Send what waits, for so long at most, and close the connections."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join(flush_ms / 1000)
        self.flush(flush_ms)
        if self._own_http:
            self._http.close()
        self._close_outbox()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as stop:
                answer: T = stop.value
                return answer
            outcome = self._carry_out(step, time.sleep)

    def _carry_out(self, step: Send | Pause, sleep: Callable[[float], object]) -> Outcome | None:
        if isinstance(step, Send):
            return self._send(step)
        sleep(step.seconds)
        return None

    def _send(self, step: Send) -> Outcome:
        until = time.monotonic() + step.timeout_s
        method, _, body = step.request
        left = {"timeout": _Left(until, step.timeout_s)}
        parts = []
        try:
            with self._http.stream(
                method, self._url(step.request), content=body, headers=self._headers, extensions=left
            ) as response:
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > until:
                        return Lost("the answer did not end in time")
        except httpx.RequestError as error:
            return Lost(f"{type(error).__name__}: {error}")
        except RuntimeError:
            return self._lost_closed()
        return Reply(response.status_code, response.headers, b"".join(parts))

    # --- what waits is sent by a thread of its own, which ends when nothing does -----------------------------------

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and self.waiting and not self._closing.is_set():
                self._thread = threading.Thread(target=self._deliver, name="avalist-outbox", daemon=True)
                self._thread.start()

    def _deliver(self) -> None:
        while True:
            self._run_until_closing(self._protocol.deliver())
            with self._lock:
                if self._closing.is_set() or not self.waiting:
                    self._thread = None
                    return

    def _run_until_closing(self, steps: Steps[None]) -> None:
        outcome: Outcome | None = None
        while not self._closing.is_set():
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            outcome = self._carry_out(step, self._closing.wait)


class _Left(dict[str, float]):
    """The time-outs of httpcore's steps (connect, write, read), each of which is what is left of the whole."""

    def __init__(self, until: float, timeout_s: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool"), timeout_s))
        self._until = until

    def get(self, key: str, default: object = None) -> float:
        """Return what is left now."""
        return max(self._until - time.monotonic(), 0.001)
