"""What a client says and when, without saying it: requests, retries, deadlines and fallback as generators.

A generator yields ``Send`` or ``Pause`` and is sent what came of it; the clients in ``sync`` and ``asynchronous`` only
carry that out. So there is one implementation, and tests of it need no socket and no clock.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import math
import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar, cast
from urllib.parse import quote

import msgspec

from avalist_client import types
from avalist_client.cards import refuse_card_numbers
from avalist_client.errors import (
    AvalistError,
    NotFound,
    Problem,
    TryLater,
    Unreachable,
    error_of,
)
from avalist_client.fallback import Decision, Mode, fall_back
from avalist_client.outbox import Outbox, Waiting
from avalist_client.settings import Settings

T = TypeVar("T")
Checkpoint = Literal["pre_auth", "post_auth", "rescore"]
_log = logging.getLogger("avalist_client")
_encode = msgspec.json.Encoder().encode
_OUTCOMES = frozenset(
    {"authorisation_result", "capture", "void", "refund", "early_fraud_warning", "chargeback", "label", "review"}
)
_NEEDED = ("payment_id", "amount_minor", "currency")
_LONGEST_ID = 128
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.025, 5.0
_SHORTEST_S = 0.001
_BATCH = 100
_FINAL = (409, 422)
"""What says that an event itself will never be taken; other refusals may pass: a deployment, a proxy, a key."""


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    body: bytes = b""


class Send(NamedTuple):
    """Send this, and wait for the answer so long."""

    request: Request
    timeout_s: float


class Pause(NamedTuple):
    """Wait so long."""

    seconds: float


class Reply(NamedTuple):
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(NamedTuple):
    """Nothing came back, and why."""

    why: str


Outcome = Reply | Lost
Steps = Generator[Send | Pause, Outcome | None, T]


class Protocol:
    """The calls of a client, as generators. Remembers the merchant's mode, so that a fallback keeps to it."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox | None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.outbox = outbox
        self._clock, self._draw = clock, draw
        self._mode: Mode = "live"

    def decide(self, fields: types.DecisionRequest) -> Steps[Decision]:
        """Return the service's decision, or the fallback's.

        Raises ``Problem`` where the request is refused, and without a fallback ``Unreachable`` or ``TryLater``.
        """
        payment = complete_payment(fields)
        body = self._encoded(payment)
        try:
            reply = yield from self._answer(Request("POST", "/v1/decisions", body), self.settings.timeout_ms)
            answered = _decoded(reply, types.Decision)
        except (Unreachable, TryLater) as error:
            decision = self._fall_back(payment, error)
            if self.outbox is not None and payment.get("checkpoint") != "rescore":
                self.outbox.put(payment["event_id"], _encode({"type": "payment", **payment}))
            return decision
        except NotFound as error:
            if error.type == "about:blank" or payment.get("checkpoint") == "rescore":
                raise
            return self._fall_back(payment, error)  # it was answered so before, and sent since
        self._mode = answered.mode
        return Decision(**msgspec.structs.asdict(answered))

    def _fall_back(self, payment: types.DecisionRequest, error: AvalistError) -> Decision:
        """Answer locally. Raises the error where that is not wanted."""
        if self.settings.fallback is None:
            raise error
        _log.warning("payment %s is decided locally: %s", payment["payment_id"], error)
        return fall_back(payment, self.settings.fallback, self._mode, str(error))

    def get(self, payment_id: str, checkpoint: str) -> Steps[types.StoredDecision]:
        """Return a decision as first answered. Raises ``NotFound``."""
        self._encoded(payment_id)  # a card number may not stand in a path either
        path = f"/v1/decisions/{quote(payment_id, safe='')}?checkpoint={quote(checkpoint)}"
        reply = yield from self._answer(Request("GET", path), self.settings.other_timeout_ms)
        return _decoded(reply, types.StoredDecision)

    def lookup(self, query: types.Lookup) -> Steps[types.Found]:
        """Return the decisions on payments that share something."""
        request = Request("POST", "/v1/lookup", self._encoded(query))
        reply = yield from self._answer(request, self.settings.other_timeout_ms)
        return _decoded(reply, types.Found)

    def record(self, events: Sequence[types.Event]) -> Steps[types.Recorded]:
        """Record events; those that do not fit are named in the answer, unless none does: then it is raised."""
        if not events:
            return types.Recorded(recorded=0)
        for event in events:
            if not isinstance(event, Mapping) or "type" not in event:
                raise ValueError(f"events: expected dictionaries with a 'type', each an argument, got {event!r:.80}")
        path = "/v1/outcomes" if all(event["type"] in _OUTCOMES for event in events) else "/v1/events"
        body = self._encoded([_complete(event) for event in events])
        return (yield from self._record(Request("POST", path, body), self.settings.other_timeout_ms))

    def _record(self, request: Request, timeout_ms: float) -> Steps[types.Recorded]:
        reply = yield from self._answer(request, timeout_ms)
        return _decoded(reply, types.Recorded)

    def deliver(self, timeout_s: float = math.inf) -> Steps[None]:
        """Send what waits in the outbox, until nothing does or time is over. Raises nothing."""
        until, failures, most = self._clock() + timeout_s, 0, _BATCH
        while self.outbox is not None and (batch := self.outbox.oldest(most)):
            body, pause_s = b"[%s]" % b",".join(event.body for event in batch), 0.0
            left_ms = min((until - self._clock()) * 1000, self.settings.other_timeout_ms)
            try:
                recorded = yield from self._record(Request("POST", "/v1/events", body), left_ms)
            except AvalistError as error:
                most, failures = self._undelivered(batch, error), failures + 1
                pause_s = pause_before(failures, self._draw, error)
            else:
                _log_errors(recorded)
                self.outbox.remove(batch)
                most, failures = _BATCH, 0
            if self._clock() + pause_s >= until:
                return
            if pause_s:
                yield Pause(pause_s)

    def _undelivered(self, batch: list[Waiting], error: AvalistError) -> int:
        """Return how many to send next. One bad event spoils a batch: it is found by sending them one by one."""
        assert self.outbox is not None
        if not isinstance(error, Problem) or isinstance(error, TryLater):
            return _BATCH
        if len(batch) == 1 and error.status not in _FINAL:
            _log.error("payments answered locally cannot be sent, they wait: %s", error)
            self.outbox.put_off(batch[0])
        elif len(batch) == 1:
            _log.error("a payment answered locally is refused, and dropped: %s", error)
            self.outbox.remove(batch)
        return 1

    def _answer(self, request: Request, timeout_ms: float) -> Steps[Reply]:
        """Send a request, again where that may help and time is left, and return the good answer."""
        until = self._clock() + timeout_ms / 1000
        for attempt in range(1, self.settings.attempts + 1):
            outcome = yield Send(request, max(until - self._clock(), _SHORTEST_S))
            assert outcome is not None
            if isinstance(outcome, Reply) and outcome.status == 200:
                return outcome
            error = Unreachable(outcome.why) if isinstance(outcome, Lost) else error_of(*outcome)
            if not isinstance(error, Unreachable | TryLater):
                raise error
            pause_s = pause_before(attempt, self._draw, error)
            if attempt == self.settings.attempts or self._clock() + pause_s >= until:
                raise error
            yield Pause(pause_s)
        raise AssertionError("at least one attempt")

    def _encoded(self, sent: object) -> bytes:
        body = _encode(sent)
        if self.settings.check_cards:
            refuse_card_numbers(body)
        return body


def complete_payment(fields: types.DecisionRequest) -> types.DecisionRequest:
    """Return a payment with its event id and time.

    The id is made of the payment's, so that whoever asks again names the same event, also after a crash or from another
    program; a ``rescore`` may be asked for many times and gets a fresh one.

    Raises ``ValueError`` for a field that is missing, a time without a zone, and an event id that comes without a time:
    a retry would have other content. What else is wrong the service says.
    """
    if missing := [name for name in _NEEDED if name not in fields]:
        raise ValueError(f"{missing[0]}: expected a value, got nothing")
    at = fields.get("occurred_at")
    if isinstance(at, dt.datetime) and at.tzinfo is None:
        raise ValueError(f"occurred_at: expected a time with a zone, got {at.isoformat()}")
    if "event_id" in fields and "occurred_at" not in fields:
        raise ValueError("occurred_at: expected a time along with event_id, for a retry must say the same")
    checkpoint = fields.get("checkpoint", "pre_auth")
    fresh = uuid.uuid4().hex if checkpoint == "rescore" else fields["payment_id"]
    event_id = f"{checkpoint}:{fresh}"
    if len(event_id) > _LONGEST_ID:
        event_id = f"{checkpoint}:{hashlib.sha256(fresh.encode()).hexdigest()}"
    return {"event_id": event_id, "occurred_at": _now(), **fields}


def _complete(event: types.Event) -> types.Event:
    return cast(types.Event, {"event_id": uuid.uuid4().hex, "occurred_at": _now(), **event})


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def pause_before(attempt: int, draw: Callable[[], float], error: AvalistError) -> float:
    """Return how long to wait before sending again: what the service says, else longer and longer, with jitter.

    >>> [pause_before(attempt, lambda: 1.0, Unreachable()) for attempt in (1, 2, 3)]
    [0.025, 0.05, 0.1]
    """
    if isinstance(error, TryLater) and error.retry_after_s is not None:
        return error.retry_after_s
    most: float = min(_FIRST_PAUSE_S * 2 ** min(attempt - 1, 20), _LONGEST_PAUSE_S)
    return most * (0.5 + draw() / 2)


def _log_errors(recorded: types.Recorded) -> None:
    for error in recorded.errors:
        _log.error("a payment answered locally is refused, and dropped: %s: %s", error.event_id, error.problem.detail)


for _kind in vars(types).values():
    if isinstance(_kind, type) and issubclass(_kind, msgspec.Struct):
        msgspec.json.Decoder(_kind)  # here, on one thread: two that learn a type at once can crash in msgspec


def _decoded(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"the answer is not from Avalist, check the address: {error}") from None
