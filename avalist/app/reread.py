"""Read a period of a merchant's log back.

Where a decision record holds what is needed, its probability or its features are used again: replay shows that they are
what the kernel would give (I2). Payments without one (imported history) are run through the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import numpy as np

from avalist.app.merchant import created_by, decode_control, decode_event_core, decode_fallback, plans_of
from avalist.app.past import ALWAYS, UNDECIDED, Past, Period, Seen
from avalist.domain.core import EventCore, FeaturesAdded, MerchantCreated, ModelActivated, PolicySet, Solved
from avalist.domain.decisions import Action
from avalist.domain.errors import ArtefactInvalid, BadInput, NotFound
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND
from avalist.features.plan import Plan
from avalist.features.state import BLOCK, State
from avalist.features.wave import Watch
from avalist.models.artefact import Artefact
from avalist.models.trees import F32
from avalist.policy.choose import Desk
from avalist.policy.economics import Policy, decode_policy

_BATCH: Final = 8_192
_HEAD: Final = max(KIND, AT, CAPTURED_DELTA, FRAUD_DELTA) + 1
_GIVEN_UP: Final = ("won", "withdrawn")
"""Stages of a chargeback after which the money is the merchant's again."""
Progress = Callable[[int], None]
Records = Iterable[tuple[int, Record]]


class _Said(msgspec.Struct, frozen=True, gc=False):
    """What is needed of a logged decision; the rest is skipped."""

    action: str
    mode: str
    p_fraud: float | None = None
    propensity: float = 1.0
    generation: int = 1


class _SaidCore(msgspec.Struct, frozen=True, array_like=True, gc=False):
    decision: _Said
    features: bytes


_decode_said = msgspec.msgpack.Decoder(_SaidCore).decode


def read_past(
    read: Callable[[], Records],
    merchant: str,
    period: Period = ALWAYS,
    model: Artefact | None = None,
    *,
    load: Callable[[str], Artefact] | None = None,
    progress: Progress = lambda position: None,
) -> Past:
    """Read a period back from the decision records if all its payments have one, else through the kernel.

    `read` begins to read the log anew. `model` scores the payments again. Without it the logged probabilities stand;
    where some have none, `load` gives the merchant's active model, and it scores them all.

    Raises
    ------
    NotFound
        If the merchant is not in the log.
    ArtefactInvalid
        If the model was made for another plan.
    BadInput
        If the period holds no payment, or payments were never scored and there is no model to do it.
    """
    reader = _Reader(period, model)
    if not reader.read(read(), merchant, progress):
        active = load(reader.model) if model is None and load is not None and reader.model else model
        if active is None:
            raise BadInput(
                "payments of the period were never scored, and no model is active: train one, or name one",
                field="model",
                expected="a model",
                got="none",
            )
        reader = _Replayer(period, active, reader.plan_of(active))
        reader.read(read(), merchant, progress)
    return reader.finish()


class _Reader:
    """Reads events, decisions and outcomes; holds a payment back until the next record says whether it was decided."""

    replayed = False

    def __init__(self, period: Period, model: Artefact | None) -> None:
        self._period, self._model = period, model
        self._width_bytes = 0 if model is None else 4 * len(model.columns)
        self._created: MerchantCreated | None = None
        self._added: list[bytes] = []
        self.model, self._desk = "", Desk(Policy())
        self._payments: list[Seen] = []
        self._p: list[float] = []
        self._place: dict[str, int] = {}
        self._captured: list[int] = []
        self._fraud: list[int] = []
        self._t_ms: list[int] = []
        self._declined: set[int] = set()
        self._charged_back: dict[int, bool] = {}
        self._fallbacks: dict[int, str] = {}
        self._held: tuple[EventCore, int] | None = None
        self._features: list[bytes] = []
        self._cut_ms = 0
        self._lacking = False

    def read(self, records: Records, merchant: str, progress: Progress) -> bool:
        """Read to the end; return whether every payment had what it needs."""
        for position, record in records:
            if record.merchant == merchant:
                self._take(record)
                progress(position)
        if self._created is None:
            raise NotFound(f"no merchant {merchant!r} in the log")
        if self._model is not None:
            self.plan_of(self._model)
        self._release()
        self._score()
        return not self._lacking

    def plan_of(self, model: Artefact) -> Plan:
        """Return the plan that a model was trained on: one that the merchant has or had. Raises ``ArtefactInvalid``."""
        assert self._created is not None, "the merchant is in the log"
        plans = plans_of(self._created, self._added)
        for plan in plans:
            if plan.hash == model.plan_hash:
                return plan
        raise ArtefactInvalid(
            f"model {model.version} was trained on plan {model.plan_hash}, the merchant runs {plans[-1].hash}: "
            "train again"
        )

    def _take(self, record: Record) -> None:
        kind = record.kind
        if kind == RecordKind.EVENT:
            self._release()
            self._cut_ms = record.received_at_ms
            core = decode_event_core(record.core)
            if core.checkpoint:
                self._pay(core, record)
            else:
                self._become(core)
        elif kind == RecordKind.DECISION:
            if self._held is not None:
                said = _decode_said(record.core)
                self._see(said.decision, said.features)
        elif kind == RecordKind.CONTROL:
            self._release()
            self._apply(record)
        else:
            fallback = decode_fallback(record.core).answer
            place = self._place.get(fallback.payment_id, -1)
            if place >= 0:
                self._fallbacks[place] = fallback.action.value

    def _apply(self, record: Record) -> None:
        if self._created is None:
            self._begin(created_by(record))
            return
        match decode_control(record.core):
            case PolicySet(policy=policy):
                self._desk = self._desk.under(decode_policy(policy))
            case Solved() as solved:
                self._desk = Desk(self._desk.policy, solved)
            case ModelActivated(version=version):
                self.model = version
            case FeaturesAdded(features=features):
                self._added.append(features)

    def _begin(self, created: MerchantCreated) -> None:
        self._created = created

    def _pay(self, core: EventCore, record: Record) -> None:
        """Hold a payment back at its first checkpoint; a later one is another decision of the same payment."""
        inside = self._period.from_ms <= record.received_at_ms < self._period.to_ms
        if not inside or core.facts is None or core.payment_id in self._place:
            self._pass(core)
            return
        self._place[core.payment_id] = len(self._place)
        row = np.frombuffer(core.row, "<i8", _HEAD).tolist()
        self._captured.append(row[CAPTURED_DELTA])
        self._fraud.append(row[FRAUD_DELTA])
        self._t_ms.append(row[AT])
        self._held = core, record.seq

    def _become(self, core: EventCore) -> None:
        place = self._place.get(core.payment_id, -1)
        if place >= 0:
            row = np.frombuffer(core.row, "<i8", _HEAD).tolist()
            self._captured[place] += row[CAPTURED_DELTA]
            self._fraud[place] += row[FRAUD_DELTA]
            if row[KIND] == FoldKind.AUTH_DECLINED:
                self._declined.add(place)
            if core.type == "chargeback" and core.told.get("fraud", True):
                self._charged_back[place] = core.told.get("stage") not in _GIVEN_UP
        self._pass(core)

    def _pass(self, core: EventCore) -> None:
        """Take note of an event that asks for no decision."""

    def _release(self) -> None:
        if self._held is not None:
            self._see(None, b"")

    def _see(self, said: _Said | None, features: bytes) -> None:
        """Take the held payment in, with its decision if it had one."""
        assert self._held is not None, "a payment is held"
        (core, seq), self._held = self._held, None
        self._lacking = self._lacking or not self._suffices(said, features)
        if said is None:
            self._payments.append(Seen(core, seq, self._desk))
        else:
            p = np.nan if said.p_fraud is None else said.p_fraud
            in_force = said.mode == "live" and said.action != Action.NOT_REVIEWED
            done = (said.action, said.propensity) if in_force else (UNDECIDED, 1.0)
            self._payments.append(Seen(core, seq, self._desk, *done, p))
        self._ask(core, features)

    def _suffices(self, said: _Said | None, features: bytes) -> bool:
        """Tell whether a decision holds what is needed: of an earlier generation it was made from another history."""
        if said is None or self._created is None or said.generation != self._created.generation:
            return False
        return said.p_fraud is not None if self._model is None else len(features) >= self._width_bytes

    def _ask(self, core: EventCore, features: bytes) -> None:
        """Have the payment scored: its features wait for their batch."""
        if self._model is not None and not self._lacking:
            self._features.append(features[: self._width_bytes])
            if len(self._features) == _BATCH:
                self._score()

    def _score(self) -> None:
        if self._model is not None and self._features:
            rows = np.frombuffer(b"".join(self._features), "<f4").reshape(len(self._features), -1)
            self._p += probabilities(self._model, rows)
            self._features = []

    def finish(self) -> Past:
        """Return what was read. Raises ``BadInput`` if it is nothing."""
        assert self._created is not None, "the merchant is in the log"
        payments = self._payments
        if not payments:
            raise BadInput(
                "no payment arrived in the period", field="from, to", expected="payments", got=self._period.words()
            )
        for place, action in self._fallbacks.items():
            payments[place] = payments[place]._replace(action=action, propensity=1.0)
        declined = np.zeros(len(payments), np.bool_)
        declined[list(self._declined)] = True
        charged_back = np.zeros(len(payments))
        charged_back[[place for place, stands in self._charged_back.items() if stands]] = 1.0
        facts = [seen.core.facts for seen in payments]
        return Past(
            self._created.schema,
            payments,
            np.array(self._p if self._model is not None else [seen.p_fraud for seen in payments]),
            np.array(self._t_ms),
            np.array([one.amount_base_minor if one else 0 for one in facts], np.float64),
            np.array(self._captured) > 0,
            np.array(self._fraud) > 0,
            declined,
            self._cut_ms,
            self._desk.policy,
            self.model,
            self.replayed,
            charged_back if self._charged_back else None,
        )


class _Replayer(_Reader):
    """Also folds every event through the kernel, for the features of payments that have no decision record."""

    replayed = True

    def __init__(self, period: Period, model: Artefact, plan: Plan) -> None:
        super().__init__(period, model)
        self._plan = plan

    def _begin(self, created: MerchantCreated) -> None:
        super()._begin(created)
        self._state = State(self._plan, watch=Watch(created.schema))
        self._rows: list[bytes] = []
        self._asked: list[bool] = []

    def _pass(self, core: EventCore) -> None:
        self._fold(core, asked=False)

    def _ask(self, core: EventCore, features: bytes) -> None:
        self._fold(core, asked=True)

    def _fold(self, core: EventCore, *, asked: bool) -> None:
        self._rows.append(core.row)
        self._asked.append(asked)
        if len(self._rows) == BLOCK:
            self._score()

    def _score(self) -> None:
        assert self._model is not None, "a replay scores"
        if self._rows:
            rows = np.frombuffer(b"".join(self._rows), dtype="<i8").reshape(len(self._rows), -1)
            features = self._state.run(rows, np.array(self._asked, dtype=np.bool_))
            self._rows, self._asked = [], []
            self._p += probabilities(self._model, features)


def probabilities(model: Artefact, features: F32) -> list[float]:
    """Return what a model makes of features float32 [n, columns], as a decision has it."""
    if not len(features):
        return []
    p: list[float] = model.p_fraud(features).tolist()
    return p
