"""Read a merchant's log and decide its payments again under another policy or model, beside what was done then.

Where a decision record holds what is needed, its probability or its features are used again: replay shows that they are
what the kernel would give (I2). Payments without one (imported history) are run through the kernel first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.merchant import created_by, decode_control, decode_event_core, decode_fallback, plan_of
from avalist.domain.core import EventCore, MerchantCreated, ModelActivated, PolicySet
from avalist.domain.decisions import Action, Mode, Versions
from avalist.domain.errors import ArtefactInvalid, BadInput, NotFound
from avalist.domain.facts import Facts
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND
from avalist.domain.schema import Schema
from avalist.features.state import State
from avalist.models.artefact import Artefact
from avalist.models.score import Scored
from avalist.models.trees import F32, F64, I64
from avalist.policy.economics import Policy, decode_policy
from avalist.policy.evaluate import evaluate

_BATCH: Final = 8_192
_HEAD: Final = max(KIND, AT, CAPTURED_DELTA, FRAUD_DELTA) + 1
_VERSIONS: Final = Versions("", "")
_LONGEST: Final = 2**62
UNKNOWN: Final = ""
Bools = npt.NDArray[np.bool_]


class Candidate(NamedTuple):
    """What to decide by: where None, the policy of the time, or the probability that was logged."""

    policy: Policy | None = None
    model: Artefact | None = None


class Period(NamedTuple):
    """Payments that arrived in [`from_ms`, `to_ms`)."""

    from_ms: int = 0
    to_ms: int = _LONGEST


class Payment(NamedTuple):
    """A payment as it was and as it would be; an action is empty where nothing was decided, `p_before` then NaN.

    `propensity` is of the action that was taken.
    """

    payment_id: str
    t_ms: int
    facts: Facts
    before: str
    propensity: float
    p_before: float
    after: str
    p_after: float


@dataclass(frozen=True, eq=False)
class Again:
    """Payments of a period, decided again, and what became of each by `cut_ms`, the end of the log; arrays [n].

    `issuer_declined` tells those that failed at the issuer. `policy` and `model` stand at the end of the log; `reused`
    says that no feature was computed: all came from decision records.
    """

    schema: Schema
    payments: list[Payment]
    captured: Bools
    fraud: Bools
    issuer_declined: Bools
    cut_ms: int
    policy: Policy
    model: str
    reused: bool

    @property
    def t_ms(self) -> I64:
        """Return when the payments arrived, int64 [n]."""
        return np.array([payment.t_ms for payment in self.payments], np.int64)

    @property
    def amount_minor(self) -> F64:
        """Return the amounts in base minor units, float64 [n]."""
        return np.array([payment.facts.amount_base_minor for payment in self.payments], np.float64)


class _Said(msgspec.Struct, frozen=True, gc=False):
    """What a backtest needs of a logged decision."""

    checkpoint: str
    action: str
    mode: str
    p_fraud: float | None = None
    propensity: float = 1.0
    degraded: bool = False


class _SaidCore(msgspec.Struct, frozen=True, array_like=True, gc=False):
    decision: _Said
    features: bytes


_decode_said = msgspec.msgpack.Decoder(_SaidCore).decode
Progress = Callable[[int], None]


def decide_again(
    read: Callable[[], Iterable[tuple[int, Record]]],
    merchant: str,
    candidate: Candidate,
    period: Period = Period(),  # noqa: B008
    *,
    active: Callable[[str], Artefact] | None = None,
    progress: Progress = lambda position: None,
) -> Again:
    """Decide a period's payments again, from their decision records if all have one, else through the kernel.

    `read` begins to read the log anew; `active` loads the model of a version, for payments that were never scored when
    the candidate brings none.

    Raises
    ------
    NotFound
        If the merchant is not in the log.
    ArtefactInvalid
        If the candidate's model was made for another plan.
    BadInput
        If the period holds no payment, or its payments were never scored and there is no model to do it.
    """
    quick = _read(read(), merchant, _Reader(candidate, period), progress)
    if quick.lacking:
        if candidate.model is None and active is not None and quick.model:
            candidate = candidate._replace(model=active(quick.model))
        if candidate.model is None:
            raise BadInput(
                "payments of the period were never scored, and no model is active: train one, or name one by --model",
                field="model",
                expected="a model",
                got=f"{quick.lacking} payments without a score",
            )
        quick = _read(read(), merchant, _Replayer(candidate, period), progress)
    if not quick.payments:
        raise BadInput("no payment arrived in the period", field="from, to", expected="payments", got="none")
    return quick.finish()


def _read(records: Iterable[tuple[int, Record]], merchant: str, reader: _Reader, progress: Progress) -> _Reader:
    for position, record in records:
        if record.merchant == merchant:
            reader.take(record)
            progress(position)
    if not reader.created:
        raise NotFound(f"no merchant {merchant!r} in the log")
    reader.decide()
    return reader


class _Waiting(NamedTuple):
    """A payment that waits to be decided again in a batch: `policy` is what decides, None where it has no say."""

    core: EventCore
    seq: int
    policy: Policy
    said: _Said | None
    features: bytes


class _Reader:
    """Reads events, decisions and outcomes; holds a payment back until the next record says whether it was decided."""

    reused = True

    def __init__(self, candidate: Candidate, period: Period) -> None:
        self._candidate, self._period = candidate, period
        self.created: MerchantCreated | None = None
        self.payments: list[Payment] = []
        self.lacking = 0
        self.policy, self.model = Policy(), ""
        self._held: tuple[EventCore, int] | None = None
        self._waiting: list[_Waiting] = []
        self._place: dict[str, int] = {}
        self._captured: list[int] = []
        self._fraud: list[int] = []
        self._declined: set[int] = set()
        self._fallbacks: dict[int, str] = {}
        self._cut_ms = 0

    def take(self, record: Record) -> None:
        kind = record.kind
        if kind == RecordKind.EVENT:
            self._release()
            self._cut_ms = record.received_at_ms
            core = decode_event_core(record.core)
            if core.checkpoint:
                self._hold(core, record)
            else:
                self._become(core)
        elif kind == RecordKind.DECISION:
            self._decided(record.core)
        elif kind == RecordKind.CONTROL:
            self._release()
            self._apply(record)
        else:
            fallback = decode_fallback(record.core)
            place = self._place.get(fallback.answer.payment_id)
            if place is not None:
                self._fallbacks[place] = str(fallback.answer.action)

    def _apply(self, record: Record) -> None:
        if self.created is None:
            self.created = created_by(record)
            self._begin(self.created)
            return
        match decode_control(record.core):
            case PolicySet(policy=policy):
                self.policy = decode_policy(policy)
            case ModelActivated(version=version):
                self.model = version

    def _begin(self, created: MerchantCreated) -> None:
        model, plan = self._candidate.model, plan_of(created)
        if model is not None and model.plan_hash != plan.hash:
            raise ArtefactInvalid(
                f"model {model.version} was trained on plan {model.plan_hash}, the merchant runs {plan.hash}: "
                "train again"
            )

    def _hold(self, core: EventCore, record: Record) -> None:
        """Hold a payment back at its first checkpoint: a later one is another decision of the same payment."""
        inside = self._period.from_ms <= record.received_at_ms < self._period.to_ms
        if inside and core.facts is not None and core.payment_id not in self._place:
            self._place[core.payment_id] = len(self._place)
            head = np.frombuffer(core.row, "<i8", _HEAD)
            self._captured.append(int(head[CAPTURED_DELTA]))
            self._fraud.append(int(head[FRAUD_DELTA]))
            self._held = core, record.seq
        else:
            self._pass(core)

    def _pass(self, core: EventCore) -> None:
        """Take note of an event that is not decided again."""

    def _become(self, core: EventCore) -> None:
        place = self._place.get(core.payment_id, -1)
        if place >= 0:
            row = np.frombuffer(core.row, "<i8", _HEAD).tolist()
            self._captured[place] += row[CAPTURED_DELTA]
            self._fraud[place] += row[FRAUD_DELTA]
            if row[KIND] == FoldKind.AUTH_DECLINED:
                self._declined.add(place)
        self._pass(core)

    def _decided(self, core: bytes) -> None:
        if self._held is not None:
            decided = _decode_said(core)
            self._wait(decided.decision, decided.features)

    def _release(self) -> None:
        if self._held is not None:
            self._wait(None, b"")

    def _wait(self, said: _Said | None, features: bytes) -> None:
        assert self._held is not None, "a payment is held"
        core, seq = self._held
        self._held = None
        if self.reused and (said is None or (self._candidate.model is None and said.p_fraud is None)):
            self.lacking += 1
        else:
            self._waiting.append(_Waiting(core, seq, self._candidate.policy or self.policy, said, features))
        if len(self._waiting) >= _BATCH:
            self.decide()

    def decide(self) -> None:
        """Decide the waiting payments again."""
        self._release()
        waiting, self._waiting = self._waiting, []
        self.payments += map(_decided_again, waiting, self._scores(waiting))

    def _scores(self, waiting: list[_Waiting]) -> list[float]:
        model = self._candidate.model
        if model is None:
            return [w.said.p_fraud for w in waiting if w.said is not None and w.said.p_fraud is not None]
        rows = np.frombuffer(b"".join([w.features for w in waiting]), "<f4")
        return probabilities(model, rows.reshape(len(waiting), len(model.columns)))

    def finish(self) -> Again:
        assert self.created is not None, "the merchant is in the log"
        declined = np.zeros(len(self.payments), np.bool_)
        declined[list(self._declined)] = True
        for place, action in self._fallbacks.items():
            self.payments[place] = self.payments[place]._replace(before=action, propensity=1.0)
        return Again(
            self.created.schema,
            self.payments,
            np.array(self._captured) > 0,
            np.array(self._fraud) > 0,
            declined,
            self._cut_ms,
            self.policy,
            self.model,
            self.reused,
        )


class _Replayer(_Reader):
    """Also folds every event through the kernel, for the features of payments that have no decision record."""

    reused = False

    def _begin(self, created: MerchantCreated) -> None:
        super()._begin(created)
        self._state = State(plan_of(created))
        self._rows: list[bytes] = []
        self._asked: list[bool] = []

    def _pass(self, core: EventCore) -> None:
        self._fold(core, asked=False)
        if len(self._rows) >= 8 * _BATCH:
            self.decide()

    def _wait(self, said: _Said | None, features: bytes) -> None:
        assert self._held is not None, "a payment is held"
        self._fold(self._held[0], asked=True)
        super()._wait(said, b"")

    def _fold(self, core: EventCore, *, asked: bool) -> None:
        self._rows.append(core.row)
        self._asked.append(asked)

    def _scores(self, waiting: list[_Waiting]) -> list[float]:
        assert self._candidate.model is not None, "a replay scores"
        if not self._rows:
            return []
        rows = np.frombuffer(b"".join(self._rows), dtype="<i8").reshape(len(self._rows), -1)
        features = self._state.run(rows, np.array(self._asked, dtype=np.bool_))
        self._rows, self._asked = [], []
        return probabilities(self._candidate.model, features)


def probabilities(model: Artefact, features: F32) -> list[float]:
    """Return what a model makes of features float32 [n, columns], as a decision has it."""
    if not len(features):
        return []
    p: list[float] = model.calibration.apply(model.trees.score_many(features)).tolist()
    return p


def _decided_again(waiting: _Waiting, p: float) -> Payment:
    core, seq, policy, said, _ = waiting
    assert core.facts is not None, "a payment has facts"
    again = evaluate(core, seq, Scored(np.nan, p, 0, ()), policy, _LIVE, _VERSIONS)
    taken = said is not None and said.mode == _LIVE
    return Payment(
        core.payment_id,
        _at(core),
        core.facts,
        said.action if said is not None and taken and said.action != Action.NOT_REVIEWED else UNKNOWN,
        said.propensity if said is not None and taken else 1.0,
        said.p_fraud if said is not None and said.p_fraud is not None else np.nan,
        again.action.value,
        p,
    )


_LIVE: Final[Mode] = "live"


def _at(core: EventCore) -> int:
    return int.from_bytes(core.row[8 * AT : 8 * AT + 8], "little", signed=True)
