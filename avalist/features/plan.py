"""A definition is data: features compile to a canonical plan, arrays that the one kernel interprets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.errors import BadInput
from avalist.domain.row import keys_at, row_width
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import ALL, Feature

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
K = TypeVar("K", bound=tuple[int, ...])

MAX_TILES: Final = 128
"""Tiles a stream may hold; a window has at most MAX_TILES − 2 steps."""

VALUE, HOUR, WEEKDAY, KNOWN, SINCE_LAST, SINCE_FIRST, COUNT, SUM, MEAN, MAX = range(10)
DISTINCT, RATE, CAPTURED, FRAUDS, RATIO, FRAUD_MEAN, SINCE_FRAUD, CLEAN, FIRST_FRAUD = range(10, 19)
OPS: Final = {
    "value": VALUE, "hour": HOUR, "weekday": WEEKDAY, "known": KNOWN, "since_last": SINCE_LAST,
    "since_first": SINCE_FIRST, "count": COUNT, "sum": SUM, "mean": MEAN, "max": MAX, "distinct": DISTINCT,
    "rate": RATE, "captured": CAPTURED, "frauds": FRAUDS, "ratio": RATIO,
    "fraud_mean": FRAUD_MEAN, "since_fraud": SINCE_FRAUD, "clean": CLEAN,
    "since_first_fraud": FIRST_FRAUD,
}  # fmt: skip

# columns of the entity table
E_FORM, E_A, E_B, E_SALT, E_STREAMS, E_STREAMS_END, E_DISTINCTS, E_DISTINCTS_END = range(8)
E_RECORDS, E_RECORDS_END, E_EVENT, E_DEPTH = range(8, 12)
BASE, PAIR, CONSTANT = range(3)
# columns of the stream table: what is stored; S_CLOCK is the deepest of the windows read from it; S_PLACE is where an
# event that is kept holds the value
S_ENTITY, S_KINDS, S_VALUE, S_CLOCK, S_LABELS, S_READS, S_READS_END, S_PLACE = range(8)
# columns of the table of reads: a window of a stream; R_SCAN: a maximum or a run of frauds is asked, not sums alone
R_STREAM, R_CLOCK, R_SCAN = range(3)
# columns of the clock table: the windows that reads share
C_STEP, C_WINDOW, C_LAG = range(3)
# columns of the distinct table
D_ENTITY, D_OF, D_KINDS, D_WINDOW, D_PLACE = range(5)
# columns of the table of what an entity's events keep besides time and kind: values and keys of other entities
X_ELEMENT, X_INDEX = range(2)
RECORDED: Final = 2
"""Where they begin in an event."""
# columns of the node table
N_OP, N_A, N_B, N_WINDOW, N_STEP, N_OWN = range(6)

LABELS: Final = ("rate", "captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean")
"""Aggregates of the judged payments: they share a stream."""


@dataclass(frozen=True)
class Plan:
    """A compiled plan.

    Attributes
    ----------
    columns
        Feature names in order; ``features.read`` writes float32 [len(columns)].
    hash
        Names the plan: 16 hex digits over schema-dependent layout and definitions.
    node_hashes
        The version of each column.
    """

    features: tuple[Feature, ...]
    columns: tuple[str, ...]
    hash: str
    node_hashes: tuple[str, ...]
    width: int
    keys_at: int
    memory_ms: int
    entity_names: tuple[str, ...]
    entities: I64
    clocks: I64
    streams: I64
    reads: I64
    distincts: I64
    records: I64
    nodes: I64
    params: F64


def compile_plan(schema: Schema, features: Sequence[Feature]) -> Plan:
    """Compile `features` for `schema`.

    Raises
    ------
    BadInput
        For an unknown entity, number or column, or a window with too many steps.
    """
    build = _Builder(schema, features)
    for feature in features:
        build.add(feature)
    canonical = msgspec.json.encode([schema.memory_d, build.layout(), features])
    hashes = tuple(hashlib.blake2b(msgspec.json.encode(f), digest_size=8).hexdigest() for f in features)
    return Plan(
        features=tuple(features),
        columns=tuple(f.name for f in features),
        hash=hashlib.blake2b(canonical, digest_size=8).hexdigest(),
        node_hashes=hashes,
        width=row_width(schema),
        keys_at=keys_at(schema),
        memory_ms=schema.memory_d * DAY_MS,
        **build.tables(),
    )


class _Builder:
    """Collects the tables of one plan."""

    def __init__(self, schema: Schema, features: Sequence[Feature]) -> None:
        self.base = [e.name for e in schema.entities] + [c.name for c in schema.categories]
        self.values = {"amount": 0, **{n.name: i + 1 for i, n in enumerate(schema.numbers)}}
        self.decimals = [0, *(n.decimals for n in schema.numbers)]
        self.entities: list[str] = []
        self.clocks: list[tuple[int, int, int]] = []
        self.streams: list[tuple[int, ...]] = []
        self.reads: list[tuple[int, int]] = []
        self.distincts: list[list[int]] = []
        self.nodes: list[tuple[int, ...]] = []
        self.params: list[tuple[float, float]] = []
        self.column: dict[str, int] = {}
        for name in sorted({e for f in features for e in (f.entity, f.of) if e}):
            self._entity(name)

    def layout(self) -> list[object]:
        return [self.base, sorted(self.values.items()), self.decimals]

    def _entity(self, name: str) -> int:
        if name not in self.entities:
            for part in name.split("+"):
                if part not in self.base and part != ALL:
                    expected = " or ".join((*self.base, ALL))
                    raise BadInput("no such entity", field="feature.entity", expected=expected, got=part)
            self.entities.append(name)
        return self.entities.index(name)

    def _value(self, name: str) -> int:
        if name not in self.values:
            raise BadInput("no such number", field="feature.field", expected=" or ".join(self.values), got=name)
        return self.values[name]

    def _read(self, feature: Feature) -> int:
        if feature.window_ms + feature.lag_ms > (MAX_TILES - 2) * feature.step_ms:
            most = f"at most {MAX_TILES - 2} steps in window and lag"
            raise BadInput("the step is too short", field=feature.name, expected=most, got=str(feature.step_ms))
        labels = feature.aggregate in LABELS
        value = -1 if labels or feature.aggregate == "count" else self._value(feature.field)
        if feature.aggregate == "count" and feature.kinds == 1:
            value = 0  # every payment has an amount: counts share the amount's tiles
        entity, kinds = self._entity(feature.entity), 0 if labels else feature.kinds
        clock = _place(self.clocks, (feature.step_ms, feature.window_ms, feature.lag_ms))
        stream = _place(self.streams, (entity, kinds, value, feature.step_ms, int(labels)))
        return _place(self.reads, (stream, clock))

    def _distinct(self, feature: Feature) -> int:
        entity, of = self._entity(feature.entity), self._entity(feature.of)
        for index, row in enumerate(self.distincts):
            if row[:3] == [entity, of, feature.kinds]:
                row[3] = max(row[3], feature.window_ms + feature.step_ms)
                return index
        self.distincts.append([entity, of, feature.kinds, feature.window_ms + feature.step_ms])
        return len(self.distincts) - 1

    def _of_column(self, name: str, feature: Feature) -> int:
        if name not in self.column:
            raise BadInput("no such column before this one", field=feature.name, expected="an earlier column", got=name)
        return self.column[name]

    def add(self, feature: Feature) -> None:
        if feature.name in self.column:
            raise BadInput("two columns of one name", field=feature.name, expected="distinct names")
        a, b, params = 0, -1, (0.0, 0.0)
        aggregate = feature.aggregate
        if feature.include_current and (feature.lag_ms or aggregate not in ("count", "sum", "mean", "max")):
            raise BadInput("no own event here", field=feature.name, expected="count, sum, mean or max without lag")
        if aggregate in ("count", "sum", "mean", "max", *LABELS):
            a = self._read(feature)
        if aggregate == "value":
            a = self._value(feature.field)
            params = (10.0 ** -self.decimals[a], 0.0)
        elif aggregate in ("sum", "mean", "max"):
            params = (10.0 ** -self.decimals[self._value(feature.field)], 0.0)
        elif aggregate == "fraud_mean":
            params = (1.0, 0.0)
        elif aggregate in ("known", "since_last", "since_first"):
            a = self._entity(feature.entity)
        elif aggregate == "distinct":
            a = self._distinct(feature)
        elif aggregate == "rate":
            b = self._of_column(feature.prior, feature) if feature.prior else -1
            params = (feature.strength, 0.01)
        elif aggregate == "ratio":
            top, bottom = feature.over or ("", "")
            a, b = self._of_column(top, feature), self._of_column(bottom, feature)
        self.column[feature.name] = len(self.nodes)
        self.nodes.append((OPS[aggregate], a, b, feature.window_ms, feature.step_ms, feature.include_current))
        self.params.append(params)

    def tables(self) -> dict[str, Any]:
        """Return the tables, streams and distincts grouped by entity."""
        stream_order = sorted(range(len(self.streams)), key=lambda i: self.streams[i][0])
        read_order = sorted(range(len(self.reads)), key=lambda i: stream_order.index(self.reads[i][0]))
        scanned = {n[1] for n in self.nodes if n[0] in (MAX, SINCE_FRAUD, FIRST_FRAUD, CLEAN)}
        reads = _table([(stream_order.index(self.reads[i][0]), self.reads[i][1], i in scanned) for i in read_order], 3)
        distinct_order = sorted(range(len(self.distincts)), key=lambda i: self.distincts[i][0])
        nodes = [list(n) for n in self.nodes]
        for node in nodes:
            if node[0] in (COUNT, SUM, MEAN, MAX, RATE, CAPTURED, FRAUDS, FRAUD_MEAN, SINCE_FRAUD, FIRST_FRAUD, CLEAN):
                node[1] = read_order.index(node[1])
            elif node[0] == DISTINCT:
                node[1] = distinct_order.index(node[1])
        records = [self._recorded(e) for e in range(len(self.entities))]
        streams = _table([self._stream_row(self.streams[i], n, reads, records) for n, i in enumerate(stream_order)], 8)
        distincts = _table([self._distinct_row(self.distincts[i], records) for i in distinct_order], 5)
        entities = [self._entity_row(i, name, streams, distincts, records) for i, name in enumerate(self.entities)]
        return {
            "entity_names": tuple(self.entities),
            "entities": _table(entities, 12),
            "clocks": _table(self.clocks, 3),
            "streams": streams,
            "reads": reads,
            "distincts": distincts,
            "records": _table([record for kept in records for record in kept], 2),
            "nodes": _table(nodes, 6),
            "params": np.array(self.params, dtype=np.float64).reshape(-1, 2),
        }

    def _recorded(self, e: int) -> list[tuple[int, int]]:
        """Return what a kept event of an entity holds: (0, value), then (1, entity of the key)."""
        values = {
            0 if labels else value for of, _, value, _, labels in self.streams if of == e and (labels or value >= 0)
        }
        return [
            *((0, v) for v in sorted(values)),
            *((1, of) for of in sorted({d[1] for d in self.distincts if d[0] == e})),
        ]

    def _distinct_row(self, distinct: list[int], records: list[list[tuple[int, int]]]) -> tuple[int, ...]:
        return *distinct, RECORDED + records[distinct[0]].index((1, distinct[1]))

    def _depth_ms(self, e: int) -> int:
        """Return the age beyond which no window of the entity sees an event."""
        ages = [sum(self.clocks[c]) for s, c in self.reads if self.streams[s][0] == e]
        return max((*ages, *(d[3] for d in self.distincts if d[0] == e)), default=0)

    def _stream_row(
        self, stream: tuple[int, ...], index: int, reads: I64, records: list[list[tuple[int, int]]]
    ) -> tuple[int, ...]:
        entity, kinds, value, _, labels = stream
        place = RECORDED + records[entity].index((0, 0 if labels else value)) if labels or value >= 0 else -1
        first, last = (int(i) for i in np.searchsorted(reads[:, R_STREAM], [index, index + 1]))
        clocks = (int(clock) for clock in reads[first:last, R_CLOCK])
        deepest = max(clocks, key=lambda c: self.clocks[c][C_WINDOW] + self.clocks[c][C_LAG])
        return entity, kinds, value, deepest, labels, first, last, place

    def _entity_row(
        self, index: int, name: str, streams: I64, distincts: I64, records: list[list[tuple[int, int]]]
    ) -> tuple[int, ...]:
        form, a, b = CONSTANT, 0, 0
        if name != ALL:
            parts = [self.base.index(p) for p in name.split("+")]
            form, a, b = (PAIR, parts[0], parts[1]) if len(parts) == 2 else (BASE, parts[0], 0)
        salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
        first, last = np.searchsorted(streams[:, S_ENTITY], [index, index + 1])
        first_d, last_d = np.searchsorted(distincts[:, D_ENTITY], [index, index + 1])
        before, kept = sum(map(len, records[:index])), len(records[index])
        events = before, before + kept, RECORDED + kept, self._depth_ms(index)
        return form, a, b, salt, int(first), int(last), int(first_d), int(last_d), *events


def _place(rows: list[K], row: K) -> int:
    """Return the row's index, appended if new."""
    if row not in rows:
        rows.append(row)
    return rows.index(row)


def _table(rows: Sequence[Sequence[int]], width: int) -> I64:
    return np.array(rows, dtype=np.int64).reshape(-1, width)
