"""The frontier as a page: what a merchant may choose between."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.solve import Frontier
from avalist.policy.budgets import Expected, held
from avalist.policy.economics import PRESETS
from avalist.render.blocks import Chart, Mark, Page, Pair, Series, Table, Text
from avalist.render.numbers import count, money, percent

_BPS = 1e-4


def frontier_page(made: Frontier, merchant: str, currency: str) -> Page:
    """Return the page of a merchant's frontier: two plots and a table."""
    marked = {"now": made.now, **made.presets}
    profit = _plot(
        "Expected profit",
        f"profit in {currency}",
        "money",
        made,
        {n: e.profit_minor for n, e in marked.items()},
        currency,
    )
    rates = _plot(
        "Chargebacks among what is approved, by value", "share of the approved money", "percent", made,
        {n: e.value_bps * _BPS for n, e in marked.items()}, currency,
    )  # fmt: skip
    lead = (
        "Along the curve a chargeback is made dearer and dearer, from what it costs by itself on: fewer payments are "
        "approved, and fewer chargebacks come. Every point is what the model expects of the same payments."
    )
    return Page(
        f"What {merchant} may choose between",
        f"{count(made.payments)} payments of {made.days:.0f} days",
        (Text(lead, "lead"), *(Text(words, "warning") for words in not_held(made)), Pair(profit, rates),
         _table(made, marked, currency)),
    )  # fmt: skip


def not_held(made: Frontier) -> Iterator[str]:
    """Yield a sentence on each preset whose budget cannot be held."""
    for name, found in made.presets.items():
        if not held(PRESETS[name], found.count_bps, found.value_bps):
            yield (
                f"{name} cannot hold its {PRESETS[name].value_bps:g} bps on these payments: that much fraud looks like "
                f"honest payments. It comes to {found.count_bps:.1f} by count and {found.value_bps:.1f} by value."
            )


def _plot(title: str, y_label: str, y_format: str, made: Frontier, marks: dict[str, float], currency: str) -> Chart:
    curve = sorted(made.curve, key=lambda e: e.approval_rate)
    ys = tuple(e.profit_minor if y_format == "money" else e.value_bps * _BPS for e in curve)
    places = {"now": made.now, **made.presets}
    return Chart(
        title=title,
        x_label="payments not declined",
        y_label=y_label,
        x_format="percent",
        y_format="money" if y_format == "money" else "percent",
        currency=currency,
        series=(Series(name="dearer chargebacks", x=tuple(e.approval_rate for e in curve), y=ys),),
        marks=tuple(Mark(places[name].approval_rate, y, name) for name, y in marks.items()),
        zero=False,
    )


def _table(made: Frontier, marked: dict[str, Expected], currency: str) -> Table:
    rows = {"approve all": made.approve_all, **marked}
    return Table(
        ("policy", "not declined", "chargebacks by count", "by value", "expected profit"),
        tuple(
            (name, percent(e.approval_rate), percent(e.count_bps * _BPS), percent(e.value_bps * _BPS),
             money(e.profit_minor, currency))
            for name, e in rows.items()
        ),
    )  # fmt: skip
