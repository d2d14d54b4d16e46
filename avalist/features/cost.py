"""What a column costs: the state that a plan would not keep without it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from avalist.domain.schema import Schema
from avalist.features.arena import TILE
from avalist.features.declare import DISTINCT_CELLS, Feature
from avalist.features.layout import C_LAG, C_STEP, C_WINDOW, L_LENGTH, S_CLOCK
from avalist.features.plan import Plan, compile_plan

_WORD_BYTES = 8


class Cost(NamedTuple):
    """What a column adds to its plan: entities whose keys are kept, `streams` of tiles, `distincts`: sets of values,
    `rings`: each linked key takes about 100 bytes.

    `busy_bytes` is the most that it adds to a busy key; a quiet one keeps its last events instead.
    """

    entities: int
    streams: int
    distincts: int
    rings: int
    busy_bytes: int


def cost_of(schema: Schema, plan: Plan, place: int) -> Cost:
    """Return what the column at a place adds to what the others keep anyway.

    >>> from avalist.domain.schema import DIGITAL_GOODS
    >>> hour = (Feature(name="hour", aggregate="hour"),)
    >>> cost_of(DIGITAL_GOODS, compile_plan(DIGITAL_GOODS, hour), 0)
    Cost(entities=0, streams=0, distincts=0, rings=0, busy_bytes=0)
    """
    without = compile_plan(schema, [_free(f) if n == place else f for n, f in enumerate(plan.features)])
    return Cost(
        len(plan.entities) - len(without.entities),
        len(plan.streams) - len(without.streams),
        len(plan.distincts) - len(without.distincts),
        len(plan.rings) - len(without.rings),
        _busy_bytes(plan) - _busy_bytes(without),
    )


def _free(feature: Feature) -> Feature:
    """Return a column of the same name that keeps nothing: others may name it."""
    return msgspec.convert({"name": feature.name, "aggregate": "hour"}, Feature)


def _busy_bytes(plan: Plan) -> int:
    words = DISTINCT_CELLS * len(plan.distincts) + int((1 + 2 * plan.lists[:, L_LENGTH]).sum())
    for clock in plan.streams[:, S_CLOCK].tolist():
        step, window, lag = (int(plan.clocks[clock, column]) for column in (C_STEP, C_WINDOW, C_LAG))
        tiles = (window + lag) // step + 2
        words += TILE << (tiles - 1).bit_length()
    return words * _WORD_BYTES
