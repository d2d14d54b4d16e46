"""The default plan: a merchant lists columns, not features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avalist.domain.records import FoldKind
from avalist.domain.schema import DAY_MS, PATTERN_SOURCES, Schema
from avalist.features.declare import (
    ACTIVITY,
    ALL,
    LAGGED_STEPS,
    STEPS,
    Aggregate,
    Feature,
    lagged,
    ratio,
    window_name,
    windowed,
)

HOUR_MS = 3_600_000
PRIOR_PAYMENTS = 1.0
"""Weight of the merchant's own rate in an entity's lagged fraud rate, in payments: an entity may be seen once a day."""
MERCHANT_PRIOR_PAYMENTS = 20.0
"""Weight of the usual rate in the merchant's own."""
MOST_DETAILED = 4
"""The first entities that a schema lists are identities: they get every column, later ones those that matter most."""
_SHARED = 7
"""Windows at most so many times the shortest of their group move in the longest's steps: one stream serves them."""
_MOST_PAIRS = 6
_BROUGHT = ("method.fingerprint", "device.id", "ip", "ip24", "email", "receiver")
"""Sources of what an account brings along: how much of its life has it had this one?"""
_USUAL = ("product", "pattern.device", "bin")
"""Sources whose values an account comes back to, besides its things."""
_PLACES = ("payee.", "custom.")
"""Where many pay: a shop, a terminal. What else a schema declares is the payer's own."""
_PACE = (
    "session.duration_ms", "session.key_presses", "session.typing.hold_ms", "session.typing.flight_ms",
    "session.touch.hold_ms", "session.pointer.speed",
)  # fmt: skip
"""Numbers in which people are like themselves from visit to visit."""


def derive(schema: Schema) -> tuple[Feature, ...]:
    """Return the default columns of a schema, in a fixed order.

    For every entity: velocity, first and last seen, spend against its own history, lagged fraud rate and what came
    after the last fraud, in more detail for the first ones, and of those where many pay how large frauds were; for
    pairs of entities: whether they have met; distinct counts across entities; for categories: frequency and lagged
    fraud rate; for the account: its usual goods and machine, and this session against its own.
    """
    return tuple(_columns(schema))


def _columns(schema: Schema) -> Iterator[Feature]:
    yield Feature(name="amount", aggregate="value")
    for number in schema.numbers:
        yield Feature(name=number.name, aggregate="value", field=number.name)
    yield Feature(name="hour", aggregate="hour")
    yield Feature(name="weekday", aggregate="weekday")
    yield from _merchant(schema)
    for place, entity in enumerate(schema.entities):
        if entity.source in PATTERN_SOURCES:
            yield from _pattern(schema, entity.name)
            continue
        detailed = place < MOST_DETAILED
        yield from _velocity(schema, entity.name)
        yield from _spend(schema, entity.name, detailed=detailed)
        yield from _fraud(schema, entity.name, _rate_days(schema) if detailed else _rate_days(schema)[-3:])
        yield from _frauds_times(schema, entity.name, detailed=detailed)
        if detailed and entity.source.startswith(_PLACES):
            yield from _frauds_size(schema, entity.name)
    for category in schema.categories:
        yield windowed(category.name, "count", DAY_MS)
        yield windowed(category.name, "mean", 30 * DAY_MS)
        yield from _fraud(schema, category.name, _rate_days(schema)[-3:])
    for a, b in default_pairs(schema):
        yield Feature(name=f"{a}+{b}__known", aggregate="known", entity=f"{a}+{b}")
        yield Feature(name=f"{a}+{b}__since_first", aggregate="since_first", entity=f"{a}+{b}")
        together = windowed(f"{a}+{b}", "count", 30 * DAY_MS)
        yield together
        yield from _familiarity(schema, a, b, together)
    yield from _habits(schema)
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
    steps = _label_steps(schema)
    for days in _rate_days(schema):
        yield lagged(ALL, "rate", days * DAY_MS, _lag_ms(schema), strength=MERCHANT_PRIOR_PAYMENTS, step_ms=steps[days])


def _velocity(schema: Schema, entity: str) -> Iterator[Feature]:
    yield Feature(name=f"{entity}__known", aggregate="known", entity=entity)
    yield Feature(name=f"{entity}__since_last", aggregate="since_last", entity=entity)
    yield Feature(name=f"{entity}__since_first", aggregate="since_first", entity=entity)
    counts = [_over(schema, entity, "count", window) for window in _windows_ms(schema)[:-1]]
    yield from counts
    yield ratio(f"{entity}__count__short_over_long", counts[-3:][0].name, counts[-1].name)


def _pattern(schema: Schema, entity: str) -> Iterator[Feature]:
    """Yield velocity, how many accounts share it, and what became of it: amounts and attempts say little of a shape."""
    yield Feature(name=f"{entity}__known", aggregate="known", entity=entity)
    yield Feature(name=f"{entity}__since_last", aggregate="since_last", entity=entity)
    counts = [_over(schema, entity, "count", window) for window in _windows_ms(schema)[:-1]]
    yield from counts
    yield ratio(f"{entity}__count__short_over_long", counts[-3:][0].name, counts[-1].name)
    first = schema.entities[0].name
    if entity != first and (entity, first) not in default_distinct(schema):
        yield windowed(entity, "distinct", DAY_MS, of=first)
    yield from _fraud(schema, entity, _rate_days(schema)[-3:])


def _familiarity(schema: Schema, a: str, b: str, together: Feature) -> Iterator[Feature]:
    """Yield the share of an entity's own recent payments that were made with this other one."""
    if schema.entities[0].name == a and together.window_ms in _windows_ms(schema)[:-1]:
        yield ratio(f"{a}+{b}__share__30d", together.name, _over(schema, a, "count", together.window_ms).name)


def _habits(schema: Schema) -> Iterator[Feature]:
    """Yield how much a payment and its session are as the account's own before, most of it known from its second visit
    on. What is seconds old on an account of years was brought by somebody else, or by a new owner.
    """
    account = schema.entities[0]
    if account.source != "customer.id":
        return
    longest, paired = _windows_ms(schema)[-1], default_pairs(schema)
    seen = f"{account.name}__since_first"
    for age in (n.name for n in schema.numbers if n.source == "account_age_s"):
        yield ratio(f"{account.name}__since_first_over_age", seen, age)
    for other in (e.name for e in schema.entities if e.source in _BROUGHT and (account.name, e.name) in paired):
        both = f"{account.name}+{other}__since_first"
        yield ratio(f"{both}_over_account", both, seen)
    usual = [e.name for e in schema.entities if e.source in _USUAL and (account.name, e.name) not in paired]
    for other in usual:
        both = f"{account.name}+{other}"
        yield Feature(name=f"{both}__known", aggregate="known", entity=both)
        together = windowed(both, "count", 30 * DAY_MS)
        yield together
        yield from _familiarity(schema, account.name, other, together)
    for number in schema.numbers:
        if number.source in _PACE:
            own = _over(schema, account.name, "mean", longest, field=number.name)
            yield own
            yield ratio(f"{account.name}__{number.name}_over_mean", number.name, own.name)


def _spend(schema: Schema, entity: str, *, detailed: bool) -> Iterator[Feature]:
    """Yield this amount, and the recent ones with it, against the entity's own past."""
    *_, short, middle, longest = _windows_ms(schema)
    mean, recent = _over(schema, entity, "mean", longest), _over(schema, entity, "mean", short, own=True)
    yield mean
    yield ratio(f"{entity}__amount_over_mean", "amount", mean.name)
    yield recent
    yield ratio(f"{entity}__mean__short_over_long", recent.name, mean.name)
    if not detailed:
        return
    highest, ever = _over(schema, entity, "max", short, own=True), _over(schema, entity, "max", longest, own=True)
    yield highest
    yield ratio(f"{entity}__max_over_mean", highest.name, mean.name)
    yield ever
    yield ratio(f"{entity}__amount_over_max", "amount", ever.name)
    nearer = _over(schema, entity, "mean", middle)
    yield nearer
    yield ratio(f"{entity}__amount_over_mean_{window_name(middle)}", "amount", nearer.name)
    yield _over(schema, entity, "max", middle, own=True)


def _fraud(schema: Schema, entity: str, windows_d: Sequence[int]) -> Iterator[Feature]:
    lag, steps = _lag_ms(schema), _label_steps(schema)
    for days in windows_d:
        prior = lagged(ALL, "rate", days * DAY_MS, lag).name
        yield lagged(entity, "rate", days * DAY_MS, lag, prior=prior, strength=PRIOR_PAYMENTS, step_ms=steps[days])


def _frauds_times(schema: Schema, entity: str, *, detailed: bool) -> Iterator[Feature]:
    """When the frauds known so far happened, and what came after them: is it going on?"""
    steps = _label_steps(schema)
    for days in _rate_days(schema)[-2:-1]:
        aggregates: tuple[Aggregate, ...] = ("since_first_fraud", "clean", "since_fraud") if detailed else ("clean",)
        for aggregate in aggregates:
            yield lagged(entity, aggregate, days * DAY_MS, _lag_ms(schema), step_ms=steps[days])


def _frauds_size(schema: Schema, entity: str) -> Iterator[Feature]:
    """Yield how large its known frauds were: usual amounts where it is tapped itself, others where thieves pay."""
    steps, usual = _label_steps(schema), _over(schema, entity, "mean", _windows_ms(schema)[-1])
    for days in _rate_days(schema)[-2:-1]:
        size = lagged(entity, "fraud_mean", days * DAY_MS, _lag_ms(schema), step_ms=steps[days])
        yield size
        yield ratio(f"{entity}__mean_over_fraud_mean", usual.name, size.name)
        yield ratio(f"{entity}__amount_over_fraud_mean", "amount", size.name)


def _over(
    schema: Schema, entity: str, aggregate: Aggregate, window_ms: int, *, own: bool = False, field: str = "amount"
) -> Feature:
    step_ms = max(_grouped(_windows_ms(schema))[window_ms] // STEPS, 1)
    more = {"include_current": True} if own else {}
    return windowed(entity, aggregate, window_ms, step_ms=step_ms, field=field, **more)


def _windows_ms(schema: Schema) -> list[int]:
    return [w * 1000 for w in schema.windows_s]


def _rate_days(schema: Schema) -> list[int]:
    return sorted(schema.rate_windows_d)


def _lag_ms(schema: Schema) -> int:
    return round(schema.label_delay_d * DAY_MS)


def _label_steps(schema: Schema) -> dict[int, int]:
    """Return the step of each rate window, by its days: up to a week they share one, beyond none does."""
    days = _rate_days(schema)
    week = max((d for d in days if d <= _SHARED), default=0)
    lag = _lag_ms(schema)
    return {d: max((max(d, week if d <= _SHARED else 0) * DAY_MS + lag) // LAGGED_STEPS, 1) for d in days}


def _grouped(windows: Sequence[int]) -> dict[int, int]:
    """Return for each window the longest of its group; `windows` ascend.

    >>> _grouped([1, 6, 24, 168, 720])
    {1: 6, 6: 6, 24: 168, 168: 168, 720: 720}
    """
    groups: list[list[int]] = []
    for window in windows:
        if groups and window <= _SHARED * groups[-1][0]:
            groups[-1].append(window)
        else:
            groups.append([window])
    return {window: group[-1] for group in groups for window in group}


def _attempts(schema: Schema) -> Iterator[Feature]:
    """Failed attempts: issuer declines expose card testing, failed logins expose stuffing."""
    for place, entity in enumerate(schema.entities):
        if entity.source in PATTERN_SOURCES:
            continue
        for window in (HOUR_MS, DAY_MS) if place < MOST_DETAILED else (DAY_MS,):
            yield windowed(entity.name, "count", window, kinds=1 << FoldKind.AUTH_DECLINED)
    for entity in schema.entities:
        if entity.source in ("customer.id", "device.id", "ip", "ip24"):
            yield windowed(entity.name, "count", DAY_MS, kinds=1 << FoldKind.LOGIN_FAILED)


def default_pairs(schema: Schema) -> tuple[tuple[str, str], ...]:
    """Return the declared pairs, or the first entity with each of the next ones that are things, not patterns."""
    if schema.pairs is not None:
        return schema.pairs
    names = [e.name for e in schema.entities if e.source not in PATTERN_SOURCES]
    if not names:
        return ()
    return tuple((names[0], other) for other in names[1 : 1 + _MOST_PAIRS])


def default_distinct(schema: Schema) -> tuple[tuple[str, str], ...]:
    """Return the declared (per, of), or both directions between the first entity and each of the next ones."""
    if schema.distinct is not None:
        return schema.distinct
    return tuple(way for a, b in default_pairs(schema) for way in ((a, b), (b, a)))
