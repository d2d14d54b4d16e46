"""The service that asks: it authenticates and decodes, deciders decide, and it answers by itself where none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from avalist.api.asking import Office, Questions
from avalist.api.commit import Kept, Settles
from avalist.api.given import Answers, Given, as_given
from avalist.api.metrics import GatewayMetrics, raise_to
from avalist.api.profiles import Profiles
from avalist.api.service import Service
from avalist.api.spooling import Spooling
from avalist.app import asked as a
from avalist.app.administer import AdminRequest, SetTables, TablesInForce
from avalist.app.lookup import FarArchive, Tail
from avalist.app.stored import StoredDecision
from avalist.app.take import canonical
from avalist.app.webhook_office import WebhookOffice
from avalist.app.webhooks import Webhooks
from avalist.app.writer import Answer, Asked
from avalist.config import Settings
from avalist.domain.core import Why
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, Conflict, NotFound, Overloaded, Unavailable
from avalist.domain.events import WireEvent
from avalist.enrich.seal import Secret
from avalist.policy.economics import Policy
from avalist.ports.asking import Deciders
from avalist.ports.clock import Clock
from avalist.ports.documents import Documents

_RECORD_S: Final = 10.0
_EVENTS_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 512 << 10
_MOST_GIVEN: Final = 20_000
_LOOK_UP_S: Final = 0.02
_FIND_S: Final = 1.0

_Done: TypeAlias = Settles[Kept[Answer] | Decision]


class Gateway(Service):
    """Asks deciders. Stateless but for what it waits for, and for the answers that it gave a moment ago."""

    questions: Questions
    office: Office

    def __init__(
        self,
        settings: Settings,
        profiles: Profiles,
        deciders: Deciders,
        spooling: Spooling,
        documents: Documents,
        secret: Secret,
        clock: Clock,
        admin_token: str,
        metrics_token: str,
        webhooks: Webhooks,
        tail: Tail,
    ) -> None:
        super().__init__(settings, profiles, documents, clock, admin_token, metrics_token)
        self.metrics: GatewayMetrics = GatewayMetrics()
        self.profiles = profiles
        self.webhooks = WebhookOffice(profiles.policy, webhooks)
        self.archive = FarArchive(documents, profiles.schema, profiles.key, tail)
        self._deciders = deciders
        self._spooling = spooling
        self._secret = secret
        self._answers = Answers(_MOST_GIVEN)
        self._looking: set[asyncio.Task[None]] = set()

    def warm_up(self) -> None:
        """Do nothing: nothing is compiled here."""

    def start(self) -> None:
        """Begin to answer; called on the event loop."""
        self.questions = Questions()
        self.office = Office(self._deciders, self.questions, self._secret)
        self._deciders.start(self.questions.name, self.questions.settle, self.profiles.put)
        self._spooling.start()
        super().start()

    def stop(self) -> None:
        """Stop answering, once what was sent is safe or spooled."""
        super().stop()
        self.questions.fail()
        self._deciders.close()
        self._spooling.close()

    def check(self) -> None:
        """Raise ``Unavailable`` while nothing is known of the merchants."""
        if not self.serving:
            raise Unavailable("the gateway is starting or stopping: try again in a moment")

    @property
    def serving(self) -> bool:
        """Tell whether every merchant is known, and replies would be heard."""
        return self.ready and self._deciders.ready

    @property
    def waiting(self) -> int:
        """Return how many answers are waited for."""
        return self.questions.depth

    def policy(self, merchant: str) -> Policy:
        """Return a merchant's policy. Raises ``NotFound``."""
        return self.profiles.policy(merchant)

    # --- payments --------------------------------------------------------------------------------------------------

    def ask(self, asked: Asked, timeout_s: float, done: _Done) -> None:
        """Give `done` the decision, or what there is when the time is out: the first answer, else the fallback."""
        asking = _Asking(asked, self._sealed(asked.merchant, asked.at_ms, msgspec.json.encode(asked.event)), done)
        if asked.degraded or self.full:
            self._fall_back(asking, "deadline" if asked.degraded else "overloaded")
            return
        request = self.questions.put(timeout_s, _Payment(asking, self._remember), lambda: self._be_late(asking))
        if not self._send(asked, a.Decide(request, asked.merchant, asked.at_ms, asking.part)):
            self.questions.drop(request)
            self._fall_back(asking, "log")

    def first(self, asked: Asked, kept: Kept[Answer]) -> Decision:
        """Return the first answer; nothing here is kept as a decider keeps it."""
        return kept.what.decision

    def _be_late(self, asking: _Asking) -> None:
        """Give the first answer where it can be told in a moment, else the fallback."""
        looking = asyncio.get_running_loop().create_task(self._look_then_fall_back(asking))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    async def _look_then_fall_back(self, asking: _Asking) -> None:
        found = None if self._known(asking) is not None else await self._look_up(asking.asked)
        if found is not None and found.event_id == asking.asked.event.event_id and not found.degraded:
            _settle(asking.done, found)
        else:
            self._fall_back(asking, "deadline")

    async def _look_up(self, asked: Asked) -> Decision | None:
        """Return the decision among the documents; nothing where there is none, or no answer in a moment."""
        event = asked.event
        with suppress(NotFound, Unavailable, TimeoutError):
            async with asyncio.timeout(_LOOK_UP_S):  # wait_for would leave a cycle behind what is raised in it
                return (await super().read_decision(asked.merchant, event.payment_id, event.checkpoint)).decision
        return None

    def _fall_back(self, asking: _Asking, why: Why) -> None:
        """Give the fallback once it is an event, or in the spool: it is the first answer from then on."""
        asked, done = asking.asked, asking.done
        if done.done():
            return
        known = self._known(asking)
        if known is not None:
            self._give_again(asking, known)
            return
        try:
            answer = self.profiles.fallback(asked.merchant, asked.event)
        except AvalistError as error:
            done.set_exception(error)
            return
        self.metrics.fallbacks.labels(why).inc()
        self._remember(asking, answer)
        fallen = a.Fallen(b"", asked.merchant, asked.at_ms, asking.part, answer, why)
        partition = a.partition_of(asked.merchant, self._deciders.partitions)
        self._spooling.keep(partition, asked.merchant, a.encode_message(fallen), lambda: _settle(done, answer))

    def _known(self, asking: _Asking) -> Given | None:
        return self._answers.of_event(asking.asked.merchant, asking.asked.event.event_id)

    def _give_again(self, asking: _Asking, known: Given) -> None:
        if known.content != asking.content:
            event_id = asking.asked.event.event_id[:64]
            asking.done.set_exception(
                Conflict(f"event id {event_id!r} was used before with other content: give each event its own")
            )
        else:
            _settle(asking.done, known.answer)

    def _remember(self, asking: _Asking, answer: Decision) -> None:
        self._answers.keep(asking.asked.merchant, asking.content, answer)

    # --- all else --------------------------------------------------------------------------------------------------

    async def record(self, merchant: str, events: Sequence[WireEvent]) -> list[AvalistError | None]:
        """Record events without deciding; return for each what was wrong with it, once the others are durable."""
        found: list[AvalistError | None] = []
        at_ms = self.clock.now_ms()
        for bodies in _parcels([msgspec.json.encode(event) for event in events]):
            part = self._sealed(merchant, at_ms, b"[" + b",".join(bodies) + b"]")
            reply = await self.office.ask(merchant, partial(_record, merchant, at_ms, part), _RECORD_S)
            assert isinstance(reply, a.Recorded)
            wrong = {place: a.raised(told) for place, told in reply.errors}
            found += [wrong.get(place) for place in range(len(bodies))]
        return found

    async def administer(self, request: AdminRequest) -> dict[str, Any]:
        """Have an operator's request carried out."""
        return await self.office.administer(request, self.clock.now_ms())

    async def set_tables(self, request: SetTables) -> TablesInForce:
        """Have reference tables put in force in every partition."""
        changed = await self.office.put_tables(request.version)
        return TablesInForce(tables_version=request.version, changed=changed)

    async def read_decision(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision:
        """Return one decision from the documents; from its decider where the follower has not been there yet.

        One that was answered here is found though nobody else can tell, without what it was made from. Raises
        ``NotFound``; ``Unavailable`` where documents or deciders that might know are out of reach.
        """
        given, unsure = self._answers.newest(merchant, payment_id, checkpoint), None
        try:
            stored = await super().read_decision(merchant, payment_id, checkpoint)
            if given is None or stored.decision.event_id == given.event_id:
                return as_given(stored, given)
        except NotFound:
            pass
        except Unavailable as error:
            unsure = error.alone()
        try:
            return as_given(await self._find(merchant, payment_id, checkpoint), given)
        except (NotFound, Overloaded, Unavailable) as error:
            if given is None:
                raise unsure or error from None
            return StoredDecision(decision=given, facts=None, features={})

    async def _find(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision:
        with self.waiting_look_up(merchant):
            reply = await self.office.ask(
                merchant, lambda name: a.Find(name, merchant, payment_id, checkpoint), _FIND_S
            )
        assert isinstance(reply, a.Found)
        return reply.stored

    async def measure(self) -> None:
        """Set the gauges of the metrics."""
        self.metrics.waiting.set(self.waiting)
        self.metrics.spooled.set(self._spooling.depth)
        raise_to(self.metrics.spool_failures, self._spooling.failures)

    def _sealed(self, merchant: str, at_ms: int, clear: bytes) -> bytes:
        return a.sealed(self._secret(merchant), at_ms, clear)

    def _send(self, asked: Asked, message: a.Asked) -> bool:
        merchant, partition = asked.merchant, a.partition_of(asked.merchant, self._deciders.partitions)
        if self.tracer is None:
            return self._deciders.send(partition, merchant, a.encode_message(message))
        span = self.tracer.begin("send events", "producer", asked.traceparent, partition=partition)

        def delivered(safe: bool) -> None:
            span.end("" if safe else "no broker took it")

        return self._deciders.send(partition, merchant, a.encode_message(message), delivered, span.traceparent)


class _Asking:
    """A payment on its way; `content` tells whether a retry is one."""

    __slots__ = ("asked", "content", "done", "part")

    def __init__(self, asked: Asked, part: bytes, done: _Done) -> None:
        self.asked, self.part, self.done = asked, part, done
        self.content = hash(canonical(asked.event))


class _Payment:
    """Gives a decider's reply to whoever waits for a decision."""

    __slots__ = ("_asking", "_remember")

    def __init__(self, asking: _Asking, remember: Callable[[_Asking, Decision], None]) -> None:
        self._asking, self._remember = asking, remember

    def done(self) -> bool:
        return self._asking.done.done()

    def set_result(self, reply: a.Reply, /) -> None:
        if isinstance(reply, a.Decided):
            self._remember(self._asking, reply.answer)
            self._asking.done.set_result(reply.answer)
        elif isinstance(reply, a.Refused):
            self._asking.done.set_exception(a.raised(reply.error))
        else:
            raise AssertionError("no reply to a payment")

    def set_exception(self, error: BaseException, /) -> None:
        self._asking.done.set_exception(error)


def _settle(done: _Done, answer: Decision) -> None:
    if not done.done():
        done.set_result(answer)


def _record(merchant: str, at_ms: int, part: bytes, request: bytes) -> a.Asked:
    return a.Record(request, merchant, at_ms, part)


def _parcels(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield events in parcels that a broker takes."""
    parcel: list[bytes] = []
    size = 0
    for body in bodies:
        if parcel and (len(parcel) == _EVENTS_AT_ONCE or size + len(body) > _BYTES_AT_ONCE):
            yield parcel
            parcel, size = [], 0
        parcel.append(body)
        size += len(body)
    if parcel:
        yield parcel
