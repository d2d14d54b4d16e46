"""Replay: run the log again through the same kernel and the same ``decide()``, and compare (I2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from avalist.app.backfill import backfill_from
from avalist.app.decide import decide
from avalist.app.merchant import Backfill, LoadModel, Merchant, created_by, decode_event_core, named_by
from avalist.app.writer import decode_decision
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.errors import ReplayMismatch
from avalist.domain.records import Record, RecordKind

_MOST_SHOWN = 5


class Replayed(msgspec.Struct, kw_only=True):
    """What a replay found: inputs folded, decisions made again, those that differ, and each merchant's state digest.

    `carried` decisions are first answers of an earlier generation: given under another history, so not made again.
    """

    inputs: int = 0
    decisions: int = 0
    carried: int = 0
    different: int = 0
    examples: list[str] = []
    digests: dict[str, str] = {}

    def add(self, other: Replayed) -> None:
        """Take in what the replay of other merchants found."""
        self.inputs += other.inputs
        self.decisions += other.decisions
        self.carried += other.carried
        self.different += other.different
        self.examples = (self.examples + other.examples)[:_MOST_SHOWN]
        self.digests = dict(sorted((self.digests | other.digests).items()))

    def check(self) -> None:
        """Raise ``ReplayMismatch`` if any decision differs."""
        if self.different:
            raise ReplayMismatch(
                f"{self.different} of {self.decisions} decisions differ from the log; the first: "
                + "; ".join(self.examples)
            )


class Readable(Protocol):
    """A log, or its archive with its tail."""

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` in order."""
        ...


def replay(
    log: Readable,
    load_model: LoadModel,
    *,
    merchant: str | None = None,
    stop: int | None = None,
    progress: Callable[[int], None] = lambda position: None,
) -> Replayed:
    """Fold the log from the beginning and make every logged decision of the same engine again.

    `merchant` limits it to one; `stop` to a position. Equal means equal bytes: action, probability, reasons and
    features.
    """
    player = _Player(load_model, backfill_from(log.read))
    for position, record in log.read(0, stop):
        if merchant is None or record.merchant == merchant:
            player.play(record, position)
        progress(position)
    return player.finish()


class _Player:
    """Holds back one event until the next record says whether it was decided."""

    def __init__(self, load_model: LoadModel, backfill: Backfill) -> None:
        self._load_model, self._backfill = load_model, backfill
        self._merchants: dict[str, Merchant] = {}
        self._held: tuple[Record, int] | None = None
        self.result = Replayed()

    def play(self, record: Record, position: int) -> None:
        if record.kind == RecordKind.DECISION:
            self._decide(record)
            return
        self._release()
        if record.merchant not in self._merchants:
            created = created_by(record)
            self._merchants[record.merchant] = Merchant(record.merchant, created, self._load_model, self._backfill)
        self.result.inputs += 1
        if record.kind == RecordKind.EVENT:
            self._held = (record, position)
        else:
            self._merchants[record.merchant].fold(record, position)

    def finish(self) -> Replayed:
        self._release()
        for id, merchant in sorted(self._merchants.items()):
            merchant.settle()
            self.result.digests[id] = merchant.features.digest()
        return self.result

    def _release(self) -> None:
        if self._held is not None:
            record, position = self._held
            self._held = None
            self._merchants[record.merchant].fold(record, position)

    def _decide(self, record: Record) -> None:
        assert self._held is not None, "a decision follows its event"
        (event, position), self._held = self._held, None
        merchant, logged = self._merchants[record.merchant], decode_decision(record.core)
        if logged.decision.generation != merchant.created.generation:
            self.result.carried += 1
            merchant.fold(event, position)
            return
        merchant.settle()
        core = decode_event_core(event.core)
        (again,) = decide(merchant, [core], event.seq)
        merchant.seq, merchant.at_ms = event.seq, event.received_at_ms
        merchant.note([core], [position], named_by([core]))
        if logged.decision.engine == again.decision.engine:
            self.result.decisions += 1
            if logged != again:
                self._differs(core, event.seq, logged, again)

    def _differs(self, core: EventCore, seq: int, logged: DecisionCore, again: DecisionCore) -> None:
        self.result.different += 1
        if len(self.result.examples) < _MOST_SHOWN:
            was, now = logged.decision, again.decision
            self.result.examples.append(
                f"seq {seq} payment {core.payment_id}: logged {was.action} p={was.p_fraud}, replayed {now.action} "
                f"p={now.p_fraud}, features {'equal' if logged.features == again.features else 'differ'}"
            )
