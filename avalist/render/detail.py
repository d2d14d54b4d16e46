"""What the data are: rows, money, entities and gaps, what was assumed, prevalence over time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from avalist.app.census import Bucket, Census
from avalist.app.report import FitReport
from avalist.render.blocks import Block, Chart, Heading, Listing, Pair, Series, Table, Text
from avalist.render.numbers import count, day, measured, money, number, percent

_STEPS = {1: "day", 7: "week", 14: "two weeks", 28: "four weeks", 91: "quarter", 364: "year"}


def detail(report: FitReport) -> Iterator[Block]:
    """Yield the blocks that describe the data."""
    counted = report.census
    yield Heading("What the data are")
    yield Table(("", ""), tuple(_rows(report)))
    yield Table(
        ("money in", "payments", "sum"),
        tuple((m.currency, count(m.payments), money(m.minor, m.currency)) for m in counted.money),
    )
    yield _entities(counted)
    if counted.numbers:
        yield _numbers(counted)
    yield Heading("What was assumed")
    yield Listing(tuple(_assumed(report)))
    if counted.buckets:
        yield Heading("Fraud over time")
        yield from _over_time(counted)


def _rows(report: FitReport) -> Iterator[tuple[str, str]]:
    c = report.census
    yield "payments", count(c.payments)
    if report.rejected is not None:
        yield "rows that could not be read", count(report.rejected)
    yield "first and last", f"{day(c.first_ms)} to {day(c.last_ms)}"
    yield (
        "days without a payment; longest time without one",
        f"{count(c.empty_days)}; {measured(c.longest_gap_d * 86_400, 'seconds', '')}",
    )
    yield "captured (money was taken)", f"{count(c.captured)}, {money(c.captured_minor, c.base_currency)}"
    yield "declined by the issuer", count(c.issuer_declined)
    yield "approved by the issuer, never captured", count(c.approved_only)
    yield "neither captured nor answered by an issuer", count(c.silent)
    rate = c.frauds / max(c.captured, 1)
    yield (
        "reported as fraud, of those captured",
        f"{count(c.frauds)} ({percent(rate)}), {money(c.fraud_minor, c.base_currency)}",
    )
    for name, events in c.outcomes.items():
        yield f"events: {name.replace('_', ' ')}", count(events)
    yield "last thing known", day(c.cut_ms)


def _entities(c: Census) -> Table:
    rows = [
        (
            name.name,
            kind,
            name.source,
            count(name.values),
            percent(name.missing),
            number(name.typical_payments),
            percent(name.once),
        )
        for kind, declared in (("entity", c.entities), ("category", c.categories))
        for name in declared
    ]
    head = ("followed", "as", "read from", "different", "missing", "payments each (median)", "seen once")
    return Table(head, tuple(rows), text_columns=3)


def _numbers(c: Census) -> Table:
    rows = tuple(
        (n.name, n.source, percent(n.missing), number(n.low), number(n.median), number(n.high)) for n in c.numbers
    )
    return Table(("number", "read from", "missing", "1 % below", "median", "1 % above"), rows, text_columns=2)


def _assumed(report: FitReport) -> Iterator[str]:
    c, policy = report.census, report.policy
    yield from report.assumed
    median, p95 = c.delay_d
    if median == p95:
        yield f"A fraud is reported {number(median)} days after the payment (declared)."
    else:
        yield (
            f"Half of all frauds are reported within {number(median)} days and 95 % within {number(p95)} (declared, "
            f"lognormal)."
        )
    yield _estimated(c)
    if labels := c.outcomes.get("label", 0):
        yield (
            f"{count(labels)} labels came without a report of their own. Where they were imported as yes or no, the "
            f"time of "
            "the report was drawn from that law."
        )
    if c.capture == "assumed":
        yield "A payment counts as captured unless the data say otherwise."
    yield (
        f"Economics: margin {percent(policy.margin)} of the amount, "
        f"{money(policy.chargeback_cost_minor, c.base_currency)} cost "
        f"of a chargeback beyond the goods, {money(policy.lifetime_value_minor, c.base_currency)} lost when an "
        f"honest customer "
        f"is declined, {percent(policy.dispute_share)} of fraud reports become chargebacks. Change them with "
        "'avalist policy set' and make the report again."
    )


def _estimated(c: Census) -> str:
    times = c.delay
    if not times.reports:
        return "No report's own time is known, so that law was not corrected by the data."
    return (
        f"{count(times.reports)} reports of known time correct it: half are in within "
        f"{number(times.median_d.value)} days ({number(times.median_d.low)} to {number(times.median_d.high)}), 95 % "
        f"within {number(times.p95_d.value)} ({number(times.p95_d.low)} to {number(times.p95_d.high)}). Reports still "
        "to come are allowed for."
    )


def _over_time(c: Census) -> Iterator[Block]:
    step = _STEPS.get(c.bucket_d, f"{c.bucket_d} days")
    rates, immature = (_rate(c, value=False), _rate(c, value=True)), [b for b in c.buckets if not b.mature]
    yield Pair(*rates)
    if immature:
        yield Text(
            f"Shaded: from {day(immature[0].start_ms)} on fewer than 80 % of frauds are expected to be reported, so "
            f"the "
            "rates as reported are too low. The dashed line corrects for that by the delay law.",
            "small",
        )
    rows = tuple(_bucket(c, bucket) for bucket in c.buckets)
    head = (f"{step} from", "payments", "reported frauds", "by count", "by value", "expected to be reported")
    yield Table(head, rows[-12:], f"The last {min(len(rows), 12)} periods of {len(rows)}")


def _bucket(c: Census, b: Bucket) -> tuple[str, ...]:
    by_count, by_value = b.frauds / max(b.payments, 1), b.fraud_minor / max(b.minor, 1)
    mark = "" if b.mature else " (immature)"
    return (
        day(b.start_ms),
        count(b.payments),
        count(b.frauds),
        percent(by_count),
        percent(by_value),
        percent(b.reported) + mark,
    )


def _rate(c: Census, *, value: bool) -> Chart:
    xs = tuple(float(b.start_ms) for b in c.buckets)
    ys = tuple(_share(b.fraud_minor, b.minor) if value else _share(b.frauds, b.payments) for b in c.buckets)
    immature = next((b.start_ms for b in c.buckets if not b.mature), None)
    step = _STEPS.get(c.bucket_d, f"{c.bucket_d} days")
    series = [Series(name="reported", x=xs, y=ys)]
    if immature is not None:
        corrected = tuple(
            y / b.reported if b.reported >= 0.2 and not b.mature else math.nan
            for y, b in zip(ys, c.buckets, strict=True)
        )
        series.append(Series(name="corrected", x=xs, y=corrected, style="dashed", colour=2))
    return Chart(
        title="Fraud rate by value" if value else "Fraud rate by count",
        x_label=f"{step} from (UTC)",
        y_label="share of the money taken" if value else "share of payments",
        series=tuple(series),
        x_format="date",
        y_format="percent",
        shade=None if immature is None else (float(immature), xs[-1] + c.bucket_d * 86_400_000.0, "immature"),
    )


def _share(top: int, bottom: int) -> float:
    return top / bottom if bottom else math.nan
