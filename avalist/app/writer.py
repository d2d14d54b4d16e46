"""The writer: gives each input of its merchants a ``seq`` and an arrival time, decides, and appends to the log.

One writer at a time has a merchant (architecture §1), so no two in-flight payments on one card can miss each other.
Nothing here waits: the caller answers once the log is durable up to the answer's position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Final, NamedTuple

import msgspec

from avalist.app.backfill import Folding, backfill_from
from avalist.app.decide import decide
from avalist.app.merchant import (
    LoadModel,
    Merchant,
    change_of,
    created_by,
    creation,
    decode_event_core,
    decode_fallback,
    named_by,
    plan_of,
)
from avalist.app.snapshot import Snapshot
from avalist.app.stages import Stages
from avalist.app.stored import numbered
from avalist.app.tables import LoadTables, no_tables
from avalist.app.take import Batch, Known, New, Taker, arrival_of, encode, same_content
from avalist.domain.core import (
    Control,
    DecisionCore,
    EventCore,
    FallbackCore,
    FeaturesAdded,
    MerchantCreated,
    ModelActivated,
    ModelStaged,
    PolicySet,
    TablesSet,
    Why,
)
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, Conflict, LogFailed, NotFound
from avalist.domain.events import OfPayment, Payment, WireEvent
from avalist.domain.facts import NO_TABLES
from avalist.domain.records import Record, RecordKind
from avalist.domain.schema import Schema
from avalist.enrich.seal import Secret
from avalist.features.own import OwnFeature
from avalist.features.plan import Plan
from avalist.policy.choose import UNSOLVED
from avalist.policy.evaluate import fall_back
from avalist.ports.log import Log

_STEP: Final = 128
"""Records that one step of a catching up folds: some two milliseconds of the deciding thread."""
decode_decision = msgspec.msgpack.Decoder(DecisionCore).decode


class Answer(NamedTuple):
    """A decision and the log position that must be durable before it is given. `again`: the first answer to a retried
    event.
    """

    decision: Decision
    core: EventCore
    position: int
    again: bool = False


class Asked(NamedTuple):
    """A merchant's payment to decide, and when it came in (ms); `traceparent` is its span, if it has one.

    `degraded`: a test, which wants the fallback.
    """

    merchant: str
    event: Payment
    at_ms: int
    traceparent: bytes = b""
    degraded: bool = False


class Writer:
    """Writes the inputs and decisions of the merchants of one log.

    `tables_version` are the reference tables that merchants get when they are created; `stages` hold the states that
    were folded for features to be added.
    """

    def __init__(
        self, log: Log, load_model: LoadModel, secret: Secret, load_tables: LoadTables = no_tables,
        stages: Stages | None = None,
    ) -> None:  # fmt: skip
        self._log = log
        self.load_model = load_model
        self.load_tables = load_tables
        self.tables_version = NO_TABLES
        self._stages = stages
        self._begun: dict[str, Folding] = {}
        self._backfill = backfill_from(log.read, self._staged)
        self._taker = Taker(log, secret, load_tables)
        self.merchants: dict[str, Merchant] = {}

    def recover(
        self, progress: Callable[[int], None] = lambda position: None, snapshot: Snapshot | None = None
    ) -> None:
        """Fold the log from a snapshot on, or from its beginning: afterwards memory is what it was when the last record
        was written.
        """
        if snapshot is not None:
            for id, merchant in snapshot.merchants.items():
                self._taker.admit(id, merchant.schema)
                self.merchants[id] = merchant
                merchant.backfill = self._backfill
        held: tuple[Record, int] | None = None
        for position, record in self._log.read(snapshot.position if snapshot is not None else 0):
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
            (Record(record.merchant, record.seq, RecordKind.DECISION, record.received_at_ms, encode(decided)),)
        )
        self._log.sync()
        merchant.seq, merchant.at_ms = record.seq, record.received_at_ms
        merchant.note([core], [position], named_by([core]))

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
        self._taker.admit(id, created.schema)
        merchant = self.merchants[id] = Merchant(id, created, self.load_model, self._backfill)
        return merchant

    # --- inputs --------------------------------------------------------------------------------------------------

    def create(self, id: str, schema: Schema, at_ms: int, own: Sequence[OwnFeature] = ()) -> None:
        """Create a merchant with features of its own beside those of its schema.

        Raises ``Conflict`` if it exists, ``BadInput`` if its schema or its features make no sense.
        """
        if id in self.merchants:
            raise Conflict(f"merchant {id!r} exists already")
        created = creation(schema, own, self.tables_version)
        self._admit(id, created)
        self.control(id, created, at_ms)

    def create_twin(self, owner: str, id: str, at_ms: int) -> None:
        """Create a merchant that has the owner's schema, plan, policy and model as of now, and none of its history."""
        original = self.merchant(owner)
        created = MerchantCreated(original.schema, original.created.features, tables_version=original.tables_version)
        self._admit(id, created)
        self.control(id, created, at_ms)
        for features in original.added:
            self.control(id, FeaturesAdded(features), at_ms)
        self.control(id, PolicySet(msgspec.json.encode(original.policy)), at_ms)
        if original.desk.solved is not UNSOLVED:
            self.control(id, original.desk.solved, at_ms)
        if original.model_version:
            plan_hash = original.model.artefact.plan_hash if original.model else original.plan.hash
            self.control(id, ModelStaged(original.model_version, plan_hash), at_ms)
            self.control(id, ModelActivated(original.model_version), at_ms)

    def begin_features(self, id: str, own: Sequence[OwnFeature]) -> None:
        """Load the state that was staged for columns to be added, for :meth:`catch_up`. On any thread.

        Raises ``NotFound``, ``BadInput`` if a feature makes no sense, ``Conflict`` if nothing sound is staged for them.
        """
        merchant = self.merchant(id)
        plan = plan_of(merchant.created, merchant.added, own)
        found = self._stages.load(merchant, plan) if self._stages is not None else None
        if found is None:
            raise Conflict(f"no state is staged for these features: 'avalist features add {id}' folds it first")
        self._begun[id] = found

    def catch_up(self, id: str) -> bool:
        """Fold a little of the log into the state that was begun; tell whether it is where the merchant is."""
        return self._begun[id].step(self._log, _STEP)

    def add_features(self, id: str, own: Sequence[OwnFeature], at_ms: int) -> None:
        """Add columns to a merchant's for decisions from now on, back-filled from what was begun or staged, else from
        its whole log.

        Raises ``NotFound``, and ``BadInput`` if a feature makes no sense.
        """
        merchant = self.merchant(id)
        self.control(id, FeaturesAdded(change_of(merchant.schema, merchant.plan.features, own)), at_ms)

    def _staged(self, merchant: Merchant, plan: Plan) -> Folding | None:
        """Return what a back-fill can go on from: what was begun here, else what is staged."""
        begun = self._begun.pop(merchant.id, None)
        if begun is not None and begun.plan.hash == plan.hash:
            return begun
        return self._stages.load(merchant, plan) if self._stages is not None else None

    def control(self, id: str, control: Control, at_ms: int) -> int:
        """Log a control event and apply it; return its position. It is checked first: a refused one is not logged."""
        merchant = self.merchant(id)
        merchant.check(control)
        merchant.apply(control)
        record = Record(id, merchant.seq + 1, RecordKind.CONTROL, max(at_ms, merchant.at_ms), encode(control))
        (position,) = self._log.append((record,))
        merchant.seq = record.seq
        return position

    def set_tables(self, version: int, packages: dict[str, str], at_ms: int) -> int:
        """Put reference tables in force for every merchant; return for how many that was news."""
        self.tables_version = version
        old = [id for id, merchant in self.merchants.items() if merchant.tables_version != version]
        for id in old:
            self.control(id, TablesSet(version, packages), at_ms)
        return len(old)

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
        answers: dict[int, Answer | AvalistError] = {}
        places: dict[str, list[int]] = {}
        for place, one in enumerate(asked):
            places.setdefault(one.merchant, []).append(place)
        for id, mine in places.items():
            try:
                events, ats = [asked[place].event for place in mine], [asked[place].at_ms for place in mine]
                batches = self._batches(self.merchant(id), events, ats, asked=True)
                found = [answer for batch in batches for answer in self._decide(batch)]
            except LogFailed:
                raise
            except AvalistError as error:  # one merchant's trouble is not another's
                found = [error.alone()] * len(mine)
            answers.update(zip(mine, found, strict=True))
        return [answers[place] for place in range(len(asked))]

    def _batches(
        self, merchant: Merchant, events: Sequence[WireEvent], ats: Sequence[int], *, asked: bool
    ) -> Iterator[Batch]:
        """Yield the events as batches, mostly one: each is recorded before the next is taken.

        What the merchant's indexes forget by an event's arrival, the events after it must not find.
        """
        arrivals, start = list(map(arrival_of, events, ats)), 0
        while start < len(events):
            never_back = list(accumulate(arrivals[start:], max, initial=merchant.at_ms))[1:]
            stop = start + merchant.together(never_back)
            yield self._taker.take(merchant, events[start:stop], arrivals[start:stop], asked=asked)
            start = stop

    def _decide(self, batch: Batch) -> list[Answer | AvalistError]:
        """Decide a batch and log it. Each event is followed by its decision, so that a torn write parts one pair."""
        merchant, seq = batch.merchant, batch.merchant.seq + 1
        new: list[Answer] = []
        if batch.cores:
            merchant.scorer  # noqa: B018  loaded here, where failing to harms nothing
            try:
                decided = decide(merchant, batch.cores, seq)
                records: list[Record] = []
                for event, decision in zip(batch.records(), decided, strict=True):
                    core = encode(decision)
                    records += event, Record(merchant.id, event.seq, RecordKind.DECISION, event.received_at_ms, core)
                positions = self._log.append(records)
            except BaseException as error:  # the state may hold what the log does not
                raise LogFailed(f"a decision broke half way, memory may be ahead of the log: {error!r}") from error
            merchant.seq, merchant.at_ms = seq + len(decided) - 1, batch.at_ms
            merchant.note(batch.cores, positions[::2], batch.named())
            new = [
                Answer(one.decision, core, position)
                for one, core, position in zip(decided, batch.cores, positions[1::2], strict=True)
            ]
        answers: list[Answer | AvalistError] = []
        asked_again = len(batch.results) > len(new)
        for result in batch.results:
            if isinstance(result, New):
                answers.append(new[result.place])
                if asked_again:
                    new[result.place] = new[result.place]._replace(again=True)
            else:
                answers.append(self._first_answer(merchant, result.position) if isinstance(result, Known) else result)
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
        batches = self._batches(merchant, events, [at_ms] * len(events), asked=False)
        return [found for batch in batches for found in self._record(batch)]

    def _record(self, batch: Batch) -> list[int | AvalistError]:
        """Log a batch without deciding."""
        merchant = batch.merchant
        positions = self._log.append(batch.records())
        merchant.absorb_all(batch.cores, positions, batch.at_ms, batch.named())
        return [
            positions[result.place]
            if isinstance(result, New)
            else result.position
            if isinstance(result, Known)
            else result
            for result in batch.results
        ]

    def fallback(self, id: str, answer: Answer, at_ms: int, why: Why) -> Decision:
        """Log that the fallback was the first answer to this event, and return it; it is not yet durable.

        Where a retry in flight fell back before, that is the first answer.
        """
        merchant = self.merchant(id)
        if merchant.fallback_at(answer.core.event_id) >= 0:
            return self.first(id, answer)
        decision = fall_back(answer.core, answer.decision.seq, merchant.policy, merchant.mode, merchant.versions)
        self._log_fallback(merchant, answer.core.event_id, why, decision, at_ms)
        return decision

    def keep_given(self, id: str, answer: Answer, given: Decision, why: Why, at_ms: int) -> Decision:
        """Log that a gateway gave this fallback, as it was given, and return the first answer; it is not yet durable.

        Where a fallback was logged before, that is the first answer.
        """
        merchant = self.merchant(id)
        if merchant.fallback_at(answer.core.event_id) >= 0:
            return self.first(id, answer)
        self._log_fallback(merchant, answer.core.event_id, why, given, at_ms)
        return given

    def first(self, id: str, answer: Answer) -> Decision:
        """Return the first answer given to an event: the fallback, where one was logged, else the decision."""
        merchant = self.merchant(id)
        if merchant.fell_back_at < answer.position:  # mostly: none was logged since
            return answer.decision
        fallen = merchant.fallback_at(answer.core.event_id)
        return answer.decision if fallen < 0 else decode_fallback(self._log.get(fallen).core).answer

    def knows(self, id: str, event_id: str) -> bool:
        """Tell whether an event came before."""
        return self.merchant(id).knows(event_id)

    def holds_other(self, id: str, event: WireEvent) -> bool:
        """Tell whether an event of the last 35 days, or a payment of the last 400, is logged with other content."""
        payment_id = event.payment_id if isinstance(event, Payment) else ""
        ((position,), ((first, _),)) = self.merchant(id).find([event.event_id], [payment_id])
        position = position if position >= 0 else first
        if position < 0:
            return False
        known = decode_event_core(self._log.get(position).core)
        return known.event_id == event.event_id and not same_content(event, known.digest)

    def key(self, id: str, value: str) -> int:
        """Return the merchant's keyed hash of a clear value, as it stands in fold rows."""
        self.merchant(id)
        return self._taker.key(id, value)

    def far(self, id: str, events: Sequence[WireEvent]) -> list[int]:
        """Return where the payments of outcomes stand that the log holds no longer: :meth:`fetch` them beforehand.

        Raises ``NotFound`` if there is no such merchant.
        """
        merchant, begin = self.merchant(id), self._log.begin
        if not begin:
            return []
        payments = [event.payment_id for event in events if isinstance(event, OfPayment)]
        return [first for first, _ in merchant.find([], payments)[1] if 0 <= first < begin]

    def fetch(self, positions: Sequence[int]) -> None:
        """Read records from the archive, so that they are at hand. On any thread but the deciding one."""
        for position in positions:
            self._log.get(position)

    def _log_fallback(self, merchant: Merchant, event_id: str, why: Why, decision: Decision, at_ms: int) -> None:
        record = _fallback_record(merchant, merchant.seq + 1, event_id, why, decision, at_ms)
        (position,) = self._log.append((record,))
        merchant.fold(record, position)

    def answer_unscored(self, id: str, event: Payment, at_ms: int) -> Decision:
        """Record a payment and answer it by fallback at once: the queue is full. Raises as :meth:`decide`.

        It was asked: where a crash tears the fallback from the event, recovery decides it.
        """
        merchant = self.merchant(id)
        batch = self._taker.take(merchant, [event], [arrival_of(event, at_ms)], asked=True)
        (result,) = batch.results
        if isinstance(result, AvalistError):
            raise result
        if isinstance(result, Known):
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

    def lookup(self, id: str, payment_id: str, checkpoint: str, since: int = 0) -> tuple[EventCore, DecisionCore]:
        """Return the decision of a payment at a checkpoint, as first answered, with its event; where it stands in the
        log at `since` or later. Raises ``NotFound``.
        """
        merchant = self.merchant(id)
        position = merchant.decided_at(payment_id, checkpoint)
        if position < max(since, self._log.begin):  # where it was removed, the documents have it
            raise NotFound(f"no decision on payment {payment_id[:64]!r} at {checkpoint}")
        core, decided, _ = self._answered(merchant, position)
        if decided.decision.seq:
            return core, decided
        return core, DecisionCore(numbered(decided.decision, self._log.get(position).seq), decided.features)

    def _answered(self, merchant: Merchant, position: int) -> tuple[EventCore, DecisionCore, int]:
        (_, event), *rest = islice(self._log.read(position), 2)
        core = decode_event_core(event.core)
        decided = None
        if rest and rest[0][1].kind == RecordKind.DECISION and rest[0][1].seq == event.seq:
            position, decided = rest[0][0], decode_decision(rest[0][1].core)
        fallen = merchant.fallback_at(core.event_id)
        if fallen >= 0:
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


def _fallback_record(merchant: Merchant, seq: int, event_id: str, why: Why, decision: Decision, at_ms: int) -> Record:
    core = encode(FallbackCore(event_id, why, decision))
    return Record(merchant.id, seq, RecordKind.FALLBACK, max(at_ms, merchant.at_ms), core)
