"""The feature contract (architecture §4) by brute force: which earlier rows a column is made of, and what it makes."""

import math
from collections.abc import Sequence

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND, MISSING, VALUES, T, keys_at
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import Feature

from .oracle_aggregates import Row, Seen, aggregate


def key_of(schema: Schema, row: Row, entity: str) -> tuple[int, ...] | None:
    names = [d.name for d in schema.entities] + [d.name for d in schema.categories]
    parts = tuple(row[keys_at(schema) + names.index(p)] for p in entity.split("+") if p != "merchant")
    return None if 0 in parts else parts


def lifetime(schema: Schema, earlier: Sequence[Row], entity: str, key: tuple[int, ...], at: int) -> list[Row]:
    """The events of a key since it was last (re)born; none when it is unseen at `at`."""
    events: list[Row] = []
    last, memory = -math.inf, schema.memory_d * DAY_MS
    for row in earlier:
        if key_of(schema, row, entity) == key and row[KIND] != FoldKind.READ_ONLY and row[AT] - row[T] <= memory:
            events = events if row[AT] - last <= memory else []
            if row[KIND] <= FoldKind.SESSION:
                last = max(last, row[T]) if events else row[T]
            elif not events:
                continue
            events.append(row)
    return events if at - last <= memory else []


def evaluate(schema: Schema, features: Sequence[Feature], rows: Sequence[Row], d: int) -> list[float]:
    """The columns at decision `d`, in float64 and in the order of operations that the docs give."""
    now, t, values = rows[d], rows[d][AT], dict[str, float]()
    fields = {"amount": (VALUES, 0), **{n.name: (VALUES + 1 + i, n.decimals) for i, n in enumerate(schema.numbers)}}
    named = {f.entity for f in features if f.entity} | {f.of for f in features if f.aggregate == "share" and f.of}
    keys = {e: key_of(schema, now, e) for e in named}
    lives = {e: lifetime(schema, rows[:d], e, key, t) if key is not None else [] for e, key in keys.items()}
    for f in features:
        (at, decimals), life, step = fields[f.field], lives.get(f.entity, []), f.step_ms or 1
        low, high = ((t - f.lag_ms - back) // step * step for back in (f.window_ms, 0))
        own = f.include_current and keys[f.entity] is not None and f.kinds >> now[KIND] & 1 and f.counts(now[VALUES])
        if own and low <= now[T] and (f.aggregate == "count" or now[at] != MISSING):
            life = [*life, now]
        window = [r for r in life if low <= r[T] and (f.lag_ms == 0 or r[T] < high)]
        inside = [r for r in window if f.kinds >> r[KIND] & 1 and f.counts(r[VALUES])]
        whole = [r for r in lives.get(f.of or f.entity, []) if low <= r[T] and (f.among or f.kinds) >> r[KIND] & 1]
        met = {key_of(schema, r, f.of) for r in inside} - {None} if f.of else set()
        known = 0.0 if keys.get(f.entity) is None else 2.0 if life else 1.0
        seen = Seen(schema, f, now, at, 10.0**-decimals, life, window, inside, len(whole), len(met), known)
        values[f.name] = aggregate(seen, values)
    return [values[f.name] for f in features]
