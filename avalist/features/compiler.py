"""What features need of the kernel: each is added to the parts of a plan, and shares what is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.row import MISSING, VALUES, keys_at, row_width
from avalist.domain.schema import Schema
from avalist.features.declare import ALL, Feature
from avalist.features.layout import (
    COPY,
    EMPTY,
    FRAUD_MEAN,
    JOINED,
    LEAST,
    M_OP,
    M_P,
    M_Q,
    MAX_TILES,
    MEAN,
    NEGATED,
    PLACED,
    RATE,
    RATIO,
    SCALE,
    SPEED,
    SQUARE_HIGH,
    SQUARE_LOW,
    WITHIN,
)  # fmt: skip
from avalist.features.tables import UNKNOWN, Node, Parts, Ref, Ring

K = TypeVar("K")

LABELS: Final = ("rate", "captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean")
"""Aggregates of the judged payments: they share a stream."""
SCANNED: Final = ("max", "min", "since_fraud", "since_first_fraud", "clean")
OWNABLE: Final = ("count", "sum", "mean", "max", "min", "variance")
OF_ENTITY: Final = ("known", "since_last", "since_first")
"""In the order of an entity's cells."""
OF_READ: Final = {
    "count": (COPY, 0), "sum": (SCALE, 1), "mean": (MEAN, 0), "max": (SCALE, 2), "rate": (RATE, 0),
    "captured": (COPY, 0), "frauds": (COPY, 1), "fraud_mean": (FRAUD_MEAN, 0), "since_fraud": (COPY, 3),
    "clean": (COPY, 4), "since_first_fraud": (COPY, 5), "min": (LEAST, 2),
}  # fmt: skip
"""What is computed of a read's cells, from which on."""
OF_LIST: Final = {"mean_last": (MEAN, 0), "last": (SCALE, 2), "since_kth": (COPY, 3), "speed": (SPEED, 2)}
"""What is computed of a list's cells, from which on."""
_COUNTS: Final = ("count", "since_kth")
LIMITED: Final = ("count", "sum", "mean", "max", "min", "variance", "share", "last", "since_kth", "mean_last")
"""Aggregates that may leave out events by their amount."""


class Compiler:
    """Collects the parts of one plan."""

    def __init__(self, schema: Schema, features: Sequence[Feature]) -> None:
        self.base = [e.name for e in schema.entities] + [c.name for c in schema.categories]
        self.values = {"amount": 0, **{n.name: i + 1 for i, n in enumerate(schema.numbers)}}
        self.decimals = [0, *(n.decimals for n in schema.numbers)]
        self.parts = Parts(self.base, len(self.values))
        self.column: dict[str, int] = {}
        self.made: list[tuple[int, ...]] = []
        self.links: list[tuple[int, ...]] = []
        self.keys_at, self.width = keys_at(schema), row_width(schema)
        for name in sorted({e for f in features for e in (f.entity, f.of) if e and f.aggregate != "ring"}):
            self._entity(name)

    def rings(self) -> tuple[Ring, ...]:
        """Return what is linked, and the words that tell of it: (place of the word, which of the links)."""
        words = [(self.width + n, made) for n, made in enumerate(self.made) if made[M_OP] == EMPTY]
        return tuple(
            Ring(links, tuple((place, made[M_P]) for place, made in words if made[M_Q] == n))
            for n, links in enumerate(self.links)
        )

    def layout(self) -> list[object]:
        """Return what a plan's hash covers besides definitions."""
        return [self.base, sorted(self.values.items()), self.decimals]

    def _entity(self, name: str) -> int:
        if name not in self.parts.entities:
            for part in name.split("+"):
                if part not in self.base and part != ALL:
                    expected = " or ".join((*self.base, ALL))
                    raise BadInput("no such entity", field="feature.entity", expected=expected, got=part)
            if name.count("+") > 1:
                self.parts.composites[name] = self._composite(name.split("+")) - self.keys_at
        return _place(self.parts.entities, name)

    def _key_place(self, name: str) -> int:
        return self.keys_at + self.base.index(name)

    def _composite(self, parts: Sequence[str]) -> int:
        """Return the place of the key of three fields and more: of two, joined with the next one, and so on."""
        joined = self._key_place(parts[0])
        for part in parts[1:]:
            joined = self._word(JOINED, joined, self._key_place(part))
        return joined

    def _word(self, op: int, a: int, b: int = 0, limits: Sequence[int] = (MISSING, MISSING), p: int = 0, q: int = 0,
              ) -> int:  # fmt: skip
        """Return the place of a word in widened rows."""
        return self.width + _place(self.made, (op, a, b, *limits, p, q))

    def _value(self, name: str) -> int:
        if name not in self.values:
            raise BadInput("no such number", field="feature.field", expected=" or ".join(self.values), got=name)
        return self.values[name]

    def _counted(self, feature: Feature, op: int = WITHIN) -> int:
        """Return the value by which an event counts: a number of the row, or a word made of it; −1: each counts."""
        limits = [MISSING if limit is None else limit for limit in (feature.from_minor, feature.below_minor)]
        if feature.aggregate == "speed":
            north, east = (self._value(name) for name in feature.place or ("", ""))
            decimals = self.decimals[north], self.decimals[east]
            return self._word(PLACED, VALUES + north, VALUES + east, limits, *decimals) - VALUES
        plain = op == WITHIN and limits == [MISSING, MISSING]
        if plain and feature.kinds != 1 and feature.aggregate in _COUNTS:
            return -1
        name = "amount" if feature.aggregate in _COUNTS else feature.field
        value = self._value(name)  # every payment has an amount: counts share the amount's tiles
        return value if plain else self._word(op, VALUES + value, limits=limits) - VALUES

    def _read(self, feature: Feature, op: int = WITHIN) -> int:
        if feature.window_ms + feature.lag_ms > (MAX_TILES - 2) * feature.step_ms:
            most = f"at most {MAX_TILES - 2} steps in window and lag"
            raise BadInput("the step is too short", field=feature.name, expected=most, got=str(feature.step_ms))
        labels = feature.aggregate in LABELS
        value = -1 if labels else self._counted(feature, op)
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

    def _list(self, feature: Feature) -> int:
        clock = _place(self.parts.clocks, (feature.step_ms, feature.window_ms, 0))
        length = 1 if feature.aggregate == "speed" else feature.latest
        row = self._entity(feature.entity), feature.kinds, self._counted(feature), clock, length
        return _place(self.parts.lists, row)

    def _variance(self, feature: Feature) -> int:
        kind = "own" if feature.include_current else "read"
        return _place(
            self.parts.variances,
            tuple((kind, self._read(feature, op)) for op in (WITHIN, SQUARE_HIGH, SQUARE_LOW)),
        )

    def _share(self, feature: Feature) -> Node:
        part = msgspec.structs.replace(feature, aggregate="count")
        whole = msgspec.structs.replace(
            part, entity=feature.of or feature.entity, kinds=feature.among or feature.kinds, from_minor=None,
            below_minor=None,
        )  # fmt: skip
        return Node(RATIO, ("read", self._read(part), 0), ("read", self._read(whole), 0))

    def _ring(self, feature: Feature) -> Node:
        """Return a node that reads the word which the ring of these links fills for the entity's key."""
        for name in (feature.entity, *feature.links):
            if name not in self.base:
                raise BadInput("no such entity", field=feature.name, expected=" or ".join(self.base), got=name)
        keys, key = tuple(map(self._key_place, feature.links)), self._key_place(feature.entity)
        if key not in keys or len(set(keys)) < len(keys):
            raise BadInput("links are different entities, this one among them", field=feature.name, expected="links")
        place = self._word(EMPTY, key, p=keys.index(key), q=_place(self.links, keys))
        if place not in self.parts.told:
            self.parts.told.append(place)
        return Node(COPY, ("told", self.parts.told.index(place), 0))

    def _column(self, name: str, feature: Feature) -> int:
        if name not in self.column:
            raise BadInput("no such column before this one", field=feature.name, expected="an earlier column", got=name)
        return self.column[name]

    def add(self, feature: Feature) -> None:
        """Add a column. Raises ``BadInput`` where it makes no sense."""
        if feature.name in self.column:
            raise BadInput("two columns of one name", field=feature.name, expected="distinct names")
        if feature.include_current and (feature.lag_ms or feature.aggregate not in OWNABLE):
            raise BadInput("no own event here", field=feature.name, expected=f"{', '.join(OWNABLE)} without lag")
        if feature.limited and feature.aggregate not in LIMITED:
            raise BadInput("amounts do not matter here", field=feature.name, expected=" or ".join(LIMITED))
        node = self._node(feature)
        self.column[feature.name] = len(self.parts.nodes)
        self.parts.nodes.append(node)

    def _node(self, feature: Feature) -> Node:
        aggregate = feature.aggregate
        if aggregate in ("hour", "weekday"):
            return Node(COPY, (aggregate, 0, 0))
        if aggregate == "retired":
            return Node(COPY, UNKNOWN)
        if aggregate in OF_ENTITY:
            return Node(COPY, ("entity", self._entity(feature.entity), OF_ENTITY.index(aggregate)))
        if aggregate == "distinct":
            return Node(COPY, ("count", self._count(feature), 0))
        if aggregate == "value":
            return Node(SCALE, ("value", self._value(feature.field), 0), params=self._scale(feature))
        if aggregate == "ratio":
            top, bottom = (self._column(name, feature) for name in feature.over or ("", ""))
            return Node(RATIO, ("column", top, 0), ("column", bottom, 0), level=self._above(top, bottom))
        if aggregate == "share":
            return self._share(feature)
        if aggregate == "ring":
            return self._ring(feature)
        scale = self._scale(feature)
        if aggregate == "variance":
            return Node(SCALE, ("variance", self._variance(feature), 0), params=(scale[0] ** 2, 0.0))
        if aggregate in OF_LIST:
            op, cell = OF_LIST[aggregate]
            return Node(op, ("list", self._list(feature), cell), params=scale)
        op, cell = OF_READ[aggregate]
        made = NEGATED if aggregate == "min" else WITHIN
        a: Ref = ("own" if feature.include_current else "read", self._read(feature, made), cell)
        if aggregate == "rate":
            prior = [self._column(feature.prior, feature)] if feature.prior else []
            b: Ref = ("column", prior[0], 0) if prior else UNKNOWN
            return Node(op, a, b, (feature.strength, 0.01), self._above(*prior))
        return Node(op, a, params=(1.0, 0.0) if aggregate == "fraud_mean" else scale)

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
