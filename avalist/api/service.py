"""The service behind the routes: authentication, the writer, the commit, and the checks that every body passes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections import Counter
from collections.abc import Callable

import msgspec

from avalist.api.commit import GroupCommit
from avalist.api.decider import Decider
from avalist.api.errors import Problem, problem_of
from avalist.api.http import Given
from avalist.api.limits import Caller
from avalist.api.metrics import Metrics
from avalist.api.version import check_version
from avalist.app.administer import Administration
from avalist.app.followed import Followed, told
from avalist.app.lookup import Archive
from avalist.app.reviews import Queue, queue
from avalist.app.waves import ALERTS, Alert
from avalist.app.writer import Writer
from avalist.config import Settings
from avalist.domain.errors import AvalistError, LogFailed, NotAllowed, NotAuthenticated, Unavailable
from avalist.domain.events import WireEvent
from avalist.domain.keys import ApiKey, key_hash
from avalist.ports.clock import Clock
from avalist.ports.documents import Documents
from avalist.ports.log import Log

_MET_KEYS = 4096
_SAVE_USE_S = 60.0
_LOOK_UPS = 2
"""Look-ups at once: they share the processor with everybody's decisions."""


class Service:
    """What the routes share. Made by ``bootstrap``; `commit` is made when the event loop runs."""

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
        self.settings = settings
        self.writer = writer
        self.administration = administration
        self.archive = Archive(event_log, documents, writer, generation)
        self.clock = clock
        self.metrics = Metrics()
        self.looking: Counter[str] = Counter()
        self.look_up = asyncio.Semaphore(_LOOK_UPS)
        self.ready = False
        self.on_log_failure: Callable[[], None] = lambda: None
        self._log = event_log
        self._documents = documents
        self._admin_hash = key_hash(admin_token)
        self._metrics_hash = key_hash(metrics_token)
        self._commit: GroupCommit | None = None
        # Keys that callers sent before, so that each is hashed once. In memory alone.
        self._met: dict[bytes, Caller] = {}
        self._callers: dict[str, Caller] = {}
        self._saving: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to answer; called on the event loop."""
        self._commit = GroupCommit(self._log, lambda: self.on_log_failure())
        self.decider = Decider(self.writer, self._commit)
        self.ready = True
        self._save_use_later()

    def _save_use_later(self) -> None:
        """Store when keys were last used, now and then; off the event loop."""
        loop = asyncio.get_running_loop()

        def save() -> None:
            loop.run_in_executor(None, self._save_use)
            self._saving = loop.call_later(_SAVE_USE_S, save)

        self._saving = loop.call_later(_SAVE_USE_S, save)

    def _save_use(self) -> None:
        with contextlib.suppress(Unavailable):  # it is saved again in a minute
            self.administration.save_use()

    def stop(self) -> None:
        """Make everything durable and stop answering."""
        self.ready = False
        if self._saving is not None:
            self._saving.cancel()
            self._save_use()
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

    @property
    def commit(self) -> GroupCommit:
        """Return the group commit. Raises ``Unavailable`` before the start, ``LogFailed`` once the log has failed."""
        if self._commit is None or not self.ready:
            raise Unavailable("the service is starting or stopping: try again in a moment")
        if self._commit.failed is not None:
            raise self._commit.failed
        return self._commit

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
        if caller is None or self.administration.keys.get(caller.key.hash) is not caller.key:
            caller = self._identify(given.get(b"authorization", b""))
        key = caller.key
        if key.expires_at_ms is not None and key.expired(at_ms):
            raise NotAuthenticated(f"the key {key.prefix}… has ended: ask your operator for its successor")
        self.administration.used[key.hash] = at_ms
        return caller

    def _identify(self, given: bytes) -> Caller:
        scheme, _, token = given.partition(b" ")
        key = self.administration.keys.get(key_hash(token)) if scheme.lower() == b"bearer" else None
        if key is None:
            raise NotAuthenticated("send 'Authorization: Bearer <key>' with a key from 'avalist merchant key'")
        if len(self._met) >= _MET_KEYS:
            self._met.clear()
        caller = self._callers.get(key.hash)
        if caller is None or caller.key is not key:
            caller = self._callers[key.hash] = Caller(key, self.settings.rate_limit_per_s)
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

    @property
    def end(self) -> int:
        """Return the log's end: what is appended next stands there."""
        return self._log.end

    @property
    def durable_end(self) -> int:
        """Return how far the log is durable."""
        return self._log.durable_end

    def followed(self) -> Followed | None:
        """Return what the follower said last; None where the documents cannot tell. Not on the deciding thread."""
        try:
            return told(self._documents)
        except Unavailable:
            return None

    def alerts(self, merchant: str, limit: int) -> tuple[Alert, ...]:
        """Return a merchant's newest alerts, as the follower wrote them. Not on the deciding thread."""
        found = self._documents.find(merchant, ALERTS, limit=limit)
        return tuple(msgspec.json.decode(body, type=Alert) for _, body in found)

    def reviews(self, merchant: str) -> Queue:
        """Return a merchant's queue of reviews, as the follower wrote it. Not on the deciding thread."""
        review = self.writer.merchant(merchant).policy.review
        capacity = review.capacity_per_day if review is not None else None
        return queue(self._documents, merchant, self.clock.now_ms(), capacity)

    def refused(self, error: AvalistError) -> Problem:
        """Return what an error is told as; count it, and stop where the log failed."""
        if isinstance(error, LogFailed):
            self.on_log_failure()
        problem = problem_of(error.alone())  # the caller's frame may hold it
        self.metrics.problems.labels(problem.title).inc()
        return problem

    async def durable(self, position: int) -> None:
        """Return once the log is durable past `position`. Raises ``LogFailed``, ``Unavailable`` after ten seconds."""
        if not (await self.commit.wait(position, 10.0)).durable:
            raise Unavailable("the log is slow: the event may or may not be kept; retry with the same event_id")


def _bears(given: Given, hash: str) -> bool:
    """Tell whether a request bears the token of this hash."""
    scheme, _, token = given.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(key_hash(token), hash)


def check_clock(key: ApiKey, event: WireEvent) -> None:
    """Raise ``NotAllowed`` when a live key supplies the time: choosing the clock could dodge velocity."""
    if event.received_at is not None and not key.supplies_time:
        raise NotAllowed("received_at is the writer's; only import, sandbox and simulation keys may supply it")
