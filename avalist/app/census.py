"""What a merchant's log holds, before any model: period, money, entities and gaps, labels, prevalence over time."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import APPROVED, DECLINED, Dataset
from avalist.app.train import delay_at
from avalist.domain.schema import DAY_MS
from avalist.models.delay import LEAST_REPORTED, ReportDelay
from avalist.models.metrics import Interval

MATURE: Final = 0.8
"""A period is mature when so much of its fraud is expected to be reported."""
_MOST_BUCKETS: Final = 80
_STEPS_D: Final = (1, 7, 14, 28, 91, 364)
_FEWEST_DAYS: Final = 42


class Money(msgspec.Struct, frozen=True):
    """Payments in one currency and their sum in its minor units."""

    currency: str
    payments: int
    minor: int


class Entity(msgspec.Struct, frozen=True):
    """An entity or category: different values, share of payments without one, payments per value (median), share seen
    once.
    """

    name: str
    source: str
    values: int
    missing: float
    typical_payments: float
    once: float


class Number(msgspec.Struct, frozen=True):
    """A declared number: share missing, its median, 1st and 99th percentile."""

    name: str
    source: str
    missing: float
    median: float
    low: float
    high: float


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A period from `start_ms`: captured payments and frauds reported by the end of the log, with their money in base
    minor units.

    `reported` is the share of its fraud that the delay law expects to be reported by then; `corrected` the fraud rate
    by count divided by that, NaN where too little is.
    """

    start_ms: int
    payments: int
    frauds: int
    minor: int
    fraud_minor: int
    reported: float
    corrected: float

    @property
    def mature(self) -> bool:
        """Return whether most of its fraud is known."""
        return self.reported >= MATURE


class ReportTimes(msgspec.Struct, frozen=True):
    """How long fraud reports take, in days: median and 95th percentile, from so many reports of known time."""

    reports: int
    median_d: Interval
    p95_d: Interval


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds. Times in ms since 1970; `cut_ms` is the last thing logged.

    Of payments: `captured`; `issuer_declined`; `approved_only`, approved by the issuer and never captured; `silent`,
    neither captured nor answered. `outcomes` are later events by type. `empty_days` had no payment; `longest_gap_d` is
    the longest time without one. `delay_d` is the declared law of report delays; `delay` what the log's own reports
    say of it.
    """

    payments: int
    first_ms: int
    last_ms: int
    cut_ms: int
    base_currency: str
    money: tuple[Money, ...]
    captured: int
    issuer_declined: int
    approved_only: int
    silent: int
    frauds: int
    fraud_minor: int
    captured_minor: int
    outcomes: dict[str, int]
    entities: tuple[Entity, ...]
    categories: tuple[Entity, ...]
    numbers: tuple[Number, ...]
    empty_days: int
    longest_gap_d: float
    delay_d: tuple[float, float]
    delay: ReportTimes
    label_delay_d: float
    capture: str
    bucket_d: int
    buckets: tuple[Bucket, ...]


def census(data: Dataset) -> Census:
    """Count what a replayed log holds; it must hold a payment."""
    schema, back, t_ms = data.schema, data.background, data.t_ms
    captured, fraud = data.known_at(data.cut_ms)
    days = np.unique(t_ms // DAY_MS)
    step_d, delay = bucket_days(t_ms), delay_at(data, data.cut_ms)
    declared = [(d.name, d.source) for d in schema.entities] + [(d.name, d.source) for d in schema.categories]
    entities = [_entity(*names, back.keys[:, i]) for i, names in enumerate(declared)]
    return Census(
        payments=len(t_ms),
        first_ms=int(t_ms[0]),
        last_ms=int(t_ms[-1]),
        cut_ms=data.cut_ms,
        base_currency=schema.base_currency,
        money=tuple(Money(code, count, minor) for code, (count, minor) in sorted(back.currencies.items())),
        captured=int(captured.sum()),
        issuer_declined=int((~captured & (back.issuer == DECLINED)).sum()),
        approved_only=int((~captured & (back.issuer == APPROVED)).sum()),
        silent=int((~captured & (back.issuer == 0)).sum()),
        frauds=int((captured & fraud).sum()),
        fraud_minor=int(data.amount_minor[captured & fraud].sum()),
        captured_minor=int(data.amount_minor[captured].sum()),
        outcomes=dict(sorted(back.outcomes.items())),
        entities=tuple(entities[: len(schema.entities)]),
        categories=tuple(entities[len(schema.entities) :]),
        numbers=tuple(_number(d.name, d.source, data.x[:, data.plan.columns.index(d.name)]) for d in schema.numbers),
        empty_days=int(days[-1] - days[0] + 1 - len(days)),
        longest_gap_d=float(np.diff(t_ms).max(initial=0)) / DAY_MS,
        delay_d=schema.report_delay_d,
        delay=report_times(delay),
        label_delay_d=schema.label_delay_d,
        capture=schema.capture,
        bucket_d=step_d,
        buckets=buckets(data, delay, captured, fraud, step_d),
    )


def bucket_days(t_ms: npt.NDArray[np.int64]) -> int:
    """Return the length of a period: a day where the history is short, else weeks or more, eighty periods at most."""
    span_d = (int(t_ms[-1]) - int(t_ms[0])) / DAY_MS
    if span_d <= _FEWEST_DAYS:
        return 1
    return next((step for step in _STEPS_D[1:] if span_d <= step * _MOST_BUCKETS), _STEPS_D[-1])


def report_times(delay: ReportDelay) -> ReportTimes:
    """Return an estimated delay law in figures."""
    return ReportTimes(delay.reports, Interval(*delay.quantile_d(0.5)), Interval(*delay.quantile_d(0.95)))


def buckets(
    data: Dataset, delay: ReportDelay, captured: npt.NDArray[np.bool_], fraud: npt.NDArray[np.bool_], step_d: int
) -> tuple[Bucket, ...]:
    """Return captured payments and known frauds by period."""
    place = (data.t_ms - data.t_ms[0] // DAY_MS * DAY_MS) // (step_d * DAY_MS)
    size, amount, bad = int(place[-1]) + 1, data.amount_minor.astype(np.float64), captured & fraud
    age_d = (data.cut_ms - data.t_ms) / DAY_MS
    reported = delay.reported_by(age_d)

    def per(rows: npt.NDArray[np.bool_], values: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
        return np.bincount(place[rows], None if values is None else values[rows], size).astype(np.float64)

    payments, frauds, minor, fraud_minor = per(captured), per(bad), per(captured, amount), per(bad, amount)
    share = per(captured, reported) / np.maximum(payments, 1.0)
    corrected = np.where(share >= LEAST_REPORTED, frauds / np.maximum(payments * share, 1e-9), np.nan)
    start_ms = int(data.t_ms[0]) // DAY_MS * DAY_MS
    return tuple(
        Bucket(
            start_ms=start_ms + k * step_d * DAY_MS,
            payments=int(payments[k]),
            frauds=int(frauds[k]),
            minor=int(minor[k]),
            fraud_minor=int(fraud_minor[k]),
            reported=float(share[k]),
            corrected=float(corrected[k]),
        )
        for k in range(size)
    )


def _entity(name: str, source: str, keys: npt.NDArray[np.int64]) -> Entity:
    known = keys[keys != 0]
    _, counts = np.unique(known, return_counts=True)
    missing = 1.0 - len(known) / len(keys)
    if not len(counts):
        return Entity(name, source, 0, missing, 0.0, 0.0)
    return Entity(name, source, len(counts), missing, float(np.median(counts)), float(np.mean(counts == 1)))


def _number(name: str, source: str, column: npt.NDArray[np.float32]) -> Number:
    known = column[~np.isnan(column)]
    low, median, high = np.quantile(known, [0.01, 0.5, 0.99]).tolist() if len(known) else (np.nan,) * 3
    return Number(name, source, 1.0 - len(known) / len(column), median, low, high)
