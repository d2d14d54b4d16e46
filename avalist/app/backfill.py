"""Back-fill: what a merchant's state is under a plan with more columns, folded from its inputs anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from avalist.app.merchant import Backfill, Merchant, decode_event_core
from avalist.app.parts import proof_of
from avalist.domain.records import Record, RecordKind
from avalist.domain.schema import Schema
from avalist.features.plan import Plan
from avalist.features.state import BLOCK, State
from avalist.features.wave import Watch
from avalist.ports.log import Log

_NEAR: Final = 1 << 20
_ROUNDS: Final = 8
Records = Iterable[tuple[int, Record]]
Read = Callable[[int], Records]
"""Reads a log from a position on."""
Told = Callable[[int], None]


def _silent(position: int) -> None:
    """Tell nobody."""


class Folding:
    """One merchant's state under another plan, as of its inputs in the log before `position`.

    `seq` is the last of them, and `last` its position and proof: they tell one log from another.
    """

    def __init__(self, merchant: str, schema: Schema, plan: Plan) -> None:
        self.merchant, self.plan = merchant, plan
        self.state = State(plan, watch=Watch(schema))
        self.position = self.seq = 0
        self.last = (0, b"")
        self._rows: list[bytes] = []

    def fold(self, records: Records, stop: int, progress: Told = _silent) -> None:
        """Fold the merchant's inputs among the log's records of [`position`, `stop`)."""
        last: tuple[int, Record] | None = None
        for position, record in records:
            if record.merchant != self.merchant or record.kind == RecordKind.DECISION:
                continue
            last = position, record
            if record.kind == RecordKind.EVENT:
                self._rows.append(decode_event_core(record.core).row)
            if len(self._rows) == BLOCK:
                self._run()
                progress(position)
        self._run()
        self.position = stop
        if last is not None:
            self.seq, self.last = last[1].seq, (last[0], proof_without_seal(last[1]))

    def step(self, log: Log, most: int) -> bool:
        """Fold so many records of the log at most; tell whether these were all."""
        end = log.end
        records = list(islice(log.read(self.position, end), most + 1))
        rest = records[most:]
        self.fold(records[:most], rest[0][0] if rest else end)
        return not rest

    def _run(self) -> None:
        """Fold the rows that wait."""
        if self._rows:
            rows = np.frombuffer(b"".join(self._rows), dtype="<i8").reshape(len(self._rows), -1)
            self.state.run(rows, np.zeros(len(rows), dtype=np.bool_))
            self._rows.clear()


def proof_without_seal(record: Record) -> bytes:
    """Return the hash by which a record is known again, in the log and in its archive."""
    return proof_of(msgspec.structs.replace(record, sealed=b""))


def fold_to_end(folding: Folding, log: Log, read: Callable[[int, int], Records], progress: Told = _silent) -> None:
    """Fold the durable log, and what came meanwhile, until little is left. `read` reads the merchant's of a range."""
    for _ in range(_ROUNDS):
        end = log.durable_end
        folding.fold(read(folding.position, end), end, progress)
        if log.durable_end - end < _NEAR:
            return


def backfill_from(
    read: Read, staged: Callable[[Merchant, Plan], Folding | None] = lambda merchant, plan: None
) -> Backfill:
    """Return how merchants of a log get the state of another plan: from what was `staged`, else from the beginning."""

    def backfill(merchant: Merchant, plan: Plan) -> State:
        folding = staged(merchant, plan) or Folding(merchant.id, merchant.schema, plan)
        folding.fold(_inputs(read(folding.position), merchant), folding.position)
        return folding.state

    return backfill


def _inputs(records: Records, merchant: Merchant) -> Records:
    """Yield a merchant's records up to the last that it has folded."""
    for position, record in records:
        if record.merchant == merchant.id:
            if record.seq > merchant.seq:
                return
            yield position, record
