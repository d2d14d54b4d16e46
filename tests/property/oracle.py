"""The feature contract (architecture §4) by brute force: every column from the plain rows before the decision."""

import math
from collections.abc import Sequence

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, OCCURRED, VALUES, T, keys_at
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import RUN_GAP, Feature
from avalist.features.elementary import distance_km

Row = Sequence[int]
NAN = math.nan


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


def place_of(schema: Schema, row: Row, feature: Feature) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, as far as the state keeps them."""
    numbers, found = {n.name: (VALUES + 1 + i, n.decimals) for i, n in enumerate(schema.numbers)}, []
    for name, most in zip(feature.place or (), (90, 180), strict=True):
        at, decimals = numbers[name]
        if row[at] == MISSING or abs(row[at]) > most * 10**decimals:
            return None
        found.append(row[at] * 10 ** (5 - decimals) / 1e5)
    return found[0], found[1]


def latest(schema: Schema, f: Feature, inside: list[Row], now: Row, at: int, scale: float) -> float:
    """What the latest events tell: by time, those of one time by seq, which `inside` is in."""
    if f.aggregate == "speed":
        met = sorted((r for r in inside if place_of(schema, r, f)), key=lambda r: r[T])
        here = place_of(schema, now, f)
        there = place_of(schema, met[-1], f) if met else None
        took_s = (now[AT] - met[-1][T]) / 1000 if met else NAN
        return distance_km(*there, *here) / (max(took_s, 60.0) / 3600.0) if here and there else NAN
    valued = f.aggregate != "since_kth" or f.kinds == 1
    last = sorted((r for r in inside if not valued or r[at] != MISSING), key=lambda r: r[T])[-f.latest :]
    if f.aggregate == "mean_last":
        return float(sum(r[at] for r in last)) / len(last) * scale if last else NAN
    if len(last) < f.latest:
        return NAN
    return last[0][at] * scale if f.aggregate == "last" else (now[AT] - last[0][T]) / 1000


def evaluate(schema: Schema, features: Sequence[Feature], rows: Sequence[Row], d: int) -> list[float]:
    """The columns at decision `d`, in float64 and in the order of operations that the docs give."""
    now, t, fields = rows[d], rows[d][AT], ["amount", *(n.name for n in schema.numbers)]
    decimals, values = [0, *(n.decimals for n in schema.numbers)], dict[str, float]()
    named = {f.entity for f in features if f.entity} | {f.of for f in features if f.aggregate == "share" and f.of}
    keys = {e: key_of(schema, now, e) for e in named}
    lives = {e: lifetime(schema, rows[:d], e, key, t) if key is not None else [] for e, key in keys.items()}
    for f in features:
        at, life, step = VALUES + fields.index(f.field), lives.get(f.entity, []), f.step_ms or 1
        scale = 10.0 ** -decimals[fields.index(f.field)]
        low, high = ((t - f.lag_ms - back) // step * step for back in (f.window_ms, 0))
        own = f.include_current and keys[f.entity] is not None and f.kinds >> now[KIND] & 1 and f.counts(now[VALUES])
        if own and low <= now[T] and (f.aggregate == "count" or now[at] != MISSING):
            life = [*life, now]
        judged = inside = [r for r in life if low <= r[T] and (f.lag_ms == 0 or r[T] < high)]
        n, frauds = (float(sum(r[column] for r in judged)) for column in (CAPTURED_DELTA, FRAUD_DELTA))
        stolen, steps = float(sum(r[VALUES] * r[FRAUD_DELTA] for r in judged)), {r[T] // step for r in judged}
        steps = {s for s in steps if sum(r[FRAUD_DELTA] for r in judged if r[T] // step == s) > 0}
        first = bad = max(steps, default=NAN)
        for s in sorted(steps, reverse=True):
            first = s if first - s <= f.window_ms // (RUN_GAP * step) else first
        clean = float(sum(r[CAPTURED_DELTA] for r in judged if not r[T] // step <= bad))
        inside = [r for r in inside if f.kinds >> r[KIND] & 1 and f.counts(r[VALUES])]
        whole = [r for r in lives.get(f.of or f.entity, []) if low <= r[T] and (f.among or f.kinds) >> r[KIND] & 1]
        x, prior = [r[at] for r in inside if r[at] != MISSING], values.get(f.prior, NAN)
        prior = prior if prior >= 0 else 0.01
        top, bottom = (values[name] for name in f.over) if f.over else (NAN, NAN)
        last_kind = FoldKind.PAYMENT if f.aggregate == "since_last" else FoldKind.SESSION
        since = (max if f.aggregate == "since_last" else min)((r[T] for r in life if r[KIND] <= last_kind), default=NAN)
        met = {key_of(schema, r, f.of) for r in inside} - {None} if f.of else set()
        values[f.name] = {
            "value": now[at] * scale if now[at] != MISSING else NAN, "hour": now[OCCURRED] % DAY_MS / 3_600_000.0,
            "weekday": (now[OCCURRED] // DAY_MS + 3) % 7.0, "ratio": top / bottom if bottom else NAN,
            "known": 0.0 if keys.get(f.entity) is None else 2.0 if life else 1.0,
        }.get(f.aggregate, NAN if not life else {
            "since_last": (t - since) / 1000, "since_first": (t - since) / 1000,
            "count": float(len(inside)), "distinct": float(len(met)), "captured": n, "frauds": frauds, "clean": clean,
            "sum": sum(x) * scale, "max": max(x) * scale if x else NAN,
            "mean": float(sum(x)) / len(x) * scale if x else NAN, "min": min(x) * scale if x else NAN,
            "variance": float(len(x) * sum(v * v for v in x) - sum(x) ** 2) / float(len(x) ** 2) * scale**2
            if x else NAN, "share": len(inside) / len(whole) if whole else NAN,
            **({f.aggregate: latest(schema, f, inside, now, at, scale)} if f.latest or f.place else {}),
            "rate": (frauds + f.strength * prior) / (n + f.strength) if n + f.strength else NAN,
            "fraud_mean": stolen / frauds if frauds > 0 else NAN, "since_fraud": (t - bad * step) / 1000,
            "since_first_fraud": (t - first * step) / 1000,
        }.get(f.aggregate, NAN))  # fmt: skip
    return [values[f.name] for f in features]
