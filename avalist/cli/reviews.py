"""``avalist reviews``: the payments that a person is to look at, and what was decided of them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.administer import SettleReview
from avalist.app.reviews import Queued, queue
from avalist.bootstrap import open_documents
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.cli.policy import changes_of
from avalist.config import settings_from
from avalist.domain.events import Verdict, from_ms
from avalist.render.numbers import money, percent

app = typer.Typer(help="Payments that a person is to look at.", no_args_is_help=True)


@app.command("list")
def list_reviews(
    merchant: Merchant,
    last: Annotated[int, typer.Option("--most", min=1, help="Show so many")] = 20,
    data: Data = None,
) -> None:
    """List the open reviews, the one that a look is worth most first. It only reads.

    Those beyond the day's capacity are left to their default.
    """
    settings = settings_from(data=data)
    review = changes_of(settings, merchant)[-1].policy.review
    documents = open_documents(settings)
    found = queue(documents, merchant, SystemClock().now_ms(), review.capacity_per_day if review else None)
    documents.close()
    if not found.reviews:
        console.print("nothing waits for a review")
    else:
        console.print(_table(merchant, found.reviews[:last]))
    most = "" if found.capacity_per_day is None else f" of {found.capacity_per_day}"
    console.print(f"in the last 24 hours: {found.settled}{most} settled, {found.lapsed} left to their default")


@app.command()
def settle(
    merchant: Merchant,
    payment: Annotated[str, typer.Argument(help="The payment's id")],
    verdict: Annotated[Verdict, typer.Argument(help="What to do with it")],
    by: Annotated[str, typer.Option(help="Who says so")] = "",
    data: Data = None,
    port: Port = None,
) -> None:
    """Settle a review: the verdict is logged as an event. It says nothing of fraud; send a label for that."""
    with office(settings_from(data=data, port=port)) as here:
        here.carry_out(SettleReview(merchant, payment, verdict, by))
    console.print(f"payment [bold]{escape(payment)}[/] is settled: {verdict}", highlight=False)


def _table(merchant: str, shown: tuple[Queued, ...]) -> Table:
    table = Table(title=f"reviews of {escape(merchant)} (UTC)", title_justify="left")
    for name in ("payment", "amount", "fraud", "a look is worth", "until", "else", "why"):
        table.add_column(name, justify="right" if name in ("amount", "fraud", "a look is worth") else "left")
    for listed in shown:
        one = listed.review
        until = "–" if one.deadline_ms is None else f"{from_ms(one.deadline_ms):%m-%d %H:%M}"
        why = ", ".join(reason.feature for reason in one.reasons[:2])
        table.add_row(
            escape(one.payment_id),
            money(one.amount_minor, one.currency),
            "–" if one.p_fraud is None else percent(one.p_fraud),
            money(one.value_minor, one.currency),
            until,
            one.default or "–",
            "beyond capacity" if listed.state == "beyond_capacity" else why,
        )
    return table
