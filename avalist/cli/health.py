"""``avalist health``: is a merchant's model still right for its payments?"""

from __future__ import annotations

import tempfile
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.administer import SetAlerts
from avalist.app.dataset import Dataset
from avalist.app.health import Health, check, keep
from avalist.bootstrap import open_documents
from avalist.cli.office import office
from avalist.cli.options import Data, Port, console
from avalist.cli.replayed import replayed as replay_of
from avalist.config import Settings, settings_from

_MOST_ROWS = 8


def health(
    merchants: Annotated[list[str], typer.Argument(metavar="MERCHANT...", help="Ids of merchants")],
    days: Annotated[int, typer.Option(min=1, max=28, help="Compare so many last days with the four weeks before")] = 7,
    record: Annotated[
        bool, typer.Option(help="Log an event where other alerts stand than before, and keep the check for the metrics")
    ] = True,
    data: Data = None,
    port: Port = None,
) -> None:
    """Check merchants: are as many frauds reported as expected by now, have columns moved, are fields missing?

    It reads the log beside a running service, which does the same by itself every few hours. Alerts are events in the
    merchant's log and change no decision.
    """
    settings = settings_from(data=data, port=port)
    for merchant in merchants:
        with tempfile.TemporaryFile() as spill:
            replayed = replay_of(settings, merchant, spill=spill)
        found = check(replayed, merchant, days)
        _show(found)
        if record:
            _record(settings, replayed, found)


def _record(settings: Settings, data: Dataset, found: Health) -> None:
    documents = open_documents(settings)
    keep(documents, found)
    documents.close()
    stood = {(alert.kind, alert.subject) for alert in data.background.alerts}
    if stood != {(alert.kind, alert.subject) for alert in found.alerts}:
        with office(settings) as here:
            here.carry_out(SetAlerts(found.merchant, found.alerts, found.at_ms))
        console.print("logged: the alerts that stand have changed")


def _show(found: Health) -> None:
    console.print(_levels(found))
    console.print(_moved(found))
    changed = [one for one in found.missing if abs(one.now - one.before) >= 0.005]
    for one in sorted(changed, key=lambda one: -abs(one.now - one.before))[:_MOST_ROWS]:
        console.print(f"{escape(one.field)} is missing in {one.now:.1%} of payments, {one.before:.1%} before")
    console.print(
        f"{found.checks} checks of {found.payments:,} payments of the last {found.days} days", highlight=False
    )
    if not found.alerts:
        console.print("[bold green]nothing is wrong[/]")
    for alert in found.alerts:
        console.print(f"[bold red]{alert.kind}[/] {escape(alert.words)}", highlight=False, soft_wrap=True)


def _levels(found: Health) -> Table:
    table = Table(title=f"{escape(found.merchant)}: frauds reported and expected by now", title_justify="left")
    for name in ("of", "payments", "reported", "expected", "ratio", "z"):
        table.add_column(name, justify="left" if name == "of" else "right", overflow="fold")
    for one in found.levels:
        ratio = f"{one.ratio:.2f}" if one.expected else "–"
        figures = f"{one.payments:,}", f"{one.observed:,.0f}", f"{one.expected:,.1f}", ratio, f"{one.z:+.1f}"
        table.add_row(escape(one.subject), *figures)
    return table


def _moved(found: Health) -> Table:
    table = Table(title="columns that moved most", title_justify="left")
    for name in ("column", "what it tells", "stability index", "distance"):
        table.add_column(name, justify="right" if name in ("stability index", "distance") else "left", overflow="fold")
    for one in found.moved[:_MOST_ROWS]:
        table.add_row(escape(one.column), escape(one.words), f"{one.psi:.3f}", f"{one.distance:.3f}")
    return table
