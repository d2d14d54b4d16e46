"""A definition is data: features compile to a canonical plan, arrays that the one kernel interprets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.row import keys_at, row_width
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import ALL, Feature
from avalist.features.layout import COPY, F64, FRAUD_MEAN, I64, MAX_TILES, MEAN, RATE, RATIO, SCALE
from avalist.features.tables import UNKNOWN, Node, Parts, Ref, lay_out, pack

K = TypeVar("K")

LABELS: Final = ("rate", "captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean")
"""Aggregates of the judged payments: they share a stream."""
SCANNED: Final = ("max", "since_fraud", "since_first_fraud", "clean")
OWNABLE: Final = ("count", "sum", "mean", "max")
OF_ENTITY: Final = ("known", "since_last", "since_first")
"""In the order of an entity's cells."""
OF_READ: Final = {
    "count": (COPY, 0), "sum": (SCALE, 1), "mean": (MEAN, 0), "max": (SCALE, 2), "rate": (RATE, 0),
    "captured": (COPY, 0), "frauds": (COPY, 1), "fraud_mean": (FRAUD_MEAN, 0), "since_fraud": (COPY, 3),
    "clean": (COPY, 4), "since_first_fraud": (COPY, 5),
}  # fmt: skip
"""What is computed of a read's cells, from which on."""


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
    canonical
        The streams in the order of a digest: it must outlive the order in which the kernel likes them.
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
    feeds: I64
    streams: I64
    reads: I64
    distincts: I64
    counts: I64
    records: I64
    nodes: I64
    runs: I64
    params: F64
    cells: int
    canonical: I64
    code: I64


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
    tables, memory_ms = lay_out(build.parts), schema.memory_d * DAY_MS
    return Plan(
        features=tuple(features),
        columns=tuple(f.name for f in features),
        hash=hashlib.blake2b(canonical, digest_size=8).hexdigest(),
        node_hashes=hashes,
        width=row_width(schema),
        keys_at=keys_at(schema),
        memory_ms=memory_ms,
        code=pack([keys_at(schema), memory_ms], tables),
        **tables,
    )


class _Builder:
    """Collects the parts of one plan."""

    def __init__(self, schema: Schema, features: Sequence[Feature]) -> None:
        self.base = [e.name for e in schema.entities] + [c.name for c in schema.categories]
        self.values = {"amount": 0, **{n.name: i + 1 for i, n in enumerate(schema.numbers)}}
        self.decimals = [0, *(n.decimals for n in schema.numbers)]
        self.parts = Parts(self.base, len(self.values))
        self.column: dict[str, int] = {}
        for name in sorted({e for f in features for e in (f.entity, f.of) if e}):
            self._entity(name)

    def layout(self) -> list[object]:
        return [self.base, sorted(self.values.items()), self.decimals]

    def _entity(self, name: str) -> int:
        if name not in self.parts.entities:
            for part in name.split("+"):
                if part not in self.base and part != ALL:
                    expected = " or ".join((*self.base, ALL))
                    raise BadInput("no such entity", field="feature.entity", expected=expected, got=part)
        return _place(self.parts.entities, name)

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
        clock = _place(self.parts.clocks, (feature.step_ms, feature.window_ms, feature.lag_ms))
        stream = _place(self.parts.streams, (entity, int(labels), kinds, value, feature.step_ms))
        read = _place(self.parts.reads, (stream, clock))
        if feature.aggregate in SCANNED:
            self.parts.scanned.add(read)
        if feature.include_current:
            self.parts.owned.add(read)
        return read

    def _count(self, feature: Feature) -> int:
        entity, of = self._entity(feature.entity), self._entity(feature.of)
        deepest, key = feature.window_ms + feature.step_ms, [entity, of, feature.kinds]
        keys = [row[:3] for row in self.parts.distincts]
        if key not in keys:
            self.parts.distincts.append([*key, deepest])
            keys.append(key)
        distinct = keys.index(key)
        self.parts.distincts[distinct][3] = max(self.parts.distincts[distinct][3], deepest)
        return _place(self.parts.counts, (distinct, feature.window_ms, feature.step_ms))

    def _column(self, name: str, feature: Feature) -> int:
        if name not in self.column:
            raise BadInput("no such column before this one", field=feature.name, expected="an earlier column", got=name)
        return self.column[name]

    def add(self, feature: Feature) -> None:
        if feature.name in self.column:
            raise BadInput("two columns of one name", field=feature.name, expected="distinct names")
        if feature.include_current and (feature.lag_ms or feature.aggregate not in OWNABLE):
            raise BadInput("no own event here", field=feature.name, expected="count, sum, mean or max without lag")
        node = self._node(feature)
        self.column[feature.name] = len(self.parts.nodes)
        self.parts.nodes.append(node)

    def _node(self, feature: Feature) -> Node:
        aggregate = feature.aggregate
        if aggregate in ("hour", "weekday"):
            return Node(COPY, (aggregate, 0, 0))
        if aggregate in OF_ENTITY:
            return Node(COPY, ("entity", self._entity(feature.entity), OF_ENTITY.index(aggregate)))
        if aggregate == "distinct":
            return Node(COPY, ("count", self._count(feature), 0))
        if aggregate == "value":
            return Node(SCALE, ("value", self._value(feature.field), 0), params=self._scale(feature))
        if aggregate == "ratio":
            top, bottom = (self._column(name, feature) for name in feature.over or ("", ""))
            return Node(RATIO, ("column", top, 0), ("column", bottom, 0), level=self._above(top, bottom))
        op, cell = OF_READ[aggregate]
        a: Ref = ("own" if feature.include_current else "read", self._read(feature), cell)
        if aggregate == "rate":
            prior = [self._column(feature.prior, feature)] if feature.prior else []
            b: Ref = ("column", prior[0], 0) if prior else UNKNOWN
            return Node(op, a, b, (feature.strength, 0.01), self._above(*prior))
        params = (1.0, 0.0) if aggregate == "fraud_mean" else self._scale(feature)
        return Node(op, a, params=params)

    def _scale(self, feature: Feature) -> tuple[float, float]:
        if feature.field not in self.values:
            return 1.0, 0.0
        return 10.0 ** -self.decimals[self.values[feature.field]], 0.0

    def _above(self, *columns: int) -> int:
        return max((self.parts.nodes[column].level + 1 for column in columns), default=0)


def _place(rows: list[K], row: K) -> int:
    """Return the row's index, appended if new."""
    if row not in rows:
        rows.append(row)
    return rows.index(row)
