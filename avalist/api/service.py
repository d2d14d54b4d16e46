"""The service behind the routes: authentication, who answers, and the checks that every body passes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from avalist.api.commit import Kept, Settles
from avalist.api.errors import Problem, problem_of
from avalist.api.http import Given
from avalist.api.limits import Caller
from avalist.api.metrics import Metrics
from avalist.api.version import check_version
from avalist.app.administer import AdminRequest, SetTables, TablesInForce
from avalist.app.lookup import Archive
from avalist.app.reviews import Queue, queue
from avalist.app.stored import StoredDecision
from avalist.app.waves import ALERTS, Alert
from avalist.app.webhook_office import WebhookOffice
from avalist.app.writer import Answer, Asked
from avalist.config import Settings
from avalist.domain.decisions import Decision
from avalist.domain.errors import (
    AvalistError,
    LogFailed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    Unavailable,
)
from avalist.domain.events import WireEvent
from avalist.domain.keys import ApiKey, key_hash
from avalist.policy.economics import Policy
from avalist.ports.clock import Clock
from avalist.ports.documents import Documents
from avalist.ports.tracing import Tracer

_MET_KEYS = 4096
_SAVE_USE_S = 60.0
_LOOK_UPS = 2
"""Look-ups at once: they share the processor with everybody's decisions."""
_MOST_WAITING = 32
"""Look-ups of one merchant that may wait for their turn."""


class Keyring(Protocol):
    """Who holds the keys: `keys` by hash, and `used`, when each was last used (ms)."""

    keys: dict[str, ApiKey]
    used: dict[str, int]

    def save_use(self) -> None:
        """Make the last use of keys last."""
        ...


class Service(ABC):
    """What the routes share: who calls, and who answers. Made by ``bootstrap``, started when the event loop runs.

    :class:`~avalist.api.embedded.Embedded` decides in this process, :class:`~avalist.api.gateway.Gateway` asks another.
    """

    archive: Archive
    webhooks: WebhookOffice
    metrics: Metrics

    def __init__(
        self, settings: Settings, keyring: Keyring, documents: Documents, clock: Clock, admin_token: str,
        metrics_token: str,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.clock = clock
        self._look_ups: Counter[str] = Counter()
        self.look_up = asyncio.Semaphore(_LOOK_UPS)
        self.ready = False
        self.on_log_failure: Callable[[], None] = lambda: None
        self.on_settled: Callable[[], None] = lambda: None
        self.tracer: Tracer | None = None
        self._keyring = keyring
        self._documents = documents
        self._admin_hash = key_hash(admin_token)
        self._metrics_hash = key_hash(metrics_token)
        # Keys that callers sent before, so that each is hashed once. In memory alone.
        self._met: dict[bytes, Caller] = {}
        self._callers: dict[str, Caller] = {}
        self._saving: asyncio.TimerHandle | None = None
        self._gathering = False

    # --- who answers -----------------------------------------------------------------------------------------------

    @abstractmethod
    def warm_up(self) -> None:
        """Make sure that the first payment is as fast as the next."""

    def start(self) -> None:
        """Begin to answer; called on the event loop."""
        self.ready = True
        self._save_use_later()

    def stop(self) -> None:
        """Make everything durable and stop answering."""
        self.ready = False
        if self._saving is not None:
            self._saving.cancel()
            self._save_use()
        if self.tracer is not None:
            self.tracer.close()

    @abstractmethod
    def check(self) -> None:
        """Raise ``Unavailable`` where nothing can be answered now, ``LogFailed`` once the log has failed."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Return how many answers are waited for; known even when the log has failed."""

    @property
    def full(self) -> bool:
        """Tell whether no more may wait."""
        return self.waiting >= self.settings.queue_limit

    @abstractmethod
    def policy(self, merchant: str) -> Policy:
        """Return a merchant's policy. Raises ``NotFound``."""

    def timeout_s(self, merchant: str) -> float:
        """Return how long a merchant waits for a decision where it says nothing."""
        return self.policy(merchant).deadline_ms / 1000.0

    def gather(self, ask: Callable[[], None]) -> None:
        """Have a request wait for others; all that wait are asked by `ask`, together."""
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._gathered, ask)  # after those that are being read

    def _gathered(self, ask: Callable[[], None]) -> None:
        self._gathering = False
        ask()

    @abstractmethod
    def ask(self, asked: Asked, timeout_s: float, done: Settles[Kept[Answer] | Decision]) -> None:
        """Give `done` the answer once it is durable, or what there is when the time is out; the fallback at once where
        too many wait.
        """

    @abstractmethod
    def first(self, asked: Asked, kept: Kept[Answer]) -> Decision:
        """Return the first answer: the fallback, where the decision is not durable in time or it is wanted."""

    @abstractmethod
    async def record(self, merchant: str, events: Sequence[WireEvent]) -> list[AvalistError | None]:
        """Record events without deciding; return for each what was wrong with it, once the others are durable."""

    async def read_decision(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision:
        """Return one decision from the log, else from the documents, which may be a server's: off the event loop.

        Raises ``NotFound``.
        """
        try:
            recent = self.archive.recent(merchant, payment_id, checkpoint)
        except NotFound:
            stored = await asyncio.to_thread(self.archive.stored, merchant, payment_id, checkpoint)
            if stored is None:
                raise
            return stored
        explanation = await asyncio.to_thread(self.archive.explanation, merchant, recent.decision)
        return msgspec.structs.replace(recent, explanation=explanation)

    @contextlib.contextmanager
    def waiting_look_up(self, merchant: str) -> Iterator[None]:
        """Count a look-up while it waits for its turn. Raises ``Overloaded`` where a merchant has too many."""
        if self._look_ups[merchant] >= _MOST_WAITING:
            raise Overloaded(f"{_MOST_WAITING} look-ups of this merchant wait already: send one after the other")
        self._look_ups[merchant] += 1
        try:
            yield
        finally:
            self._look_ups[merchant] -= 1

    @abstractmethod
    async def administer(self, request: AdminRequest) -> dict[str, Any]:
        """Carry out an operator's request."""

    @abstractmethod
    async def set_tables(self, request: SetTables) -> TablesInForce:
        """Put reference tables in force for every merchant."""

    @abstractmethod
    async def measure(self) -> None:
        """Set the gauges of the metrics."""

    # --- who calls -------------------------------------------------------------------------------------------------

    def _save_use_later(self) -> None:
        """Store when keys were last used, now and then; off the event loop."""
        loop = asyncio.get_running_loop()

        def save() -> None:
            loop.run_in_executor(None, self._save_use)
            self._saving = loop.call_later(_SAVE_USE_S, save)

        self._saving = loop.call_later(_SAVE_USE_S, save)

    def _save_use(self) -> None:
        with contextlib.suppress(Unavailable):  # it is saved again in a minute
            self._keyring.save_use()

    def authenticate(self, given: Given, at_ms: int) -> Caller:
        """Return who calls; ``Caller.admit`` says whether it may.

        Raises
        ------
        UnknownVersion
            If the request pins a version of the contract that is not known.
        NotAuthenticated
            For no key, one nobody issued, or one that has ended.
        """
        check_version(given.get(b"avalist-version"))
        caller = self._met.get(given.get(b"authorization", b""))
        if caller is None or self._keyring.keys.get(caller.key.hash) is not caller.key:
            caller = self._identify(given.get(b"authorization", b""))
        key = caller.key
        if key.expires_at_ms is not None and key.expired(at_ms):
            raise NotAuthenticated(f"the key {key.prefix}… has ended: ask your operator for its successor")
        self._keyring.used[key.hash] = at_ms
        return caller

    def _identify(self, given: bytes) -> Caller:
        scheme, _, token = given.partition(b" ")
        key = self._keyring.keys.get(key_hash(token)) if scheme.lower() == b"bearer" else None
        if key is None:
            raise NotAuthenticated("send 'Authorization: Bearer <key>' with a key from 'avalist merchant key'")
        if len(self._met) >= _MET_KEYS:
            self._met.clear()
        caller = self._callers.get(key.hash)
        if caller is None or caller.key is not key:
            caller = self._callers[key.hash] = Caller(key, self.settings.rate_limit_per_s, self.settings.gateways)
        self._met[given] = caller
        return caller

    def authenticate_admin(self, given: Given) -> None:
        """Raise ``NotAuthenticated`` unless the caller holds the data folder's admin token."""
        if not _bears(given, self._admin_hash):
            raise NotAuthenticated("administration needs the token in <data>/secrets/admin.token")

    def authenticate_scraper(self, given: Given) -> None:
        """Raise ``NotAuthenticated`` unless the caller holds the token for metrics: they tell of all merchants."""
        if not _bears(given, self._metrics_hash):
            raise NotAuthenticated("metrics need the token in <data>/secrets/metrics.token")

    # --- what the follower wrote; none of it is read on the deciding thread ----------------------------------------

    def alerts(self, merchant: str, limit: int) -> tuple[Alert, ...]:
        """Return a merchant's newest alerts."""
        found = self._documents.find(merchant, ALERTS, limit=limit)
        return tuple(msgspec.json.decode(body, type=Alert) for _, body in found)

    def reviews(self, merchant: str) -> Queue:
        """Return a merchant's queue of reviews."""
        review = self.policy(merchant).review
        capacity = review.capacity_per_day if review is not None else None
        return queue(self._documents, merchant, self.clock.now_ms(), capacity)

    def refused(self, error: AvalistError) -> Problem:
        """Return what an error is told as; count it, and stop where the log failed."""
        if isinstance(error, LogFailed):
            self.on_log_failure()
        problem = problem_of(error.alone())  # the caller's frame may hold it
        self.metrics.problems.labels(problem.title).inc()
        return problem


def _bears(given: Given, hash: str) -> bool:
    """Tell whether a request bears the token of this hash."""
    scheme, _, token = given.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(key_hash(token), hash)


def check_clock(key: ApiKey, event: WireEvent) -> None:
    """Raise ``NotAllowed`` when a live key supplies the time: choosing the clock could dodge velocity."""
    if event.received_at is not None and not key.supplies_time:
        raise NotAllowed(
            "received_at is the writer's; only import, sandbox and simulation keys may supply it",
            field="$.received_at",
            expected="nothing, of a live key",
            got=event.received_at.isoformat(),
        )
