"""The writer: gives each input of its merchants a ``seq`` and an arrival time, decides, and appends to the log.

One writer at a time has a merchant (architecture §1), so no two in-flight payments on one card can miss each other.
Nothing here waits: the caller answers once the log is durable up to the answer's position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from avalist.app.decide import decide
from avalist.app.merchant import (
    CAPTURED,
    CHECKPOINTS,
    FRAUD,
    LoadModel,
    Merchant,
    created_by,
    creation,
    decode_event_core,
    decode_fallback,
    flags_after,
)
from avalist.domain.core import (
    Control,
    DecisionCore,
    EventCore,
    FallbackCore,
    MerchantCreated,
    ModelActivated,
    ModelStaged,
    PolicySet,
    Why,
)
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, BadInput, ClockWentBack, Conflict, LogFailed, NotFound
from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    IdentityEvent,
    Label,
    OutcomeEvent,
    Payment,
    WireEvent,
    from_ms,
    to_ms,
)
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, T, pack_row, unpack_row
from avalist.domain.schema import Schema
from avalist.enrich.intake import Intake
from avalist.enrich.seal import seal
from avalist.policy.evaluate import fall_back
from avalist.ports.log import Log

_encode = msgspec.msgpack.Encoder().encode
decode_decision = msgspec.msgpack.Decoder(DecisionCore).decode
_UNANSWERED = NotFound("no answer")
_LATEST_MS = 253_402_300_799_999  # the last that ISO 8601 writes in four digits of year

Secret = Callable[[str], bytes]
"""merchant -> its 32-byte secret, which keys hashes and seals."""


class Answer(NamedTuple):
    """A decision and the log position that must be durable before it is given. `again`: the first answer to a retried
    event.
    """

    decision: Decision
    core: EventCore
    position: int
    again: bool = False


class Asked(NamedTuple):
    """A merchant's payment to decide, and when it came in (ms)."""

    merchant: str
    event: Payment
    at_ms: int


class _Batch:
    """Events of one merchant on their way into the log, and what they find: the log's events and those before them."""

    def __init__(self, merchant: Merchant, events: Sequence[WireEvent]) -> None:
        self.merchant = merchant
        self.at_ms = merchant.at_ms
        self.cores: list[EventCore] = []
        self.sealed: list[bytes] = []
        self.ats: list[int] = []
        self.results: list[AvalistError | _Known | _New] = []
        self._fresh: dict[str, int] = {}
        self._touched: dict[str, tuple[int | EventCore, int]] = {}
        payment_ids = [getattr(event, "payment_id", "") for event in events]
        self._events, self._payments = merchant.find([event.event_id for event in events], payment_ids)

    def event(self, event_id: str) -> _Known | _New | None:
        """Return where the event that is taken next stands already."""
        known = self._events[len(self.results)]
        if known >= 0:
            return _Known(known)
        fresh = self._fresh.get(event_id)
        return None if fresh is None else _New(fresh)

    def payment(self, payment_id: str) -> tuple[int | EventCore, int]:
        """Return the first event, or its position (−1: none), and the flags of the payment that is taken next."""
        return self._touched.get(payment_id) or self._payments[len(self.results)]

    def add(self, core: EventCore, at_ms: int, sealed: bytes) -> _New:
        """Add an event."""
        place = self._fresh[core.event_id] = len(self.cores)
        if core.payment_id:
            first, flags = self.payment(core.payment_id)
            self._touched[core.payment_id] = core if first == -1 else first, flags_after(flags, core)
        self.cores.append(core)
        self.sealed.append(sealed)
        self.ats.append(at_ms)
        self.at_ms = at_ms
        return _New(place)

    def records(self) -> list[Record]:
        """Return the events' records."""
        id, seq = self.merchant.id, self.merchant.seq + 1
        return [
            Record(id, n, RecordKind.EVENT, at_ms, _encode(core), sealed)
            for n, (core, at_ms, sealed) in enumerate(zip(self.cores, self.ats, self.sealed, strict=True), seq)
        ]


class _Known(NamedTuple):
    """An event that stands in the log."""

    position: int


class _New(NamedTuple):
    """An event of this batch, by its place among the new ones."""

    place: int


class Writer:
    """Writes the inputs and decisions of the merchants of one log."""

    def __init__(self, log: Log, load_model: LoadModel, secret: Secret) -> None:
        self._log = log
        self.load_model = load_model
        self._secret = secret
        self._intakes: dict[str, Intake] = {}
        self.merchants: dict[str, Merchant] = {}

    def recover(self, progress: Callable[[int], None] = lambda position: None) -> None:
        """Fold the log from its beginning: afterwards memory is what it was when the last record was written."""
        held: tuple[Record, int] | None = None
        for position, record in self._log.read():
            if held is not None:
                self.fold(*held)
            held = record, position
            progress(position)
        if held is not None:
            self._finish(*held)
        for merchant in self.merchants.values():
            merchant.settle()

    def _finish(self, record: Record, position: int) -> None:
        """Fold the log's last record; where a crash tore a decision from its event, make it again: the same one."""
        core = decode_event_core(record.core) if record.kind == RecordKind.EVENT else None
        if core is None or not core.asked:
            self.fold(record, position)
            return
        merchant = self.merchant(record.merchant)
        merchant.settle()
        (decided,) = decide(merchant, [core], record.seq)
        self._log.append(
            (Record(record.merchant, record.seq, RecordKind.DECISION, record.received_at_ms, _encode(decided)),)
        )
        self._log.sync()
        merchant.seq, merchant.at_ms = record.seq, record.received_at_ms
        merchant.note([core], [position])

    def fold(self, record: Record, position: int) -> None:
        """Fold one record of the log; a decision is an output and changes nothing."""
        if record.kind == RecordKind.DECISION:
            return
        merchant = self.merchants.get(record.merchant)
        if merchant is None:
            merchant = self._admit(record.merchant, created_by(record))
        merchant.fold(record, position)

    def merchant(self, id: str) -> Merchant:
        """Return a merchant. Raises ``NotFound``."""
        try:
            return self.merchants[id]
        except KeyError:
            raise NotFound(f"no merchant {id!r}: create it with 'avalist merchant create {id}'") from None

    def _admit(self, id: str, created: MerchantCreated) -> Merchant:
        self._intakes[id] = Intake(created.schema, self._secret(id))
        merchant = self.merchants[id] = Merchant(id, created, self.load_model)
        return merchant

    # --- inputs --------------------------------------------------------------------------------------------------

    def create(self, id: str, schema: Schema, at_ms: int) -> None:
        """Create a merchant. Raises ``Conflict`` if it exists, ``BadInput`` if its schema makes no sense."""
        if id in self.merchants:
            raise Conflict(f"merchant {id!r} exists already")
        created = creation(schema)
        self._admit(id, created)
        self.control(id, created, at_ms)

    def create_twin(self, owner: str, id: str, at_ms: int) -> None:
        """Create a merchant that has the owner's schema, plan, policy and model as of now, and none of its history."""
        original = self.merchant(owner)
        created = MerchantCreated(original.schema, msgspec.json.encode(original.plan.features))
        self._admit(id, created)
        self.control(id, created, at_ms)
        self.control(id, PolicySet(msgspec.json.encode(original.policy)), at_ms)
        if original.model is not None:
            self.control(id, ModelStaged(original.model.version, original.plan.hash), at_ms)
            self.control(id, ModelActivated(original.model.version), at_ms)

    def control(self, id: str, control: Control, at_ms: int) -> int:
        """Log a control event and apply it; return its position. It is checked first: a refused one is not logged."""
        merchant = self.merchant(id)
        merchant.apply(control)
        record = Record(id, merchant.seq + 1, RecordKind.CONTROL, max(at_ms, merchant.at_ms), _encode(control))
        (position,) = self._log.append((record,))
        merchant.seq = record.seq
        return position

    def decide(self, id: str, event: Payment, at_ms: int) -> Answer:
        """Decide one payment. Raises what :meth:`decide_many` would return."""
        (answer,) = self.decide_many([Asked(id, event, at_ms)])
        if isinstance(answer, AvalistError):
            raise answer
        return answer

    def decide_many(self, asked: Sequence[Asked]) -> list[Answer | AvalistError]:
        """Decide payments in order, or find the first answers to their events; the same as one by one, and cheaper.

        In place of an answer stands

        Conflict
            If the event id was used with other content, or the payment was decided at this checkpoint under another
            event id.
        ClockWentBack
            If ``received_at`` is supplied and earlier than the merchant's last arrival.
        BadInput
            If the event does not fit the merchant's schema.
        NotFound
            If there is no such merchant, or no such payment to rescore.
        """
        answers: list[Answer | AvalistError] = [_UNANSWERED] * len(asked)
        places: dict[str, list[int]] = {}
        for place, one in enumerate(asked):
            places.setdefault(one.merchant, []).append(place)
        for id, mine in places.items():
            try:
                batch = self._take(
                    self.merchant(id),
                    [asked[place].event for place in mine],
                    [asked[place].at_ms for place in mine],
                    asked=True,
                )
                found = self._decide(batch)
            except NotFound as error:
                found = [error] * len(mine)
            for place, answer in zip(mine, found, strict=True):
                answers[place] = answer
        return answers

    def _decide(self, batch: _Batch) -> list[Answer | AvalistError]:
        """Decide a batch and log it. Each event is followed by its decision, so that a torn write parts one pair."""
        merchant, seq = batch.merchant, batch.merchant.seq + 1
        new: list[Answer] = []
        if batch.cores:
            decided = decide(merchant, batch.cores, seq)
            records: list[Record] = []
            for event, decision in zip(batch.records(), decided, strict=True):
                core = _encode(decision)
                records += event, Record(merchant.id, event.seq, RecordKind.DECISION, event.received_at_ms, core)
            positions = self._log.append(records)
            merchant.seq, merchant.at_ms = seq + len(decided) - 1, batch.at_ms
            merchant.note(batch.cores, positions[::2])
            new = [
                Answer(one.decision, core, position)
                for one, core, position in zip(decided, batch.cores, positions[1::2], strict=True)
            ]
        answers: list[Answer | AvalistError] = []
        for result in batch.results:
            if isinstance(result, _New):
                answer = new[result.place]
                answers.append(answer)
                new[result.place] = answer._replace(again=True)
            else:
                answers.append(self._first_answer(merchant, result.position) if isinstance(result, _Known) else result)
        return answers

    def record(self, id: str, event: WireEvent, at_ms: int) -> int:
        """Log an event without deciding. Raises what :meth:`record_many` would return."""
        (position,) = self.record_many(id, [event], at_ms)
        if isinstance(position, AvalistError):
            raise position
        return position

    def record_many(self, id: str, events: Sequence[WireEvent], at_ms: int) -> list[int | AvalistError]:
        """Log events in order without deciding: history, identity events, outcomes. Return their positions; a retry's
        is the first one's.

        In place of a position stand the errors of :meth:`decide_many`, and ``NotFound`` for an outcome of an unknown
        payment. Raises ``NotFound`` if there is no such merchant.
        """
        merchant = self.merchant(id)
        batch = self._take(merchant, events, [at_ms] * len(events), asked=False)
        seq, positions = merchant.seq + 1, self._log.append(batch.records())
        for n, (core, at, position) in enumerate(zip(batch.cores, batch.ats, positions, strict=True), seq):
            merchant.absorb(core, n, at, position)
        return [
            positions[result.place]
            if isinstance(result, _New)
            else result.position
            if isinstance(result, _Known)
            else result
            for result in batch.results
        ]

    def _take(self, merchant: Merchant, events: Sequence[WireEvent], ats: Sequence[int], *, asked: bool) -> _Batch:
        """Make cores of the events that are new; say of the others where they stand or what is wrong with them."""
        batch = _Batch(merchant, events)
        for event, at_ms in zip(events, ats, strict=True):
            try:
                batch.results.append(self._taken(batch, event, at_ms, asked))
            except LogFailed:
                raise
            except AvalistError as error:
                batch.results.append(error)
        return batch

    def _taken(self, batch: _Batch, event: WireEvent, at_ms: int, asked: bool) -> _Known | _New:
        clear = canonical(event)
        digest = _digest(clear)
        known = batch.event(event.event_id)
        if known is not None:
            first = batch.cores[known.place] if isinstance(known, _New) else self._core_at(known.position)
            if first.digest != digest:
                raise Conflict(
                    f"event id {event.event_id[:64]!r} was used before with other content: give each event its own"
                )
            return known
        at_ms = _arrival(batch.at_ms, event, at_ms)
        if isinstance(event, OutcomeEvent):
            return batch.add(self._outcome(batch, event, digest, at_ms), at_ms, b"")
        core = (
            self._payment(batch, event, digest, at_ms, asked)
            if isinstance(event, Payment)
            else self._identity(batch, event, digest, at_ms)
        )
        return batch.add(core, at_ms, seal(self._secret(batch.merchant.id), at_ms, digest, clear))

    def _core_at(self, position: int) -> EventCore:
        return decode_event_core(self._log.get(position).core)

    def fallback(self, id: str, answer: Answer, at_ms: int, why: Why) -> Decision:
        """Log that the fallback was the first answer to this event, and return it; it is not yet durable.

        Where a retry in flight fell back before, that is the first answer.
        """
        merchant = self.merchant(id)
        if answer.core.event_id in merchant.fallbacks:
            return self.first(id, answer)
        decision = fall_back(answer.core, answer.decision.seq, merchant.policy, merchant.mode, merchant.versions)
        self._log_fallback(merchant, answer.core.event_id, why, decision, at_ms)
        return decision

    def first(self, id: str, answer: Answer) -> Decision:
        """Return the first answer given to an event: the fallback, where one was logged, else the decision."""
        fallen = self.merchant(id).fallbacks.get(answer.core.event_id)
        return answer.decision if fallen is None else decode_fallback(self._log.get(fallen).core).answer

    def knows(self, id: str, event_id: str) -> bool:
        """Tell whether an event came before."""
        return self.merchant(id).knows(event_id)

    def key(self, id: str, value: str) -> int:
        """Return the merchant's keyed hash of a clear value, as it stands in fold rows."""
        self.merchant(id)
        return self._intakes[id].key(value)

    def _log_fallback(self, merchant: Merchant, event_id: str, why: Why, decision: Decision, at_ms: int) -> None:
        record = _fallback_record(merchant, merchant.seq + 1, event_id, why, decision, at_ms)
        (position,) = self._log.append((record,))
        merchant.fold(record, position)

    def answer_unscored(self, id: str, event: Payment, at_ms: int) -> Decision:
        """Record a payment and answer it by fallback at once: the queue is full. Raises as :meth:`decide`.

        It was asked: where a crash tears the fallback from the event, recovery decides it.
        """
        merchant = self.merchant(id)
        batch = self._take(merchant, [event], [at_ms], asked=True)
        (result,) = batch.results
        if isinstance(result, AvalistError):
            raise result
        if isinstance(result, _Known):
            _, first, _ = self._answered(merchant, result.position)
            return first.decision
        ((core,), seq) = batch.cores, merchant.seq + 1
        decision = fall_back(core, seq, merchant.policy, merchant.mode, merchant.versions)
        fallen = _fallback_record(merchant, seq + 1, core.event_id, "overloaded", decision, batch.at_ms)
        position, after = self._log.append([*batch.records(), fallen])
        merchant.absorb(core, seq, batch.at_ms, position)
        merchant.fold(fallen, after)
        return decision

    # --- answers already given --------------------------------------------------------------------------------------

    def lookup(self, id: str, payment_id: str, checkpoint: str) -> tuple[EventCore, DecisionCore]:
        """Return the decision of a payment at a checkpoint, as first answered, with its event. Raises ``NotFound``."""
        merchant = self.merchant(id)
        position = merchant.decided_at(payment_id, checkpoint)
        if position < 0:
            raise NotFound(f"no decision on payment {payment_id[:64]!r} at {checkpoint}")
        core, decided, _ = self._answered(merchant, position)
        return core, decided

    def _answered(self, merchant: Merchant, position: int) -> tuple[EventCore, DecisionCore, int]:
        (_, event), *rest = islice(self._log.read(position), 2)
        core = decode_event_core(event.core)
        decided = None
        if rest and rest[0][1].kind == RecordKind.DECISION and rest[0][1].seq == event.seq:
            position, decided = rest[0][0], decode_decision(rest[0][1].core)
        fallen = merchant.fallbacks.get(core.event_id)
        if fallen is not None:
            answer = decode_fallback(self._log.get(fallen).core).answer
            return core, DecisionCore(answer, decided.features if decided else b""), fallen
        if decided is None:
            raise NotFound("that payment came in as history: it was recorded, not decided")
        return core, decided, position

    def _first_answer(self, merchant: Merchant, position: int) -> Answer | AvalistError:
        """Return the answer to the event at a position; what went wrong where it has none."""
        try:
            core, decided, after = self._answered(merchant, position)
        except NotFound as error:
            return error
        return Answer(decided.decision, core, after, again=True)

    def _payment(self, batch: _Batch, event: Payment, digest: bytes, at_ms: int, asked: bool) -> EventCore:
        known = _came_before(event, *batch.payment(event.payment_id))
        words, facts = self._intakes[batch.merchant.id].payment(event)
        words[AT] = words[T] = at_ms
        if known:  # its entities' velocity holds it already
            words[KIND], words[CAPTURED_DELTA] = FoldKind.READ_ONLY, 0
        row = pack_row(words)
        return EventCore(
            event.type, event.event_id, digest, event.payment_id, event.checkpoint, row, facts, None, None, asked
        )

    def _identity(self, batch: _Batch, event: IdentityEvent, digest: bytes, at_ms: int) -> EventCore:
        words, facts = self._intakes[batch.merchant.id].identity(event)
        words[AT], words[T] = at_ms, min(to_ms(event.occurred_at), at_ms)
        return EventCore(event.type, event.event_id, digest, "", "", pack_row(words), facts)

    def _outcome(self, batch: _Batch, event: OutcomeEvent, digest: bytes, at_ms: int) -> EventCore:
        """Join an outcome with its payment: the payment's keys, amount and time become facts of the outcome."""
        first, flags = batch.payment(event.payment_id)
        if first == -1:
            raise NotFound(f"no payment {event.payment_id[:64]!r} of this merchant: send it before its outcomes")
        words = list(unpack_row((self._core_at(first) if isinstance(first, int) else first).row))
        captured, fraud = _effect(event)
        newly_captured = captured and not flags & CAPTURED
        words[AT] = at_ms
        words[CAPTURED_DELTA] = int(newly_captured)
        words[FRAUD_DELTA] = 0 if fraud is None else int(fraud) - int(bool(flags & FRAUD))
        words[KIND] = FoldKind.OUTCOME
        if isinstance(event, AuthorisationResult):
            words[KIND] = FoldKind.AUTH_APPROVED if event.approved else FoldKind.AUTH_DECLINED
            words[T] = min(to_ms(event.occurred_at), at_ms)
        return EventCore(
            event.type, event.event_id, digest, event.payment_id, "", pack_row(words), None, fraud,
            True if newly_captured else None,
        )  # fmt: skip


def _came_before(event: Payment, first: int | EventCore, flags: int) -> bool:
    """Tell whether the payment came before, at another checkpoint.

    Raises
    ------
    Conflict
        If it came before at this one, under another event id; only ``rescore`` may come again.
    NotFound
        If a payment to rescore is not known.
    """
    rescore = event.checkpoint == "rescore"
    if flags & CHECKPOINTS[event.checkpoint] and not rescore:
        raise Conflict(
            f"payment {event.payment_id[:64]!r} came before at {event.checkpoint} under another event id: "
            "retry with the same event_id, or use checkpoint post_auth or rescore"
        )
    if rescore and first == -1:
        raise NotFound(f"no payment {event.payment_id[:64]!r} to rescore: ask at pre_auth first")
    return first != -1


def _fallback_record(merchant: Merchant, seq: int, event_id: str, why: Why, decision: Decision, at_ms: int) -> Record:
    core = _encode(FallbackCore(event_id, why, decision))
    return Record(merchant.id, seq, RecordKind.FALLBACK, max(at_ms, merchant.at_ms), core)


def _effect(event: OutcomeEvent) -> tuple[bool, bool | None]:
    """Return whether the event proves capture, and the fraud label it sets (None: none)."""
    match event:
        case Capture():
            return True, None
        case EarlyFraudWarning():
            return True, True
        case Chargeback(stage="opened", fraud=True):
            return True, True
        case Label(fraud=fraud):
            return False, fraud
        case _:
            return False, None


def _arrival(last_ms: int, event: WireEvent, at_ms: int) -> int:
    """Return t(d): the supplied arrival, or the writer's clock held from going back before the last arrival."""
    if event.received_at is None:
        return max(at_ms, last_ms)
    supplied = to_ms(event.received_at)
    if supplied > _LATEST_MS:
        raise BadInput(
            "not a time of this world", field="$.received_at", expected=f"to {from_ms(_LATEST_MS).isoformat()}"
        )
    if supplied < last_ms:
        raise ClockWentBack(
            "received_at must not decrease: send events in order of arrival",
            field="$.received_at",
            expected=f"at least {from_ms(last_ms).isoformat()}",
            got=event.received_at.isoformat(),
        )
    return supplied


def canonical(event: WireEvent) -> bytes:
    """Return the event's content less ``sent_at``: equal for a retry, however its JSON was spaced.

    Raises ``BadInput`` for a time that has no four-digit year in UTC.
    """
    try:
        return _encode(msgspec.structs.replace(event, sent_at=None) if event.sent_at else event)
    except OverflowError:
        raise BadInput("a time is out of range", field="$", expected="times in the years 1 to 9999, in UTC") from None


def _digest(clear: bytes) -> bytes:
    return hashlib.blake2b(clear, digest_size=16).digest()
