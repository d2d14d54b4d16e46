"""What decisions spent, in tables: beside budgets, month by month of exploration, by card scheme."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.spent import Ledger, SchemeSpent, Spent
from avalist.render.blocks import Block, Heading, Table, Text
from avalist.render.numbers import NOTHING, between, count, money

_BY = {"count": "by count", "value": "by value"}


def spent(made: Ledger | None, currency: str) -> Iterator[Block]:
    """Yield the section; nothing where nothing was decided and no scheme is known."""
    tables = tuple(tables_of(made, currency)) if made else ()
    if not tables:
        return
    yield Heading("What decisions have spent")
    yield Text(
        "Fraud chargebacks of payments that were taken, in basis points. By now: what was reported when the log ended. "
        "In the end: that and what is expected still to come, with its 90 % interval."
    )
    yield from tables


def tables_of(made: Ledger, currency: str) -> Iterator[Table]:
    """Yield the tables that have rows."""
    if made.spent:
        rows = tuple((_BY[by], *_rate(one), _bps(one.budget)) for by, one in made.spent.items())
        caption = f"Approved payments of the last {made.days:.0f} days, against the budgets"
        yield Table(("bps", "by now", "in the end", "90 % interval", "budget"), rows, caption)
    if made.explored:
        yield _explored(made, currency)
    if made.schemes:
        head = ("scheme", "payments", "by count: by now", "in the end", "by value: by now", "in the end")
        caption = f"By card scheme: captured payments of the last {made.days:.0f} days, bps"
        yield Table(head, tuple(_scheme(one) for one in made.schemes), caption)
        watched = ("scheme", "cases", "bps of sales", "its programme", "from cases", "and bps on", "")
        caption = "What each scheme's programme counts of the last 30 days, and where it takes a merchant for excessive"
        yield Table(watched, tuple(_monitored(one) for one in made.schemes), caption)


def _explored(made: Ledger, currency: str) -> Table:
    head = ("month", "released", "taken", "reported", "cost by now", "in the end", "90 % interval", "budget")
    rows = (
        (one.month, count(one.released), count(one.taken), count(one.reported), money(one.matured_minor, currency),
         money(one.projected_minor.value, currency), between(one.projected_minor, "money", currency),
         money(one.budget_minor, currency))
        for one in made.explored
    )  # fmt: skip
    return Table(head, tuple(rows), "Exploration: what releasing cost more than declining, against its money budget")


def _scheme(one: SchemeSpent) -> tuple[str, ...]:
    rates = (cell for spent in (one.count, one.value) for cell in (_bps(spent.matured), _ends(spent)))
    return one.scheme, count(one.payments), *rates


def _monitored(one: SchemeSpent) -> tuple[str, ...]:
    found, limit = (one.scheme, count(one.cases), _bps(one.cases_bps)), one.monitor
    if limit is None:
        return (*found, NOTHING, NOTHING, NOTHING, "")
    return (*found, limit.programme, count(limit.cases), _bps(limit.bps), "EXCESSIVE" if one.excessive else "below")


def _rate(one: Spent) -> tuple[str, str, str]:
    return _bps(one.matured), _bps(one.projected.value), _interval(one)


def _ends(one: Spent) -> str:
    return f"{_bps(one.projected.value)} ({_interval(one)})"


def _interval(one: Spent) -> str:
    """Return the ends; nothing where they are one, for only one day could be drawn."""
    low, high = _bps(one.projected.low), _bps(one.projected.high)
    return f"{low} to {high}" if low != high else NOTHING


def _bps(value: float | None) -> str:
    return NOTHING if value is None or value != value else f"{value:.1f}"
