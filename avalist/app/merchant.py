"""A merchant in memory: a fold of its inputs, the same in the decider, the follower, replay and training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.app.doubts import Past
from avalist.app.flags import CHECKPOINTS, FLAG_BITS, changes
from avalist.app.index import Generations, hash_ids
from avalist.domain.core import (
    AlertsSet,
    Control,
    EventCore,
    FallbackCore,
    FeaturesAdded,
    GenerationStarted,
    LearningSet,
    MerchantCreated,
    ModelActivated,
    ModelRefused,
    ModelStaged,
    ModeSet,
    PolicySet,
    PriorConsent,
    Solved,
    TablesSet,
)
from avalist.domain.decisions import Mode, Versions
from avalist.domain.errors import ArtefactInvalid, BadInput, Conflict, LogCorrupt, NotFound, Unavailable
from avalist.domain.events import WireEvent
from avalist.domain.facts import NO_TABLES
from avalist.domain.keys import is_twin
from avalist.domain.records import Record, RecordKind
from avalist.domain.row import AT
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import Feature
from avalist.features.derive import derive
from avalist.features.layout import I64
from avalist.features.own import OwnFeature, with_own
from avalist.features.plan import Plan, compile_plan
from avalist.features.state import F32, State
from avalist.features.wave import Watch
from avalist.models.artefact import Artefact
from avalist.models.score import Model
from avalist.policy.choose import Desk
from avalist.policy.economics import Policy, decode_policy, policy_version
from avalist.policy.explore import Explorer

_FLAGS: Final = (1 << FLAG_BITS) - 1
EVENT_MEMORY_MS: Final = 35 * DAY_MS
PAYMENT_MEMORY_MS: Final = 400 * DAY_MS
SESSION_MEMORY_MS: Final = 2 * DAY_MS
_BATCH: Final = 8192

LoadModel = Callable[[str, str], Model]
"""(merchant, version) -> model; reads the blobs."""

Compare = Callable[["Merchant", Sequence[EventCore], Sequence[bytes], F32], None]
"""(merchant, events, their logged features, the same read again float32 [n, columns])."""

Backfill = Callable[["Merchant", Plan], State]
"""The state of what a merchant has folded, under another plan."""
Told = Callable[["Merchant", Sequence[EventCore], Sequence[int], I64, I64], None]
"""(merchant, events, their positions, rows int64 [n, width], marks of waves int64 [n, MARKS])."""

decode_event_core = msgspec.msgpack.Decoder(EventCore).decode
_PLANS: Final = 256
_CONTROL: msgspec.msgpack.Decoder[Control] = msgspec.msgpack.Decoder(Control)
decode_features = msgspec.json.Decoder(tuple[Feature, ...]).decode
decode_fallback = msgspec.msgpack.Decoder(FallbackCore).decode


def creation(schema: Schema, own: Sequence[OwnFeature] = (), tables_version: int = NO_TABLES) -> MerchantCreated:
    """Return the event that creates a merchant of a schema, with the default plan and its own features.

    Raises ``BadInput``.
    """
    derived = derive(schema.check())
    features = with_own(schema, derived, own) if own else derived
    return MerchantCreated(schema, msgspec.json.encode(features), tables_version=tables_version)


def decode_control(core: bytes) -> Control:
    """Decode a control event. Raises ``LogCorrupt`` for one that this version does not know."""
    try:
        return _CONTROL.decode(core)
    except msgspec.MsgspecError as error:
        raise LogCorrupt(
            f"a control event does not decode as this version's: {error}; a newer version wrote it, so run that one"
        ) from error


def created_by(record: Record) -> MerchantCreated:
    """Return what a merchant's first record creates. Raises ``NotFound`` if it is another one."""
    control = decode_control(record.core) if record.kind == RecordKind.CONTROL else None
    if not isinstance(control, MerchantCreated):
        raise NotFound(f"the log names merchant {record.merchant!r} before it was created")
    return control


def created_in(records: Iterable[tuple[int, Record]], merchant: str) -> MerchantCreated:
    """Return what created a merchant of a log. Raises ``NotFound`` if it is not in it."""
    for _, record in records:
        if record.merchant == merchant:
            return created_by(record)
    raise NotFound(f"no merchant {merchant!r} in the log")


def plan_of(created: MerchantCreated, added: Iterable[bytes] = (), own: Sequence[OwnFeature] = ()) -> Plan:
    """Return the plan a merchant was created with, with features that were added; behind them features of one's own.

    Raises ``BadInput``.
    """
    parts = created.features, *added
    if own:
        parts = *parts, change_of(created.schema, _features(parts), own)
    return _shared_plan(msgspec.msgpack.encode(created.schema), parts)


@lru_cache(maxsize=_PLANS)
def _shared_plan(schema: bytes, parts: tuple[bytes, ...]) -> Plan:
    """Return the one plan of all merchants that were declared alike: nobody writes into it."""
    return compile_plan(msgspec.msgpack.decode(schema, type=Schema), _features(parts))


def _features(parts: Iterable[bytes]) -> tuple[Feature, ...]:
    """Return the columns of an event and of those that changed them: one that is retired later keeps its place."""
    features: list[Feature] = []
    for part in parts:
        place = {feature.name: n for n, feature in enumerate(features)}
        for feature in decode_features(part):
            if feature.aggregate == "retired" and feature.name in place:
                features[place[feature.name]] = feature
            else:
                features.append(feature)
    return tuple(features)


def change_of(schema: Schema, before: Sequence[Feature], own: Sequence[OwnFeature]) -> bytes:
    """Return what adding features of one's own changes, JSON of ``Feature``s. Raises ``BadInput``."""
    there = set(before)
    return msgspec.json.encode([feature for feature in with_own(schema, before, own) if feature not in there])


def added_in(records: Iterable[tuple[int, Record]], merchant: str) -> list[bytes]:
    """Return the features that were added to a merchant, JSON of ``Feature``s each time."""
    found = (decode_control(r.core) for _, r in records if r.merchant == merchant and r.kind == RecordKind.CONTROL)
    return [control.features for control in found if isinstance(control, FeaturesAdded)]


def check_retired(model: Artefact, plan: Plan) -> None:
    """Raise ``ArtefactInvalid`` if a model asks for columns that a plan has retired."""
    asked = [column for n, column in enumerate(model.columns) if not plan.live[n] and model.uses(n)]
    if asked:
        raise ArtefactInvalid(
            f"model {model.version} asks for {len(asked)} columns that are retired, {asked[0]} among them: "
            "'avalist train' with --without makes one that does not"
        )


def plans_of(created: MerchantCreated, added: Sequence[bytes]) -> list[Plan]:
    """Return the plans that a merchant has and had, the newest last: each begins with the columns of those before."""
    return [plan_of(created, added[:n]) for n in range(len(added) + 1)]


def _at_checkpoint(payment_id: str, checkpoint: str) -> str:
    return f"{checkpoint}\x00{payment_id}"


class Named(NamedTuple):
    """The hashed ids of events, and of the payments that they name; int64 [n, 2] each."""

    events: I64
    payments: I64

    def some(self, places: Sequence[int]) -> Named:
        """Return those of some of the events."""
        chosen = Named(self.events[places], self.payments[places])
        for ids in chosen:
            ids.flags.writeable = False  # to the compiler another type
        return chosen


def named_by(events: Sequence[EventCore | WireEvent]) -> Named:
    """Return the hashed ids of events; identity events name no payment."""
    payment_ids = [getattr(event, "payment_id", "") for event in events]
    return Named(hash_ids([event.event_id for event in events]), hash_ids(payment_ids))


class Merchant:
    """Everything ``decide()`` may know of one merchant as of its last input.

    `seq` counts its inputs; `at_ms` is the last arrival of an event (what operators do has the wall's time, which does
    not bind history or a simulation). `events` finds an event's record by its id, `payments` that
    of a payment at a checkpoint with its flags (captured, fraud), `fallbacks` the fallback that answered an event,
    `sessions` what told of a session last. The last fallback that was folded since it was loaded stands `fell_back_at`:
    answers made here know of those before. `plans` are those whose columns its plan begins with, its own too: a model
    of any of them can score.
    """

    def __init__(
        self, id: str, created: MerchantCreated, load_model: LoadModel, backfill: Backfill | None = None
    ) -> None:
        self.id = id
        self.created = created
        self.schema = created.schema
        self.plan = plan_of(created)
        self.plans = {self.plan.hash}
        self.added: tuple[bytes, ...] = ()
        self.backfill = backfill
        self.features = State(self.plan, watch=Watch(self.schema))
        self.events = Generations(EVENT_MEMORY_MS)
        self.payments = Generations(PAYMENT_MEMORY_MS)
        self.fallbacks = Generations(PAYMENT_MEMORY_MS)
        self.sessions = Generations(SESSION_MEMORY_MS)
        self.fell_back_at = -1
        self.past = Past()
        self.sandbox = is_twin(id)
        self.seq = 0
        self.at_ms = 0
        self.mode: Mode = "live"
        self.desk = Desk(Policy())
        self.explorer: Explorer | None = None
        self.model_version = ""
        self.tables_version = created.tables_version
        self._model: Model | None = None
        self._load_model = load_model
        self._waiting: list[tuple[EventCore, int, bytes]] = []
        self.compare: Compare | None = None
        self.told: Told | None = None

    @property
    def policy(self) -> Policy:
        """Return the policy."""
        return self.desk.policy

    @property
    def versions(self) -> Versions:
        """Return what it decides by."""
        return Versions(self.model_version, self.desk.version, self.created.generation)

    @property
    def model(self) -> Model | None:
        """Return the active model, loaded on first use. Raises ``NotFound`` or ``ArtefactInvalid``."""
        if self._model is None and self.model_version:
            self._model = self._loaded(self.model_version)
        return self._model

    @property
    def scorer(self) -> Model | None:
        """Return the model that scores: none in mode ``off``, which needs no model. Raises as :attr:`model`."""
        return None if self.mode == "off" else self.model

    def fold(self, record: Record, position: int) -> None:
        """Fold one input record; events may wait in a batch until :meth:`settle`."""
        self.seq = record.seq
        if record.kind == RecordKind.EVENT:
            self.absorb(decode_event_core(record.core), record.seq, record.received_at_ms, position)
        elif record.kind == RecordKind.CONTROL:
            self.apply(decode_control(record.core))
        elif record.kind == RecordKind.FALLBACK:
            self.fallbacks.put(hash_ids([decode_fallback(record.core).event_id]), [position], [self.at_ms])
            self.fell_back_at = position

    def absorb(self, core: EventCore, seq: int, at_ms: int, position: int, logged: bytes = b"") -> None:
        """Fold an event that asks for no decision; it waits in a batch. `logged` features are given to `compare`."""
        self.seq, self.at_ms = seq, at_ms
        self._waiting.append((core, position, logged))
        if len(self._waiting) >= _BATCH:
            self.settle()

    def absorb_all(self, cores: Sequence[EventCore], positions: Sequence[int], at_ms: int, named: Named) -> None:
        """Fold the next events, of which the last arrived at `at_ms`, that ask for no decision."""
        self.settle()
        self.seq, self.at_ms = self.seq + len(cores), at_ms
        if cores:
            self._fold(cores, positions, [b""] * len(cores), named)

    def settle(self) -> None:
        """Fold the waiting events."""
        if self._waiting:
            cores, positions, logged = zip(*self._waiting, strict=True)
            self._waiting.clear()
            self._fold(cores, positions, logged, named_by(cores))

    def _fold(
        self, cores: Sequence[EventCore], positions: Sequence[int], logged: Sequence[bytes], named: Named
    ) -> None:
        rows = self._rows(cores)
        again = self.features.run(rows, np.array([bool(one) for one in logged], dtype=np.bool_))
        if self.told is not None and self.features.watch:
            self.told(self, cores, positions, rows, self.features.watch.marks)
        if self.compare is not None and len(again):
            compared = [core for core, one in zip(cores, logged, strict=True) if one]
            self.compare(self, compared, [one for one in logged if one], again)
        self.past.fold_many(cores)
        self._note(cores, positions, rows, named)

    def note(self, cores: Sequence[EventCore], positions: Sequence[int], named: Named) -> None:
        """Remember where events stand and what they say of their payments."""
        self._note(cores, positions, self._rows(cores), named)

    def _note(self, cores: Sequence[EventCore], positions: Sequence[int], rows: I64, named: Named) -> None:
        places = np.array(positions, dtype=np.int64)
        self.events.put(named.events, places, rows[:, AT])
        closed = [n for n, core in enumerate(cores) if core.session is not None]
        if closed:
            ids = [told.id or "" for core in cores if (told := core.session) is not None]
            self.sessions.put(hash_ids(ids), places[closed], rows[closed, AT])
        of_payments = [n for n, core in enumerate(cores) if core.payment_id]
        if len(of_payments) < len(cores):
            cores, places, rows = [cores[n] for n in of_payments], places[of_payments], rows[of_payments]
            rows.flags.writeable = False  # to the compiler another type
            named = named.some(of_payments)
        payments = named.payments
        while len(cores):
            most = self.payments.together(rows[:, AT])
            self._note_payments(cores[:most], payments[:most], places[:most], rows[:most])
            cores, payments, places, rows = cores[most:], payments[most:], places[most:], rows[most:]

    def _rows(self, cores: Sequence[EventCore]) -> I64:
        return np.frombuffer(b"".join([core.row for core in cores]), dtype="<i8").reshape(-1, self.plan.width)

    def _note_payments(self, cores: Sequence[EventCore], payments: I64, positions: I64, rows: I64) -> None:
        """Remember what events say of their payments."""
        came = np.array([CHECKPOINTS.get(core.checkpoint, 0) for core in cores], dtype=np.int64)
        values, keep, add = changes(rows, positions, came)
        self.payments.merge(payments, values, keep, add, rows[:, AT])
        again = np.flatnonzero((came != 0) & (values >> FLAG_BITS != positions)).tolist()
        if again:
            names = [_at_checkpoint(cores[n].payment_id, cores[n].checkpoint) for n in again]
            self.payments.put(hash_ids(names), positions[again] << FLAG_BITS, rows[again, AT])

    def find(self, event_ids: Sequence[str], payment_ids: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
        """Do as :meth:`find_named` with ids that are not hashed yet, as many of each as are asked for."""
        return self.find_named(Named(hash_ids(event_ids), hash_ids(payment_ids)))

    def find_named(self, named: Named) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the positions of events, and the positions of payments' first events with their flags; −1 for none.

        Flags: captured, fraud, and the checkpoints it came at. An event is known for 35 days at least, a payment for
        400.
        """
        self.settle()
        values = self.payments.get(named.payments).tolist()
        payments = [(value >> FLAG_BITS, value & _FLAGS) if value >= 0 else (-1, 0) for value in values]
        return self.events.get(named.events).tolist(), payments

    def together(self, at_ms: Sequence[int]) -> int:
        """Return how many of the events that arrive at these times may be found before any of them is noted."""
        self.settle()
        return min(self.events.together(at_ms), self.payments.together(at_ms))

    def knows(self, event_id: str) -> bool:
        """Tell whether an event came before, in the last 35 days at least."""
        ((position,), _) = self.find([event_id], [])
        return position >= 0

    def knows_payment(self, payment_id: str) -> bool:
        """Tell whether a payment came before, in the last 400 days at least."""
        _, ((position, _),) = self.find([], [payment_id])
        return position >= 0

    def decided_at(self, payment_id: str, checkpoint: str) -> int:
        """Return the position of a payment's last event at a checkpoint, or −1."""
        _, ((last, _), (first, flags)) = self.find([], [_at_checkpoint(payment_id, checkpoint), payment_id])
        if last >= 0:
            return last
        return first if flags & CHECKPOINTS[checkpoint] else -1

    def session_at(self, session_id: str) -> int:
        """Return the position of what told of a session last, or −1; known for two days at least."""
        self.settle()
        return int(self.sessions.get(hash_ids([session_id]))[0])

    def fallback_at(self, event_id: str) -> int:
        """Return the position of the fallback that answered an event, or −1; known as long as its payment is."""
        return int(self.fallbacks.get(hash_ids([event_id]))[0])

    def check(self, control: Control) -> None:
        """Check a control event before it is logged; load the model that it names.

        Raises
        ------
        ArtefactInvalid
            If a model was made for another plan.
        BadInput
            If a policy does not make sense, or explores without the columns for it; if features do not fit.
        Conflict
            If budgets were solved for another policy.
        """
        match control:
            case PolicySet(policy=policy):
                self._check_policy(decode_policy(policy))
            case FeaturesAdded(features=features):
                self._check_plan(plan_of(self.created, (*self.added, features)))
            case Solved(policy=version) if version != policy_version(self.policy):
                raise Conflict(
                    f"the budgets were solved for policy {version}, the merchant has {policy_version(self.policy)}: "
                    "solve again"
                )
        if isinstance(control, ModelStaged) and control.plan_hash not in self.plans:
            raise self._misfit(control.version, control.plan_hash)
        if isinstance(control, ModelStaged | ModelActivated):
            self._loaded(control.version)

    def apply(self, control: Control) -> None:
        """Apply a control event; nothing is loaded, but added features are back-filled."""
        match control:
            case MerchantCreated() | ModelStaged() | ModelRefused() | GenerationStarted():
                pass
            case LearningSet() | PriorConsent() | AlertsSet():
                pass
            case ModeSet(mode=mode):
                self.mode = mode
            case PolicySet(policy=policy):
                self.set_policy(policy)
            case Solved():
                self.set_desk(Desk(self.policy, control))
            case ModelActivated(version=version):
                self.model_version, self._model = version, None
            case TablesSet(version=version):
                self.tables_version = version
            case FeaturesAdded(features=features):
                self._grow(features)

    def _grow(self, features: bytes) -> None:
        """Go on under a plan with more columns, as if all that was folded had been folded under it."""
        self.settle()
        plan = plan_of(self.created, (*self.added, features))
        if self.features.now_ms < 0:  # nothing is folded
            state = State(plan, watch=Watch(self.schema))
        elif self.backfill is None:
            raise Unavailable(f"features were added to merchant {self.id}, and there is no log to back-fill them from")
        else:
            state = self.backfill(self, plan)
        self.plan, self.features, self.added = plan, state, (*self.added, features)
        self.plans.add(plan.hash)
        self.set_desk(self.desk)

    def _loaded(self, version: str) -> Model:
        model = self._load_model(self.id, version)
        if model.artefact.plan_hash not in self.plans:
            raise self._misfit(version, model.artefact.plan_hash)
        check_retired(model.artefact, self.plan)
        return model

    def _misfit(self, version: str, plan_hash: str) -> ArtefactInvalid:
        return ArtefactInvalid(
            f"model {version} was trained on plan {plan_hash}, the merchant runs {self.plan.hash}: train again"
        )

    def set_policy(self, policy: bytes) -> None:
        """Replace the policy (JSON). Raises ``BadInput``."""
        self.set_desk(self.desk.under(decode_policy(policy)))

    def set_desk(self, desk: Desk) -> None:
        """Decide by a policy and what was solved for it."""
        self.desk = desk
        self.explorer = Explorer(self.schema, self.plan.live) if desk.explores else None

    def _check_plan(self, plan: Plan) -> None:
        """Refuse a plan that retires what the active model or the exploration asks for."""
        if self.model is not None:
            check_retired(self.model.artefact, plan)
        self._check_policy(self.policy, plan)

    def _check_policy(self, policy: Policy, plan: Plan | None = None) -> None:
        missing = Explorer(self.schema, (plan or self.plan).live).missing if policy.exploration.on else []
        if missing:
            raise BadInput(
                "this merchant's plan lacks columns by which a wave is told: nothing can be explored",
                field="$.exploration.on", expected=", ".join(missing), got="none of that name",
            )  # fmt: skip
