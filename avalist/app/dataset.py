"""The training set: the log replayed through the one kernel, and what became of each payment, with dates."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.merchant import added_in, created_by, decode_control, decode_event_core, plan_of
from avalist.domain.alerts import Alert
from avalist.domain.cards import brand_of
from avalist.domain.core import (
    AlertsSet,
    DecisionCore,
    EventCore,
    FeaturesAdded,
    MerchantCreated,
    ModelActivated,
    PolicySet,
    Solved,
)
from avalist.domain.decisions import Action, Factor
from avalist.domain.errors import NotFound
from avalist.domain.facts import Facts
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, VALUES
from avalist.domain.schema import Schema
from avalist.features.own import OwnFeature
from avalist.features.plan import Plan
from avalist.features.state import BLOCK, State
from avalist.features.wave import Watch
from avalist.policy.choose import UNSOLVED, Desk, Sold, sold_of
from avalist.policy.economics import Policy, decode_policy

_HEAD: Final = max(KIND, AT, CAPTURED_DELTA, FRAUD_DELTA) + 1
_NOTHING: Final = Sold("", "", None)
_decode_decision: Final = msgspec.msgpack.Decoder(DecisionCore).decode
APPROVED, DECLINED = 1, -1
"""What an issuer said of a payment; 0: nothing is known."""


@dataclass(frozen=True, eq=False)
class Background:
    """What the log says besides the payments' columns.

    `keys` int64 [n, entities + categories], hashed, 0 where absent; `issuer` int8 [n]; `payment_ids` as the merchant
    gave them; `seq` int64 [n] of the payments' first events; `currencies`: code -> (payments, their minor units);
    `outcomes`: events by type; `policy` and `model` (its version, or nothing) as they stand at the end, `solved` with
    the policy. `sold` says what a policy asks of each payment; `decided` float32 [n, 2] is what was decided before
    authorisation: P(fraud) and whether it was approved; NaN where nothing was. `alerts` are those that stand.
    `scheme` is that of each payment's card, empty where there is none or nobody knows it; `released` int64 [m] are
    payments that a draw of exploration let in, `exploring` what it might cost a day: (from then on, minor units).
    `disputes` int64 [m, 3] is the first chargeback of a payment: (payment, arrival, whether it is for fraud).
    """

    keys: npt.NDArray[np.int64]
    issuer: npt.NDArray[np.int8]
    payment_ids: list[str]
    currencies: dict[str, tuple[int, int]]
    outcomes: dict[str, int]
    policy: Policy
    model: str
    seq: npt.NDArray[np.int64]
    solved: Solved = UNSOLVED
    sold: Sequence[Sold] = ()
    decided: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    alerts: tuple[Alert, ...] = ()
    scheme: Sequence[str] = ()
    released: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    exploring: tuple[tuple[int, int], ...] = ()
    disputes: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 3), np.int64))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Payments in order of decision.

    `x` float32 [n, columns] as each decision saw it; `t_ms`, `amount_minor` (base currency) int64 [n]; `changes` int64
    [m, 5]: what became of payments, in order of arrival: (payment, captured delta, fraud delta, arrival, whether that
    is when it was known and not a drawn time); `cut_ms` is the last arrival in the log.
    """

    plan: Plan
    schema: Schema
    x: npt.NDArray[np.float32]
    t_ms: npt.NDArray[np.int64]
    amount_minor: npt.NDArray[np.int64]
    changes: npt.NDArray[np.int64]
    cut_ms: int
    background: Background

    def reports_at(self, cut_ms: int) -> npt.NDArray[np.int64]:
        """Return the payments of fraud reports that stand at a time, with the arrival of each; drawn times left out."""
        logged = self.changes[(self.changes[:, 3] <= cut_ms) & (self.changes[:, 2] > 0)]
        last = np.unique(logged[::-1, 0], return_index=True)[1]
        standing = logged[::-1][last]
        captured, fraud = self.known_at(cut_ms)
        return standing[(captured & fraud)[standing[:, 0]] & (standing[:, 4] > 0)][:, [0, 3]]

    def known_at(self, cut_ms: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which payments were captured, and which were reported as fraud, by what was logged up to a time."""
        logged = self.changes[self.changes[:, 3] <= cut_ms]
        n = len(self.t_ms)
        captured = np.bincount(logged[:, 0], logged[:, 1], n) > 0.5
        return captured, np.bincount(logged[:, 0], logged[:, 2], n) > 0.5


Records = Iterable[tuple[int, Record]]


def collect(
    read: Callable[[], Records],
    merchant: str,
    progress: Callable[[int], None] = lambda position: None,
    spill: IO[bytes] | None = None,
    own: Sequence[OwnFeature] = (),
) -> Dataset:
    """Replay one merchant's records into a data set. Raises ``NotFound`` if it is not in the log.

    `read` begins to read them anew. Features that were added later have their values from the beginning. With an empty
    file to `spill` to, `x` lies there and not in memory; it may be closed afterwards. Features of one's `own` stand
    behind those of its plan; ``BadInput`` says what is wrong with one.
    """
    records = iter(read())
    try:
        return _collected(records, merchant, [], progress, spill, own)
    except _Grew as grew:  # from the beginning again, with these columns and those that were added after them
        added = [grew.features, *added_in(records, merchant)]
    if spill is not None:
        spill.seek(0)
        spill.truncate()
    return _collected(read(), merchant, added, progress, spill, own)


class _Grew(Exception):
    """Features were added that a collector does not know."""

    def __init__(self, features: bytes) -> None:
        self.features = features


def _collected(
    records: Records, merchant: str, added: list[bytes], progress: Callable[[int], None], spill: IO[bytes] | None,
    own: Sequence[OwnFeature],
) -> Dataset:  # fmt: skip
    collector: _Collector | None = None
    for position, record in records:
        if record.merchant != merchant:
            continue
        if collector is None:
            collector = _Collector(created_by(record), added, spill, own)
        elif record.kind == RecordKind.EVENT:
            collector.add(decode_event_core(record.core), record.seq)
        elif record.kind == RecordKind.CONTROL:
            collector.apply(record.core, record.received_at_ms)
        elif record.kind == RecordKind.DECISION:
            collector.decide(record.core)
        progress(position)
    if collector is None:
        raise NotFound(f"no merchant {merchant!r} in the log")
    return collector.finish()


class _Collector:
    def __init__(
        self, created: MerchantCreated, added: list[bytes], spill: IO[bytes] | None, own: Sequence[OwnFeature]
    ) -> None:
        self._schema, self._added = created.schema, added
        self._plan = plan_of(created, added, own)
        self._state = State(self._plan, watch=Watch(created.schema))
        self._waiting: list[bytes] = []
        self._spill = spill
        self._blocks: list[npt.NDArray[np.float32]] = []
        self._stamps: list[npt.NDArray[np.int64]] = []
        self._place: dict[str, int] = {}
        self._seq = array("q")
        self._late: list[tuple[int, int, int, int, int]] = []
        self._issuer: dict[int, int] = {}
        self._currencies: dict[str, list[int]] = {}
        self._outcomes: Counter[str] = Counter()
        self._desk, self._model = Desk(Policy()), ""
        self._sold: list[Sold] = []
        self._decided: dict[int, tuple[float, float]] = {}
        self._alerts: tuple[Alert, ...] = ()
        self._scheme: list[str] = []
        self._released: list[int] = []
        self._exploring: list[tuple[int, int]] = []
        self._disputes: dict[int, tuple[int, bool]] = {}
        self._cut_ms = 0

    def apply(self, control: bytes, at_ms: int) -> None:
        match decoded := decode_control(control):
            case PolicySet(policy=policy):
                self._desk = self._desk.under(decode_policy(policy))
                plan = self._desk.policy.exploration
                self._exploring.append((at_ms, plan.daily_cost_minor if plan.on else 0))
            case Solved():
                self._desk = Desk(self._desk.policy, decoded)
            case ModelActivated(version=version):
                self._model = version
            case FeaturesAdded(features=features) if not self._added:
                raise _Grew(features)
            case AlertsSet(alerts=alerts):
                self._alerts = alerts

    def decide(self, core: bytes) -> None:
        decision = _decode_decision(core).decision
        place = self._place.get(decision.payment_id)
        if place is not None and decision.p_fraud is not None and decision.checkpoint == "pre_auth":
            approved = decision.action is Action.APPROVE
            self._decided[place] = decision.p_fraud, float(approved)
            if approved and Factor.EXPLORED in decision.factors:
                self._released.append(place)

    def add(self, core: EventCore, seq: int) -> None:
        if core.checkpoint:
            if core.payment_id not in self._place:
                self._place[core.payment_id] = len(self._place)
                self._seq.append(seq)
                self._pay(core)
        elif core.payment_id in self._place:
            self._outcomes[core.type] += 1
            self._become(self._place[core.payment_id], np.frombuffer(core.row, "<i8", _HEAD).tolist(), core)
        self._waiting.append(core.row)
        if len(self._waiting) == BLOCK:
            self._run()

    def _pay(self, core: EventCore) -> None:
        sold = _NOTHING if core.facts is None else sold_of(core.facts)
        self._sold.append(sold)
        self._scheme.append(scheme_of(core.facts) if core.facts else "")
        if core.facts is not None:
            total = self._currencies.setdefault(core.facts.currency, [0, 0])
            total[0] += 1
            total[1] += core.facts.amount_minor

    def _become(self, place: int, row: list[int], core: EventCore) -> None:
        if row[CAPTURED_DELTA] or row[FRAUD_DELTA]:
            self._late.append((place, row[CAPTURED_DELTA], row[FRAUD_DELTA], row[AT], _dated(core)))
        if core.type == "chargeback":
            self._disputes.setdefault(place, (row[AT], bool(core.told.get("fraud", True))))
        if row[KIND] in (FoldKind.AUTH_APPROVED, FoldKind.AUTH_DECLINED):
            self._issuer[place] = APPROVED if row[KIND] == FoldKind.AUTH_APPROVED else DECLINED

    def _run(self) -> None:
        if not self._waiting:
            return
        rows = np.frombuffer(b"".join(self._waiting), dtype="<i8").reshape(-1, self._plan.width)
        self._waiting.clear()
        payments = rows[:, KIND] == FoldKind.PAYMENT
        block = self._state.run(rows, payments)
        if self._spill is None:
            self._blocks.append(block)
        else:
            self._spill.write(block.data)
        columns = [AT, VALUES, CAPTURED_DELTA, FRAUD_DELTA, *range(self._plan.keys_at, self._plan.width)]
        self._stamps.append(rows[payments][:, columns])
        self._cut_ms = int(rows[-1, AT])

    def finish(self) -> Dataset:
        self._run()
        width = 4 + self._plan.width - self._plan.keys_at
        stamps = np.concatenate(self._stamps) if self._stamps else np.empty((0, width), dtype=np.int64)
        at_once = np.flatnonzero(stamps[:, 2] | stamps[:, 3])
        first = np.column_stack((at_once, stamps[at_once][:, [2, 3, 0]], np.ones(len(at_once), np.int64)))
        late = np.array(self._late, dtype=np.int64).reshape(-1, 5)
        changes = np.concatenate((first, late))
        return Dataset(
            self._plan,
            self._schema,
            self._read(len(stamps)),
            stamps[:, 0],
            stamps[:, 1],
            changes,
            self._cut_ms,
            self._background(stamps),
        )

    def _read(self, payments: int) -> npt.NDArray[np.float32]:
        """Return what was read, float32 [payments, columns]."""
        shape = payments, len(self._plan.columns)
        if not payments:
            return np.empty(shape, dtype=np.float32)
        if self._spill is None:
            return np.concatenate(self._blocks)
        self._spill.flush()
        return np.memmap(self._spill, np.float32, "r", shape=shape)

    def _background(self, stamps: npt.NDArray[np.int64]) -> Background:
        issuer = np.zeros(len(stamps), np.int8)
        issuer[list(self._issuer)] = list(self._issuer.values())
        currencies = {code: (count, minor) for code, (count, minor) in self._currencies.items()}
        decided = np.full((len(stamps), 2), np.nan, np.float32)
        decided[list(self._decided)] = np.array(list(self._decided.values()), np.float32).reshape(-1, 2)
        ids, outcomes = list(self._place), dict(self._outcomes)
        disputes = np.array([(place, *one) for place, one in self._disputes.items()], np.int64).reshape(-1, 3)
        seq = np.frombuffer(self._seq, np.int64)
        return Background(
            stamps[:, 4:], issuer, ids, currencies, outcomes, self._desk.policy, self._model, seq, self._desk.solved,
            self._sold, decided, self._alerts, self._scheme, np.array(self._released, np.int64),
            tuple(self._exploring), disputes,
        )  # fmt: skip


def scheme_of(facts: Facts) -> str:
    """Return the scheme of a payment's card: as the reference tables named it, else by its BIN's public range.

    >>> scheme_of(Facts(bin="411111")), scheme_of(Facts(bin="411111", card_brand="mir")), scheme_of(Facts())
    ('visa', 'mir', '')
    """
    return facts.card_brand or (brand_of(facts.bin) if facts.bin else "")


def _dated(core: EventCore) -> bool:
    """Tell whether an outcome's arrival is when it was known; of labels logged before that was noted it is not sure."""
    return core.type != "label" or core.imputed is False
