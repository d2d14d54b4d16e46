"""The training set: the log replayed through the one kernel, with each payment's label as it is known at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.app.merchant import created_by, decode_event_core, plan_of
from avalist.domain.core import EventCore, MerchantCreated
from avalist.domain.errors import NotFound
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, VALUES
from avalist.domain.schema import Schema
from avalist.features.plan import Plan
from avalist.features.state import State

_BATCH = 16_384


class Dataset(NamedTuple):
    """Payments in order of decision.

    `x` float32 [n, columns] as each decision saw it; `t_ms` int64 [n]; `captured`, `fraud` bool [n] as known at
    `cut_ms`, the last arrival in the log; `judged_ms` int64 [n] when the fraud label was last changed (its payment's
    own time where it never was).
    """

    plan: Plan
    schema: Schema
    x: npt.NDArray[np.float32]
    t_ms: npt.NDArray[np.int64]
    amount_minor: npt.NDArray[np.int64]
    captured: npt.NDArray[np.bool_]
    fraud: npt.NDArray[np.bool_]
    judged_ms: npt.NDArray[np.int64]
    cut_ms: int


def collect(
    records: Iterable[tuple[int, Record]], merchant: str, progress: Callable[[int], None] = lambda position: None
) -> Dataset:
    """Replay one merchant's records into a data set. Raises ``NotFound`` if it is not in the log."""
    collector: _Collector | None = None
    for position, record in records:
        if record.merchant != merchant:
            continue
        if collector is None:
            collector = _Collector(created_by(record))
        elif record.kind == RecordKind.EVENT:
            collector.add(decode_event_core(record.core))
        progress(position)
    if collector is None:
        raise NotFound(f"no merchant {merchant!r} in the log")
    return collector.finish()


class _Collector:
    def __init__(self, created: MerchantCreated) -> None:
        self._schema = created.schema
        self._plan = plan_of(created)
        self._state = State(self._plan)
        self._waiting: list[bytes] = []
        self._blocks: list[npt.NDArray[np.float32]] = []
        self._stamps: list[npt.NDArray[np.int64]] = []
        self._place: dict[str, int] = {}
        self._late: list[tuple[int, int, int, int]] = []
        self._cut_ms = 0

    def add(self, core: EventCore) -> None:
        if core.checkpoint:
            self._place.setdefault(core.payment_id, len(self._place))
        elif core.payment_id in self._place:
            row = np.frombuffer(core.row, dtype="<i8")
            if row[CAPTURED_DELTA] or row[FRAUD_DELTA]:
                place = self._place[core.payment_id]
                self._late.append((place, int(row[CAPTURED_DELTA]), int(row[FRAUD_DELTA]), int(row[AT])))
        self._waiting.append(core.row)
        if len(self._waiting) == _BATCH:
            self._run()

    def _run(self) -> None:
        if not self._waiting:
            return
        rows = np.frombuffer(b"".join(self._waiting), dtype="<i8").reshape(-1, self._plan.width)
        self._waiting.clear()
        payments = rows[:, KIND] == FoldKind.PAYMENT
        self._blocks.append(self._state.run(rows, payments))
        self._stamps.append(rows[payments][:, [AT, VALUES, CAPTURED_DELTA, FRAUD_DELTA]])
        self._cut_ms = int(rows[-1, AT])

    def finish(self) -> Dataset:
        self._run()
        columns = len(self._plan.columns)
        x = np.concatenate(self._blocks) if self._blocks else np.empty((0, columns), dtype=np.float32)
        stamps = np.concatenate(self._stamps) if self._stamps else np.empty((0, 4), dtype=np.int64)
        late = np.array(self._late, dtype=np.int64).reshape(-1, 4)
        captured, fraud, judged_ms = stamps[:, 2].copy(), stamps[:, 3].copy(), stamps[:, 0].copy()
        np.add.at(captured, late[:, 0], late[:, 1])
        np.add.at(fraud, late[:, 0], late[:, 2])
        judgements = late[late[:, 2] != 0]
        np.maximum.at(judged_ms, judgements[:, 0], judgements[:, 3])
        return Dataset(
            self._plan, self._schema, x, stamps[:, 0], stamps[:, 1], captured > 0, fraud > 0, judged_ms, self._cut_ms
        )
