"""The writer: gives each input of its merchants a ``seq`` and an arrival time, decides, and appends to the log.

One writer at a time has a merchant (architecture §1), so no two in-flight payments on one card can miss each other.
Nothing here waits: the caller answers once the log is durable up to the answer's position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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
from avalist.domain.errors import BadInput, ClockWentBack, Conflict, NotFound
from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
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
        decided = decide(merchant, core, record.seq)
        self._log.append(
            (Record(record.merchant, record.seq, RecordKind.DECISION, record.received_at_ms, _encode(decided)),)
        )
        self._log.sync()
        merchant.seq, merchant.at_ms = record.seq, record.received_at_ms
        merchant.note(core, position)

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
        """Decide a payment, or find the first answer to this event.

        Raises
        ------
        Conflict
            If the event id was used with other content, or the payment was decided at this checkpoint under another
            event id.
        ClockWentBack
            If ``received_at`` is supplied and earlier than the merchant's last arrival.
        BadInput
            If the event does not fit the merchant's schema.
        """
        merchant = self.merchant(id)
        clear = canonical(event)
        digest = _digest(clear)
        known = merchant.events.get(event.event_id)
        if known >= 0:
            return self._first_answer(merchant, event, digest, known)
        at_ms = _arrival(merchant, event, at_ms)
        core = self._payment(merchant, event, digest, at_ms, asked=True)
        seq = merchant.seq + 1
        merchant.settle()
        decided = decide(merchant, core, seq)
        sealed = seal(self._secret(id), at_ms, digest, clear)
        (position, after) = self._log.append(
            (
                Record(id, seq, RecordKind.EVENT, at_ms, _encode(core), sealed),
                Record(id, seq, RecordKind.DECISION, at_ms, _encode(decided)),
            )
        )
        merchant.seq, merchant.at_ms = seq, at_ms
        merchant.note(core, position)
        return Answer(decided.decision, core, after)

    def record(self, id: str, event: WireEvent, at_ms: int) -> int:
        """Log an event without deciding: history, identity events, outcomes. Return its position; a retry's is the
        first one's.

        Raises as :meth:`decide`, and ``NotFound`` for an outcome of an unknown payment.
        """
        merchant = self.merchant(id)
        clear = canonical(event)
        digest = _digest(clear)
        known = merchant.events.get(event.event_id)
        if known >= 0:
            self._same(known, event, digest)
            return known
        at_ms = _arrival(merchant, event, at_ms)
        sealed = b""
        if isinstance(event, Payment):
            core = self._payment(merchant, event, digest, at_ms, asked=False)
        elif isinstance(event, OutcomeEvent):
            core = self._outcome(merchant, event, digest, at_ms)
        else:
            words, facts = self._intakes[id].identity(event)
            words[AT], words[T] = at_ms, min(to_ms(event.occurred_at), at_ms)
            core = EventCore(event.type, event.event_id, digest, "", "", pack_row(words), facts)
        if not isinstance(event, OutcomeEvent):
            sealed = seal(self._secret(id), at_ms, digest, clear)
        record = Record(id, merchant.seq + 1, RecordKind.EVENT, at_ms, _encode(core), sealed)
        (position,) = self._log.append((record,))
        merchant.absorb(core, record.seq, at_ms, position)
        return position

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
        return self.merchant(id).events.get(event_id) >= 0

    def key(self, id: str, value: str) -> int:
        """Return the merchant's keyed hash of a clear value, as it stands in fold rows."""
        self.merchant(id)
        return self._intakes[id].key(value)

    def _log_fallback(self, merchant: Merchant, event_id: str, why: Why, decision: Decision, at_ms: int) -> None:
        record = _fallback_record(merchant, merchant.seq + 1, event_id, why, decision, at_ms)
        (position,) = self._log.append((record,))
        merchant.fold(record, position)

    def answer_unscored(self, id: str, event: Payment, at_ms: int) -> Decision:
        """Record a new payment and answer it by fallback at once: the queue is full. Raises as :meth:`decide`.

        It was asked: where a crash tears the fallback from the event, recovery decides it.
        """
        merchant = self.merchant(id)
        clear = canonical(event)
        digest = _digest(clear)
        at_ms = _arrival(merchant, event, at_ms)
        core = self._payment(merchant, event, digest, at_ms, asked=True)
        seq = merchant.seq + 1
        decision = fall_back(core, seq, merchant.policy, merchant.mode, merchant.versions)
        sealed = seal(self._secret(id), at_ms, digest, clear)
        record = Record(id, seq, RecordKind.EVENT, at_ms, _encode(core), sealed)
        fallen = _fallback_record(merchant, seq + 1, core.event_id, "overloaded", decision, at_ms)
        position, after = self._log.append((record, fallen))
        merchant.absorb(core, seq, at_ms, position)
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

    def _first_answer(self, merchant: Merchant, event: Payment, digest: bytes, position: int) -> Answer:
        self._same(position, event, digest)
        core, decided, after = self._answered(merchant, position)
        return Answer(decided.decision, core, after, again=True)

    def _same(self, position: int, event: WireEvent, digest: bytes) -> None:
        if decode_event_core(self._log.get(position).core).digest != digest:
            raise Conflict(
                f"event id {event.event_id[:64]!r} was used before with other content: give each event its own"
            )

    def _check_checkpoint(self, merchant: Merchant, event: Payment) -> bool:
        """Tell whether the payment came before, at another checkpoint.

        Raises
        ------
        Conflict
            If it came before at this one, under another event id; only ``rescore`` may come again.
        NotFound
            If a payment to rescore is not known.
        """
        first, flags = merchant.payment(event.payment_id)
        rescore = event.checkpoint == "rescore"
        if flags & CHECKPOINTS[event.checkpoint] and not rescore:
            raise Conflict(
                f"payment {event.payment_id[:64]!r} came before at {event.checkpoint} under another event id: "
                "retry with the same event_id, or use checkpoint post_auth or rescore"
            )
        if rescore and first < 0:
            raise NotFound(f"no payment {event.payment_id[:64]!r} to rescore: ask at pre_auth first")
        return first >= 0

    def _payment(self, merchant: Merchant, event: Payment, digest: bytes, at_ms: int, *, asked: bool) -> EventCore:
        known = self._check_checkpoint(merchant, event)
        words, facts = self._intakes[merchant.id].payment(event)
        words[AT] = words[T] = at_ms
        if known:  # its entities' velocity holds it already
            words[KIND], words[CAPTURED_DELTA] = FoldKind.READ_ONLY, 0
        row = pack_row(words)
        return EventCore(
            event.type, event.event_id, digest, event.payment_id, event.checkpoint, row, facts, None, None, asked
        )

    def _outcome(self, merchant: Merchant, event: OutcomeEvent, digest: bytes, at_ms: int) -> EventCore:
        """Join an outcome with its payment: the payment's keys, amount and time become facts of the outcome."""
        position, flags = merchant.payment(event.payment_id)
        if position < 0:
            raise NotFound(f"no payment {event.payment_id[:64]!r} of this merchant: send it before its outcomes")
        words = list(unpack_row(decode_event_core(self._log.get(position).core).row))
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


def _arrival(merchant: Merchant, event: WireEvent, at_ms: int) -> int:
    """Return t(d): the supplied arrival, or the writer's clock held from going back."""
    if event.received_at is None:
        return max(at_ms, merchant.at_ms)
    supplied = to_ms(event.received_at)
    if supplied > _LATEST_MS:
        raise BadInput(
            "not a time of this world", field="$.received_at", expected=f"to {from_ms(_LATEST_MS).isoformat()}"
        )
    if supplied < merchant.at_ms:
        raise ClockWentBack(
            "received_at must not decrease: send events in order of arrival",
            field="$.received_at",
            expected=f"at least {from_ms(merchant.at_ms).isoformat()}",
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
