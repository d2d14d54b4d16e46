"""Back-fill: what a merchant's state is under a plan with more columns, folded from its inputs anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from avalist.app.merchant import Backfill, Merchant, decode_event_core
from avalist.domain.records import Record, RecordKind
from avalist.features.plan import Plan
from avalist.features.state import State
from avalist.features.wave import Watch

_BATCH: Final = 8192


def backfill_from(
    read: Callable[[], Iterable[tuple[int, Record]]], progress: Callable[[int], None] = lambda position: None
) -> Backfill:
    """Return how merchants of a log get the state of another plan. `progress` is told the position in the log."""

    def backfill(merchant: Merchant, plan: Plan) -> State:
        state, rows = State(plan, watch=Watch(merchant.schema)), list[bytes]()
        for position, record in read():
            if record.merchant != merchant.id:
                continue
            if record.seq > merchant.seq:
                break
            if record.kind == RecordKind.EVENT:
                rows.append(decode_event_core(record.core).row)
            if len(rows) == _BATCH:
                _fold(state, rows)
                progress(position)
        _fold(state, rows)
        return state

    return backfill


def _fold(state: State, rows: list[bytes]) -> None:
    """Fold rows, and forget them."""
    folded = np.frombuffer(b"".join(rows), dtype="<i8").reshape(len(rows), -1)
    state.run(folded, np.zeros(len(rows), dtype=np.bool_))
    rows.clear()
