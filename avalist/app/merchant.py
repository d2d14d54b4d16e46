"""A merchant in memory: a fold of its inputs, the same in the decider, the follower, replay and training."""

from __future__ import annotations

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
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.features.state import State
from avalist.models.score import Model
from avalist.policy.economics import Policy, decode_policy, policy_version

CAPTURED: Final = 1
FRAUD: Final = 2
_FLAG_BITS: Final = 8
_EVENT_MEMORY_MS: Final = 35 * DAY_MS
_PAYMENT_MEMORY_MS: Final = 200 * DAY_MS
_BATCH: Final = 8192

LoadModel = Callable[[str, str], Model]
"""(merchant, version) -> model; reads the blobs."""

decode_event_core = msgspec.msgpack.Decoder(EventCore).decode
decode_control = msgspec.msgpack.Decoder(Control).decode
decode_fallback = msgspec.msgpack.Decoder(FallbackCore).decode


class Merchant:
    """Everything ``decide()`` may know of one merchant as of its last input.

    `seq` counts its inputs; `at_ms` is the last arrival. `events` finds an event's record by its id, `payments` that of a payment at
    a checkpoint with its flags (captured, fraud).
    """

    def __init__(self, id: str, schema: Schema, load_model: LoadModel) -> None:
        self.id = id
        self.schema = schema
        self.plan = compile_plan(schema, derive(schema))
        self.features = State(self.plan)
        self.events = Generations(_EVENT_MEMORY_MS)
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
        self.seq, self.at_ms = record.seq, record.received_at_ms
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
        row = np.frombuffer(core.row, dtype="<i8")
        at_ms = int(row[AT])
        self.events.put(core.event_id, position, at_ms)
        if core.checkpoint:
            flags = (CAPTURED if row[CAPTURED_DELTA] > 0 else 0) | (FRAUD if row[FRAUD_DELTA] > 0 else 0)
            self.payments.put(payment_key(core.payment_id, core.checkpoint), position << _FLAG_BITS | flags, at_ms)
        elif core.payment_id:
            key, position, flags = self.payment(core.payment_id)
            flags |= CAPTURED if row[CAPTURED_DELTA] > 0 else 0
            flags = flags | FRAUD if row[FRAUD_DELTA] > 0 else flags & ~FRAUD if row[FRAUD_DELTA] < 0 else flags
            self.payments.put(key, position << _FLAG_BITS | flags, at_ms)

    def payment(self, payment_id: str) -> tuple[str, int, int]:
        """Return a payment's key, the position of its first event and its flags.

        Raises
        ------
        NotFound
            If no such payment came in the last 200 days.
        """
        for checkpoint in ("pre_auth", "post_auth"):
            key = payment_key(payment_id, checkpoint)
            value = self.payments.get(key)
            if value >= 0:
                return key, value >> _FLAG_BITS, value & ((1 << _FLAG_BITS) - 1)
        raise NotFound(f"no payment {payment_id[:64]!r} of this merchant: send the payment before its outcomes")

    def knows(self, payment_id: str) -> bool:
        """Tell whether the payment came before, at any checkpoint: then it is in its entities' velocity already."""
        return self.decided_at(payment_id, "pre_auth") >= 0 or self.decided_at(payment_id, "post_auth") >= 0

    def decided_at(self, payment_id: str, checkpoint: str) -> int:
        """Return the position of the event of a payment at a checkpoint, or −1."""
        value = self.payments.get(payment_key(payment_id, checkpoint))
        return value >> _FLAG_BITS if value >= 0 else -1

    def apply(self, control: Control) -> None:
        """Apply a control event."""
        match control:
            case MerchantCreated():
                pass
            case ModeSet(mode=mode):
                self.mode = mode
            case PolicySet(policy=policy):
                self.set_policy(bytes(policy))
            case ModelStaged(version=version, plan_hash=plan_hash):
                self.stage(version, plan_hash)
            case ModelActivated(version=version):
                self.model = self._staged.get(version) or self._load_model(self.id, version)

    def stage(self, version: str, plan_hash: str) -> None:
        """Load a model so that it can be activated. Raises ``ArtefactInvalid`` if it was made for another plan."""
        if plan_hash != self.plan.hash:
            raise ArtefactInvalid(
                f"model {version} was trained on plan {plan_hash}, this merchant runs plan {self.plan.hash}: train again"
            )
        self._staged[version] = self._load_model(self.id, version)

    def set_policy(self, policy: bytes) -> None:
        """Replace the policy (JSON). Raises ``BadInput``."""
        self.policy = decode_policy(policy)
        self.policy_version = policy_version(self.policy)


def payment_key(payment_id: str, checkpoint: str) -> str:
    """Return the key of a payment at a checkpoint."""
    return f"{checkpoint}\x00{payment_id}"
