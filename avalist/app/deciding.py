"""A decider: opens the partitions that it owns, takes what comes for them, replies once the log is durable."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final, NamedTuple, Protocol

from avalist.app.asked import Reply, encode_message, is_office
from avalist.app.partition import Partition, Taken, reason_of
from avalist.app.profile import Profile, encode_profile, published
from avalist.app.traced import NO_SPANS, Spans, begun, decided, ended
from avalist.domain.errors import AvalistError, LogFailed
from avalist.ports.asking import Came, Inbox, Outbox
from avalist.ports.clock import Clock
from avalist.ports.log import Log
from avalist.ports.tracing import Tracer

MOST = 256
"""So many messages are taken at once, at most; each partition's share of them is one batch."""
_WAIT_S = 0.001
"""No less: clients of brokers count in whole milliseconds, and would not wait at all."""
OPENING_S = 0.005
"""While partitions are opened, so long at most is waited for messages: those of the new partitions wait as well."""
_LEAVE_S = 5.0
_AGAIN_MS = _CURSOR_MS = _HEAR_MS = 1000


class PartitionLog(Log, Protocol):
    """The log of a partition; it keeps how far the inputs were read."""

    cursor: int

    def settle(self, timeout_s: float = 0.0) -> int:
        """Take note of what is durable, after waiting so long for news; return ``durable_end``."""
        ...

    def write_cursor(self) -> None:
        """Write how far the inputs were read, without a record."""
        ...

    def abandon(self) -> None:
        """Write nothing more, not even what was appended."""
        ...


class Opened(NamedTuple):
    """A partition that is recovered."""

    partition: Partition
    log: PartitionLog


class Noted(Protocol):
    """Who is told what happens: the process's log and metrics."""

    def __call__(self, what: str, /, **details: object) -> None:
        """Note something."""
        ...


class Measures(Protocol):
    """What is measured of a decider."""

    def batch(self, messages: int) -> AbstractContextManager[object]:
        """Measure a batch of so many messages, which is taken within the context."""
        ...

    def took_over(self, seconds: float) -> None:
        """Take note of a partition that is at work, so long after it became ours."""
        ...


class _Unmeasured:
    """Measures nothing."""

    def batch(self, messages: int) -> AbstractContextManager[object]:
        """Measure nothing."""
        return nullcontext()

    def took_over(self, seconds: float) -> None:
        """Measure nothing."""


UNMEASURED: Final = _Unmeasured()


class _Ready(NamedTuple):
    opened: Opened
    profiles: Sequence[Profile]


def untold(what: str, /, **details: object) -> None:
    """Take note of nothing: nobody listens."""


class _Said(NamedTuple):
    """What may be said once the log is durable up to `end`: replies with their addresses, and profiles."""

    end: int
    replies: Sequence[tuple[int, Reply]]
    profiles: Sequence[Profile]
    spans: Spans


class _Owned:
    def __init__(self, opened: Opened) -> None:
        self.partition, self.log = opened
        self.next = self.written = opened.log.cursor
        self.wrote_ms = 0
        self.preparing: tuple[int, Future[None]] | None = None
        self.prepared = -1
        self.caught_up = False
        self.waiting: deque[_Said] = deque()


class Deciding:
    """Call :meth:`step` again and again. `open_partition` takes over one partition's log and recovers its merchants.

    It is opened on another thread, so that the partitions at work go on. A partition whose log failed is opened anew,
    a moment later, if it is still ours by then: its memory was ahead of the log, or another decider has it.
    """

    def __init__(
        self, outbox: Outbox, clock: Clock, open_partition: Callable[[int], Opened], executor: Executor, note: Noted,
        tracer: Tracer | None = None, measures: Measures = UNMEASURED,
    ) -> None:  # fmt: skip
        self._outbox, self._clock, self._open_partition = outbox, clock, open_partition
        self._executor, self._note, self._tracer, self._measures = executor, note, tracer, measures
        self.inbox: Inbox
        self.owned: dict[int, _Owned] = {}
        self._opening: dict[int, Future[_Ready]] = {}
        self._due_ms: dict[int, int] = {}
        self._since_ms: dict[int, int] = {}
        self._careful: dict[int, int] = {}
        self._buried: set[tuple[int, int]] = set()
        self._hears_ms = 0
        self.joined = False
        self.taken = 0

    @property
    def ready(self) -> bool:
        """Tell whether everything that is ours is recovered and has caught up with what is asked."""
        return (
            self.joined
            and not self._opening
            and not self._due_ms
            and all(owned.caught_up for owned in self.owned.values())
        )

    def behind(self) -> int:
        """Return how many messages wait in our partitions."""
        return sum(max(self.inbox.behind(partition, owned.next), 0) for partition, owned in self.owned.items())

    def step(self, idle_s: float) -> None:
        """Take what came, waiting so long if there is nothing; send what may be sent."""
        self._hear()
        self._finish_opening()
        self._finish_preparing()
        batches = defaultdict(list)
        for came in self.inbox.take(MOST, self._patience_s(idle_s)):
            batches[came.partition].append(came)
        for partition, batch in batches.items():
            self._take(partition, batch)
        self._release(0.0 if batches else _WAIT_S)
        self._outbox.flush(0.0)
        for partition, owned in self.owned.items():
            if not owned.caught_up and self.inbox.behind(partition, owned.next) <= 0:
                owned.caught_up = True
                self._note("caught up", partition=partition, cursor=owned.next)

    def _patience_s(self, idle_s: float) -> float:
        if any(owned.waiting for owned in self.owned.values()):
            return 0.0
        return min(idle_s, OPENING_S) if self._opening else idle_s

    def _hear(self) -> None:
        """Now and then, publish a profile again where one of a turn that is over came behind it: the last one stays."""
        now_ms = self._clock.steady_ms()
        if now_ms < self._hears_ms:
            return
        self._hears_ms = now_ms + _HEAR_MS
        try:
            heard = self._outbox.heard()
        except AvalistError as error:
            self._note("profiles are not heard", reason=str(error))
            return
        last = {one.merchant: one.epoch for one in published(heard)}
        for merchant, epoch in last.items():
            for partition, owned in self.owned.items():
                profile = owned.partition.newer(merchant, epoch)
                if profile is not None:
                    self._note("publishes again", partition=partition, merchant=merchant)
                    owned.waiting.append(_Said(owned.log.end, (), (profile,), NO_SPANS))

    # --- turns -----------------------------------------------------------------------------------------------------

    def assigned(self, partitions: list[int]) -> None:
        """Begin to open partitions."""
        self.joined = True
        for partition in partitions:
            self._since_ms[partition] = self._clock.steady_ms()
            self._opening[partition] = self._executor.submit(self._open, partition)

    def revoked(self, partitions: list[int]) -> None:
        """Hand partitions over: what was decided is made durable and replied first."""
        for partition in partitions:
            self._forget(partition)
            owned = self.owned.pop(partition, None)
            if owned is None:
                continue
            try:
                self._write_cursor(owned)
                owned.log.sync()
                self._say(owned, owned.log.durable_end)
            except AvalistError as error:
                self._note("left without its last replies", partition=partition, reason=str(error))
            self._close(owned.log)
            self._note("handed over", partition=partition, cursor=owned.next)
        self._outbox.flush(_LEAVE_S)

    def lost(self, partitions: list[int]) -> None:
        """Let go of partitions that another has already: nothing more is written or said."""
        for partition in partitions:
            self._forget(partition)
            owned = self.owned.pop(partition, None)
            if owned is not None:
                owned.log.abandon()
                self._close(owned.log)
            self._note("lost", partition=partition)

    def _forget(self, partition: int) -> None:
        self._due_ms.pop(partition, None)
        self._since_ms.pop(partition, None)
        opening = self._opening.pop(partition, None)
        if opening is not None:
            opening.add_done_callback(_close_what_opened)

    def _finish_opening(self) -> None:
        now_ms = self._clock.steady_ms()
        for partition in [partition for partition, due_ms in self._due_ms.items() if due_ms <= now_ms]:
            del self._due_ms[partition]
            self._opening[partition] = self._executor.submit(self._open, partition)
        for partition, opening in list(self._opening.items()):
            if opening.done():
                del self._opening[partition]
                self._begin(partition, opening)

    def _open(self, partition: int) -> _Ready:
        """Open a partition and find out what gateways must know, on another thread: many merchants take long."""
        opened = self._open_partition(partition)
        try:
            return _Ready(opened, opened.partition.profiles())
        except BaseException:
            self._close(opened.log)
            raise

    def _begin(self, partition: int, opening: Future[_Ready]) -> None:
        try:
            opened, profiles = opening.result()
            owned = self.owned[partition] = _Owned(opened)
            self._publish(profiles)
            self.inbox.begin(partition, owned.next)
        except AvalistError as error:
            if partition in self.owned:
                self._close(self.owned.pop(partition).log)
            self._later(partition, error)
            return
        self._measures.took_over((self._clock.steady_ms() - self._since_ms.pop(partition)) / 1000)
        self._note(
            "took over", partition=partition, cursor=owned.next, merchants=len(opened.partition.writer.merchants)
        )

    def _later(self, partition: int, error: AvalistError) -> None:
        self._note("opens again", partition=partition, reason=str(error))
        now_ms = self._clock.steady_ms()
        self._due_ms[partition] = now_ms + _AGAIN_MS
        self._since_ms.setdefault(partition, now_ms)

    # --- work ------------------------------------------------------------------------------------------------------

    def _take(self, partition: int, batch: list[Came]) -> None:
        owned = self.owned.get(partition)
        if owned is None or owned.preparing is not None:
            return  # it is opened anew, or something is prepared, and then reads this again
        batch = [one for one in batch if one.offset >= owned.next]
        while batch and partition in self.owned and self._prepared(owned, batch[0]):
            careful = batch[0].offset < self._careful.get(partition, 0)
            count = (
                1 if careful else 1 + next((n for n, one in enumerate(batch[1:]) if is_office(one.value)), len(batch))
            )
            self._take_some(partition, owned, batch[:count], alone=careful)
            batch = batch[count:]

    def _prepared(self, owned: _Owned, came: Came) -> bool:
        """Tell whether a message may be taken; what an operator's needs is loaded first, on another thread."""
        if not is_office(came.value) or owned.prepared == came.offset:
            return True
        preparing = self._executor.submit(owned.partition.prepare, came.value)
        if preparing.done():
            return True
        owned.preparing = came.offset, preparing
        return False

    def _finish_preparing(self) -> None:
        """Read on where messages waited for one that is prepared now; where that failed, taking it says why."""
        for partition, owned in self.owned.items():
            if owned.preparing is not None and owned.preparing[1].done():
                (owned.prepared, _), owned.preparing = owned.preparing, None
                self.inbox.begin(partition, owned.next)

    def _take_some(self, partition: int, owned: _Owned, batch: list[Came], *, alone: bool) -> None:
        known = [one for one in batch if (partition, one.offset) not in self._buried]
        spans = begun(self._tracer, known)
        try:
            with self._measures.batch(len(known)):
                taken = owned.partition.take([one.value for one in known], self._clock.now_ms())
        except LogFailed as error:
            ended(spans, type(error).__name__)
            self._break(partition, batch, error, alone=alone)
            return
        decided(spans, taken.replies)
        try:
            self._keep(owned, known, taken, spans)
        except AvalistError as error:  # no broker takes what must be said: it is taken again
            self._fail(partition, error)
            return
        owned.next = owned.log.cursor = batch[-1].offset + 1
        self.taken += len(known)

    def _break(self, partition: int, batch: list[Came], error: LogFailed, *, alone: bool) -> None:
        """Open a partition again; where the code broke, take messages one by one and bury the one that breaks it."""
        self._fail(partition, error)
        if _broke(error):
            self._careful[partition] = batch[-1].offset + 1
            if alone:
                with suppress(AvalistError):  # no broker takes it: it breaks the code again, and then it is buried
                    self._bury(batch[0], "", reason_of(error.__cause__ or error))

    def _keep(self, owned: _Owned, batch: list[Came], taken: Taken, spans: Spans) -> None:
        """Keep replies until the log is durable, and bury what was poison."""
        replies = [(batch[place].reply_to, reply) for place, reply in taken.replies if reply.request]
        owned.waiting.append(_Said(owned.log.end, replies, taken.changed, spans))
        for place, merchant, reason in taken.poison:
            self._bury(batch[place], merchant, reason)

    def _bury(self, came: Came, merchant: str, reason: str) -> None:
        self._outbox.bury(came, merchant, reason, self._clock.now_ms())
        self._buried.add((came.partition, came.offset))
        self._note("dead letter", partition=came.partition, offset=came.offset, reason=reason)

    def _publish(self, profiles: Sequence[Profile]) -> None:
        for profile in profiles:
            self._outbox.publish(profile.merchant, encode_profile(profile))

    def _release(self, wait_s: float) -> None:
        """Send the replies that are durable; where nothing waits, write now and then how far the inputs were read."""
        now_ms = self._clock.steady_ms()
        for partition, owned in list(self.owned.items()):
            try:
                if owned.waiting:
                    self._say(owned, owned.log.settle(wait_s))
                    wait_s = 0.0  # once for all, however many partitions there are
                elif now_ms - owned.wrote_ms >= _CURSOR_MS:
                    self._write_cursor(owned)
                    owned.log.settle()
                    owned.wrote_ms = now_ms
            except AvalistError as error:
                self._fail(partition, error)

    @staticmethod
    def _write_cursor(owned: _Owned) -> None:
        if owned.written < owned.next:
            owned.log.write_cursor()
            owned.written = owned.next

    def _say(self, owned: _Owned, durable_end: int) -> None:
        while owned.waiting and owned.waiting[0].end <= durable_end:
            said = owned.waiting.popleft()
            self._publish(said.profiles)
            for to, reply in said.replies:
                self._outbox.reply(to, encode_message(reply))
            ended(said.spans)

    def _fail(self, partition: int, error: AvalistError) -> None:
        """Drop a partition whose memory is ahead of its log, and open it again if it is still ours by then."""
        self._close(self.owned.pop(partition).log)
        self._later(partition, error)

    def _close(self, log: Log) -> None:
        try:
            log.close()
        except AvalistError as error:
            self._note("closed with an error", reason=str(error))

    def close(self) -> None:
        """Hand everything over."""
        self.revoked(list(self.owned))
        self._outbox.flush(_LEAVE_S)


def _broke(error: LogFailed) -> bool:
    """Tell whether the code broke, and not the log."""
    return error.__cause__ is not None and not isinstance(error.__cause__, AvalistError)


def _close_what_opened(opening: Future[_Ready]) -> None:
    if opening.cancelled() or opening.exception() is not None:
        return
    opening.result().opened.log.close()
