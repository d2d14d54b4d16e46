"""The default plan: a merchant lists columns, not features."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.domain.records import FoldKind
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import ACTIVITY, ALL, Feature, lagged, ratio, windowed

HOUR_MS = 3_600_000
PRIOR_PAYMENTS = 20.0
"""Weight of the merchant's own rate in an entity's lagged fraud rate, in payments."""
_MOST_PAIRS = 6


def derive(schema: Schema) -> tuple[Feature, ...]:
    """Return the default columns of a schema, in a fixed order.

    For every entity: velocity, spend against its own history, first and last seen, lagged fraud rate; for pairs of entities: whether
    they have met; distinct counts across entities; for categories: frequency and lagged fraud rate.
    """
    return tuple(_columns(schema))


def _columns(schema: Schema) -> Iterator[Feature]:
    yield Feature(name="amount", aggregate="value")
    for number in schema.numbers:
        yield Feature(name=number.name, aggregate="value", field=number.name)
    yield Feature(name="hour", aggregate="hour")
    yield Feature(name="weekday", aggregate="weekday")
    yield from _merchant(schema)
    for entity in schema.entities:
        yield from _behaviour(schema, entity.name)
        yield from _fraud(schema, entity.name)
    for category in schema.categories:
        yield windowed(category.name, "count", DAY_MS)
        yield windowed(category.name, "mean", 30 * DAY_MS)
        yield from _fraud(schema, category.name)
    for a, b in default_pairs(schema):
        yield Feature(name=f"{a}+{b}__known", aggregate="known", entity=f"{a}+{b}")
        yield Feature(name=f"{a}+{b}__since_first", aggregate="since_first", entity=f"{a}+{b}")
        yield windowed(f"{a}+{b}", "count", 30 * DAY_MS)
    for per, of in default_distinct(schema):
        yield windowed(per, "distinct", DAY_MS, of=of, kinds=ACTIVITY)
        yield windowed(per, "distinct", 30 * DAY_MS, of=of, kinds=ACTIVITY)
    if schema.capture == "explicit":
        yield from _attempts(schema)


def _merchant(schema: Schema) -> Iterator[Feature]:
    yield windowed(ALL, "count", HOUR_MS)
    yield windowed(ALL, "count", 7 * DAY_MS)
    yield ratio(
        "merchant__count__1h_over_7d", windowed(ALL, "count", HOUR_MS).name, windowed(ALL, "count", 7 * DAY_MS).name
    )
    for days in schema.rate_windows_d:
        yield lagged(ALL, "rate", days * DAY_MS, round(schema.label_delay_d * DAY_MS), strength=PRIOR_PAYMENTS)


def _behaviour(schema: Schema, entity: str) -> Iterator[Feature]:
    windows = [w * 1000 for w in schema.windows_s]
    longest = windows[-1]
    yield Feature(name=f"{entity}__known", aggregate="known", entity=entity)
    yield Feature(name=f"{entity}__since_last", aggregate="since_last", entity=entity)
    yield Feature(name=f"{entity}__since_first", aggregate="since_first", entity=entity)
    for window in windows:
        yield windowed(entity, "count", window)
    for window in windows[-3::2]:
        yield windowed(entity, "sum", window)
    yield windowed(entity, "mean", longest)
    yield windowed(entity, "max", longest)
    for aggregate in ("mean", "max"):
        name = f"{entity}__amount_over_{aggregate}"
        yield ratio(name, "amount", windowed(entity, aggregate, longest).name)  # type: ignore[arg-type]
    short, long = (windowed(entity, "count", w).name for w in (windows[-3], longest))
    yield ratio(f"{entity}__count__short_over_long", short, long)


def _fraud(schema: Schema, entity: str) -> Iterator[Feature]:
    lag = round(schema.label_delay_d * DAY_MS)
    for days in schema.rate_windows_d:
        prior = lagged(ALL, "rate", days * DAY_MS, lag).name
        yield lagged(entity, "rate", days * DAY_MS, lag, prior=prior, strength=PRIOR_PAYMENTS)


def _attempts(schema: Schema) -> Iterator[Feature]:
    """Failed attempts: issuer declines expose card testing, failed logins expose stuffing."""
    for entity in schema.entities:
        for window in (HOUR_MS, DAY_MS):
            yield windowed(entity.name, "count", window, kinds=1 << FoldKind.AUTH_DECLINED)
    for entity in schema.entities:
        if entity.source in ("customer.id", "device.id", "ip", "ip24"):
            yield windowed(entity.name, "count", DAY_MS, kinds=1 << FoldKind.LOGIN_FAILED)


def default_pairs(schema: Schema) -> tuple[tuple[str, str], ...]:
    """Return the declared pairs, or the first entity with each of the next ones."""
    if schema.pairs is not None:
        return schema.pairs
    names = [e.name for e in schema.entities]
    return tuple((names[0], other) for other in names[1 : 1 + _MOST_PAIRS])


def default_distinct(schema: Schema) -> tuple[tuple[str, str], ...]:
    """Return the declared (per, of), or both directions between the first entity and each of the next ones."""
    if schema.distinct is not None:
        return schema.distinct
    return tuple(way for a, b in default_pairs(schema) for way in ((a, b), (b, a)))
