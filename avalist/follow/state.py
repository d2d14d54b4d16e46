"""The same state as the decider's, folded by the same kernel: snapshots are taken of it, and parity is checked."""

from __future__ import annotations

import time
from collections.abc import Callable

from avalist import ENGINE
from avalist.app.merchant import Backfill, Merchant, created_by, decode_event_core
from avalist.app.parity import Parity
from avalist.app.parts import proof_of
from avalist.app.snapshot import Last, Snapshots
from avalist.app.stages import Stages
from avalist.app.writer import decode_decision
from avalist.domain.errors import Unavailable
from avalist.domain.records import Record, RecordKind
from avalist.follow.waves import WaveDocuments
from avalist.models.score import Model

_LEAST_REST = 9
"""A snapshot is not due before nine times what the last one took: taking them costs a tenth of the time at most."""


class MerchantStates:
    """Folds the merchants, and saves a snapshot each `log_bytes` of log or `seconds`, whichever comes first.

    `waves` are told what payments were told. What a snapshot holds of `stages` is deleted there.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        backfill: Backfill,
        *,
        log_bytes: int,
        seconds: float,
        now_s: Callable[[], float] = time.monotonic,
        waves: WaveDocuments | None = None,
        stages: Stages | None = None,
    ) -> None:
        self._snapshots, self._backfill, self._stages = snapshots, backfill, stages
        self._log_bytes, self._seconds, self._now_s = log_bytes, seconds, now_s
        found = snapshots.newest(_no_model)
        self.merchants: dict[str, Merchant] = found.merchants if found is not None else {}
        self.position = self.saved = found.position if found is not None else 0
        self.waves = waves
        self.parity = Parity(found.notes if found is not None else b"")
        for merchant in self.merchants.values():
            merchant.backfill = backfill
            self._watch(merchant)
        self._held: tuple[Record, int] | None = None
        self._last: tuple[Record, int] | None = None
        self._rested_s = now_s()
        self._due_s = self._rested_s + (seconds if found is not None else 0.0)

    def take(self, record: Record, position: int) -> None:
        """Take one record; an event waits for the next, which may be its decision."""
        self._last = record, position
        if record.kind == RecordKind.DECISION:
            self._release(record)
            return
        self._release()
        self._held = record, position

    def keep(self, stop: int) -> int:
        """Settle what was taken, and save a snapshot when one is due."""
        self._release()
        for merchant in self.merchants.values():
            merchant.settle()
        self.position = stop
        now_s = self._now_s()
        if now_s >= self._rested_s and (now_s >= self._due_s or stop - self.saved >= self._log_bytes):
            self.save()
        return 0

    def save(self) -> None:
        """Save a snapshot as of `position`."""
        if self._last is None:
            return
        record, position = self._last
        began_s = self._now_s()
        last = Last(position, proof_of(record))
        self._snapshots.save(self.merchants, self.position, last, self.parity.notes())
        if self._stages is not None:
            self._stages.forget(self.merchants)
        ended_s = self._now_s()
        self.saved = self.position
        self._due_s, self._rested_s = ended_s + self._seconds, ended_s + _LEAST_REST * (ended_s - began_s)

    def _watch(self, merchant: Merchant) -> None:
        merchant.compare = self.parity.compare
        merchant.told = self.waves.told if self.waves is not None else None

    def _release(self, decision: Record | None = None) -> None:
        if self._held is None:
            return
        (record, position), self._held = self._held, None
        merchant = self.merchants.get(record.merchant)
        if merchant is None:
            merchant = Merchant(record.merchant, created_by(record), _no_model, self._backfill)
            self.merchants[record.merchant] = merchant
            self._watch(merchant)
        if record.kind == RecordKind.EVENT:
            core = decode_event_core(record.core)
            merchant.absorb(core, record.seq, record.received_at_ms, position, _logged(merchant, decision))
        else:
            merchant.fold(record, position)


def _logged(merchant: Merchant, record: Record | None) -> bytes:
    """Return the features that a decision of this engine was made from; empty where there are none to compare."""
    if record is None:
        return b""
    decided = decode_decision(record.core)
    made = decided.decision.engine, decided.decision.generation
    return decided.features if made == (ENGINE, merchant.created.generation) else b""


def _no_model(merchant: str, version: str) -> Model:
    raise Unavailable(f"the follower decides nothing: it needs no model {version} of {merchant}")
