"""A feature matrix: payments with what each decision saw, and their labels as they were known at a date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from avalist.app.dataset import Dataset
from avalist.domain.errors import BadInput
from avalist.features.plan import Plan
from avalist.features.words import in_words

_ABOUT: Final = (
    ("payment_id", pa.string()),
    ("seq", pa.int64()),
    ("received_at", pa.timestamp("ms", "UTC")),
    ("amount_minor", pa.int64()),
    ("captured", pa.bool_()),
    ("fraud", pa.bool_()),
    ("fraud_reported_at", pa.timestamp("ms", "UTC")),
)
_TAKEN: Final = frozenset(name for name, _ in _ABOUT)


class Matrix:
    """The payments of a replayed log as a table: `schema`, and its rows by :meth:`batches`.

    Parameters
    ----------
    data
        The replayed log.
    from_ms, to_ms
        Payments received in [`from_ms`, `to_ms`); all of them by default.
    known_at_ms
        Labels are those logged up to then, and payments after it are left out; the end of the log by default.
    columns
        Names of features; all of them by default.

    Raises
    ------
    BadInput
        For a name that is no column.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        known_at_ms: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        names = data.plan.columns if columns is None else tuple(dict.fromkeys(columns))
        self._data, self._places = data, [column_of(data.plan, name) for name in names]
        known_at_ms = data.cut_ms if known_at_ms is None else known_at_ms
        self.rows = np.flatnonzero(_inside(data.t_ms, from_ms, to_ms) & (data.t_ms <= known_at_ms))
        self._captured, self._fraud = data.known_at(known_at_ms)
        self._reported_ms = np.full(len(data.t_ms), -1, np.int64)
        reports = data.reports_at(known_at_ms)
        self._reported_ms[reports[:, 0]] = reports[:, 1]
        self.schema = self._schema(names, known_at_ms)

    def _schema(self, names: Sequence[str], known_at_ms: int) -> pa.Schema:
        plan = self._data.plan
        features = [
            pa.field(
                f"{name}__value" if name in _TAKEN else name,
                pa.float32(),
                metadata={"words": in_words(plan.features[place]), "hash": plan.node_hashes[place]},
            )
            for name, place in zip(names, self._places, strict=True)
        ]
        told = {"plan": plan.hash, "known_at_ms": str(known_at_ms), "currency": self._data.schema.base_currency}
        return pa.schema([*_ABOUT, *features], metadata=told)

    def batches(self, most: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order of decision, at most so many at a time; an unknown feature is NaN."""
        for start in range(0, len(self.rows), most):
            yield self._batch(self.rows[start : start + most])

    def _batch(self, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
        data, ids = self._data, self._data.background.payment_ids
        captured, reported_ms = self._captured[rows], self._reported_ms[rows]
        x = np.asarray(data.x[rows])[:, self._places]
        about: list[Any] = [
            [ids[row] for row in rows.tolist()], data.background.seq[rows], data.t_ms[rows], data.amount_minor[rows],
            captured,
        ]  # fmt: skip
        arrays = [pa.array(values, type=kind) for values, (_, kind) in zip(about, _ABOUT, strict=False)]
        arrays.append(pa.array(self._fraud[rows], mask=~captured))
        arrays.append(pa.array(reported_ms, type=_ABOUT[-1][1], mask=reported_ms < 0))
        arrays += [pa.array(np.ascontiguousarray(column)) for column in x.T]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def column_of(plan: Plan, name: str) -> int:
    """Return a column's place. Raises ``BadInput`` naming those that are like it."""
    if name in plan.columns:
        return plan.columns.index(name)
    near = get_close_matches(name, plan.columns, cutoff=0.5) or plan.columns[:3]
    raise BadInput(
        "no such feature: 'avalist features list' shows them all", field="feature", expected=" or ".join(near),
        got=name[:64],
    )  # fmt: skip


def _inside(t_ms: npt.NDArray[np.int64], from_ms: int | None, to_ms: int | None) -> npt.NDArray[np.bool_]:
    low = -(2**63) if from_ms is None else from_ms
    return (t_ms >= low) & (t_ms < (2**63 - 1 if to_ms is None else to_ms))
