"""A merchant in memory: a fold of its inputs, the same in the decider, the follower, replay and training."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from avalist.app.index import Generations
from avalist.domain.core import (
    Control,
    EventCore,
    FallbackCore,
    MerchantCreated,
    ModelActivated,
    ModelStaged,
    ModeSet,
    PolicySet,
)
from avalist.domain.decisions import Mode
from avalist.domain.errors import ArtefactInvalid, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import Feature
from avalist.features.derive import derive
from avalist.features.plan import Plan, compile_plan
from avalist.features.state import State
from avalist.models.score import Model
from avalist.policy.economics import Policy, decode_policy, policy_version

CAPTURED: Final = 1
FRAUD: Final = 2
CHECKPOINTS: Final = {"pre_auth": 4, "post_auth": 8, "rescore": 16}
_FLAG_BITS: Final = 8
_FLAGS: Final = (1 << _FLAG_BITS) - 1
_HEAD: Final = struct.Struct("<5q")
EVENT_MEMORY_MS: Final = 35 * DAY_MS
_PAYMENT_MEMORY_MS: Final = 400 * DAY_MS
_BATCH: Final = 8192

LoadModel = Callable[[str, str], Model]
"""(merchant, version) -> model; reads the blobs."""

decode_event_core = msgspec.msgpack.Decoder(EventCore).decode
decode_control = msgspec.msgpack.Decoder(Control).decode
decode_features = msgspec.json.Decoder(tuple[Feature, ...]).decode
decode_fallback = msgspec.msgpack.Decoder(FallbackCore).decode


def creation(schema: Schema) -> MerchantCreated:
    """Return the event that creates a merchant of a schema, with the default plan. Raises ``BadInput``."""
    return MerchantCreated(schema.check(), msgspec.json.encode(derive(schema)))


def created_by(record: Record) -> MerchantCreated:
    """Return what a merchant's first record creates. Raises ``NotFound`` if it is another one."""
    control = decode_control(record.core) if record.kind == RecordKind.CONTROL else None
    if not isinstance(control, MerchantCreated):
        raise NotFound(f"the log names merchant {record.merchant!r} before it was created")
    return control


def plan_of(created: MerchantCreated) -> Plan:
    """Return the plan a merchant was created with."""
    return compile_plan(created.schema, decode_features(created.features))


class Merchant:
    """Everything ``decide()`` may know of one merchant as of its last input.

    `seq` counts its inputs; `at_ms` is the last arrival of an event (what operators do has the wall's time, which does
    not bind history or a simulation). `events` finds an event's record by its id, `payments` that
    of a payment at a checkpoint with its flags (captured, fraud).
    """

    def __init__(self, id: str, created: MerchantCreated, load_model: LoadModel) -> None:
        self.id = id
        self.schema = created.schema
        self.plan = plan_of(created)
        self.features = State(self.plan)
        self.events = Generations(EVENT_MEMORY_MS)
        self.payments = Generations(_PAYMENT_MEMORY_MS)
        self.fallbacks: dict[str, int] = {}
        self.seq = 0
        self.at_ms = 0
        self.mode: Mode = "live"
        self.policy = Policy()
        self.policy_version = ""
        self.model: Model | None = None
        self._load_model = load_model
        self._staged: dict[str, Model] = {}
        self._rows: list[bytes] = []
        self.set_policy(msgspec.json.encode(self.policy))

    @property
    def versions(self) -> tuple[str, str]:
        """Return the versions of the active model (empty if none) and policy."""
        return self.model.version if self.model else "", self.policy_version

    def fold(self, record: Record, position: int) -> None:
        """Fold one input record; rows may wait in a batch until :meth:`settle`."""
        self.seq = record.seq
        if record.kind == RecordKind.EVENT:
            self.absorb(decode_event_core(record.core), record.seq, record.received_at_ms, position)
        elif record.kind == RecordKind.CONTROL:
            self.apply(decode_control(record.core))
        elif record.kind == RecordKind.FALLBACK:
            self.fallbacks[decode_fallback(record.core).event_id] = position

    def absorb(self, core: EventCore, seq: int, at_ms: int, position: int) -> None:
        """Fold an event that asks for no decision; its row waits in a batch."""
        self.seq, self.at_ms = seq, at_ms
        self.note(core, position)
        self._rows.append(core.row)
        if len(self._rows) >= _BATCH:
            self.settle()

    def settle(self) -> None:
        """Run the waiting rows through the kernel."""
        if self._rows:
            rows = np.frombuffer(b"".join(self._rows), dtype="<i8").reshape(-1, self.plan.width)
            self.features.run(rows, np.zeros(len(rows), dtype=np.bool_))
            self._rows.clear()

    def note(self, core: EventCore, position: int) -> None:
        """Remember where an event stands and what it says of its payment."""
        _, at_ms, _, captured, fraud = _HEAD.unpack_from(core.row)
        self.events.put(core.event_id, position, at_ms)
        if not core.payment_id:
            return
        known = self.payments.get(core.payment_id)
        first, flags = (known >> _FLAG_BITS, known & _FLAGS) if known >= 0 else (position, 0)
        flags |= (CAPTURED if captured > 0 else 0) | (FRAUD if fraud > 0 else 0) | CHECKPOINTS.get(core.checkpoint, 0)
        self.payments.put(core.payment_id, first << _FLAG_BITS | (flags & ~FRAUD if fraud < 0 else flags), at_ms)
        if core.checkpoint and first != position:
            self.payments.put(f"{core.checkpoint}\x00{core.payment_id}", position << _FLAG_BITS, at_ms)

    def payment(self, payment_id: str) -> tuple[int, int]:
        """Return the position of a payment's first event, −1 where it is not known, and its flags.

        Flags: captured, fraud, and the checkpoints it came at. Known means in the last 400 days at least.
        """
        value = self.payments.get(payment_id)
        return (value >> _FLAG_BITS, value & _FLAGS) if value >= 0 else (-1, 0)

    def decided_at(self, payment_id: str, checkpoint: str) -> int:
        """Return the position of a payment's last event at a checkpoint, or −1."""
        value = self.payments.get(f"{checkpoint}\x00{payment_id}")
        if value >= 0:
            return value >> _FLAG_BITS
        first, flags = self.payment(payment_id)
        return first if flags & CHECKPOINTS[checkpoint] else -1

    def apply(self, control: Control) -> None:
        """Apply a control event."""
        match control:
            case MerchantCreated():
                pass
            case ModeSet(mode=mode):
                self.mode = mode
            case PolicySet(policy=policy):
                self.set_policy(policy)
            case ModelStaged(version=version, plan_hash=plan_hash):
                self.stage(version, plan_hash)
            case ModelActivated(version=version):
                self.model = self._staged.get(version) or self._load_model(self.id, version)

    def stage(self, version: str, plan_hash: str) -> None:
        """Load a model so that it can be activated. Raises ``ArtefactInvalid`` if it was made for another plan."""
        if plan_hash != self.plan.hash:
            raise ArtefactInvalid(
                f"model {version} was trained on plan {plan_hash}, the merchant runs {self.plan.hash}: train again"
            )
        self._staged[version] = self._load_model(self.id, version)

    def set_policy(self, policy: bytes) -> None:
        """Replace the policy (JSON). Raises ``BadInput``."""
        self.policy = decode_policy(policy)
        self.policy_version = policy_version(self.policy)
