"""A definition is data: features compile to a canonical plan, arrays that the one kernel interprets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from avalist.domain.row import keys_at, row_width
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.compiler import Compiler
from avalist.features.declare import Feature
from avalist.features.layout import F64, I64, MADE_WIDTH
from avalist.features.tables import Ring, lay_out, pack


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
    made
        The words that rows are widened by: :mod:`avalist.features.widen`.
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
    lists: I64
    variances: I64
    told: I64
    stages: I64
    handed: I64
    made: I64
    rings: tuple[Ring, ...]
    params: F64
    cells: int
    kept: int
    canonical: I64
    code: I64

    @property
    def live(self) -> tuple[str, ...]:
        """Return the columns' names in order, nothing for one that is retired."""
        return tuple("" if feature.aggregate == "retired" else feature.name for feature in self.features)


def compile_plan(schema: Schema, features: Sequence[Feature]) -> Plan:
    """Compile `features` for `schema`.

    Raises
    ------
    BadInput
        For an unknown entity, number or column, or a window with too many steps.
    """
    build = Compiler(schema, features)
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
        made=np.array(build.made, dtype=np.int64).reshape(-1, MADE_WIDTH),
        rings=build.rings(),
        code=pack([keys_at(schema), memory_ms, tables["cells"], tables["kept"]], tables),
        **tables,
    )
