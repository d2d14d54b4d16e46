"""``avalist health``: is a merchant's model still right for its payments?"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.administer import SetAlerts
from avalist.app.dataset import Dataset
from avalist.app.followed import broken_parity
from avalist.app.health import Health, check, keep
from avalist.app.partition import reason_of
from avalist.bootstrap import open_documents
from avalist.cli.learn import patiently, run_beside, tools_for
from avalist.cli.office import carry_out
from avalist.cli.options import Config, Data, Port, console
from avalist.cli.reading import part_for
from avalist.cli.replayed import replayed as replay_of
from avalist.cli.roles import telling
from avalist.config import Settings, settings_from
from avalist.domain.errors import AvalistError

_MOST_ROWS: Final = 8


def health(
    merchants: Annotated[list[str], typer.Argument(metavar="MERCHANT...", help="Ids of merchants")],
    days: Annotated[int, typer.Option(min=1, max=28, help="Compare so many last days with the four weeks before")] = 7,
    record: Annotated[
        bool, typer.Option(help="Log an event where other alerts stand than before, and keep the check for the metrics")
    ] = True,
    parent: Annotated[int, typer.Option(help="Process that started this one, to end with it")] = 0,
    data: Data = None,
    port: Port = None,
    config: Config = None,
) -> None:
    """Check merchants: are as many frauds reported as expected by now, have columns moved, are fields missing?

    It also tells of broken parity, which the follower finds. It reads the log beside a running service, which does the
    same by itself every few hours. Alerts are events in the merchant's log and change no decision.
    """
    settings = settings_from(file=config, data=data, port=port)
    if parent:
        run_beside(parent)
        if settings.log.startswith("kafka:"):
            _tell(settings, merchants, days)
            return
    for merchant in merchants:
        replayed, found = _checked(settings, merchant, days, show=not parent)
        _show(found)
        if record and _record(settings, replayed, found):
            console.print("logged: the alerts that stand have changed")


def command(where: Sequence[str]) -> list[str]:
    """Return the command that checks merchants for this process, but for their ids; `where` finds the installation."""
    return [sys.executable, "-P", "-m", "avalist", "health", "--parent", str(os.getpid()), *where]


def _tell(settings: Settings, merchants: Sequence[str], days: int) -> None:
    """Check merchants for a trainer, and tell in its log; one that cannot be checked keeps no other back."""
    with telling("trainer") as say:
        for merchant in merchants:
            try:
                replayed, found = _checked(settings, merchant, days, show=False)
                changed = _record(settings, replayed, found)
            except AvalistError as error:
                say.error("cannot check", merchant=merchant, reason=reason_of(error))
            else:
                say.info("checked", merchant=merchant, alerts=len(found.alerts), changed=changed)


def _checked(settings: Settings, merchant: str, days: int, *, show: bool) -> tuple[Dataset, Health]:
    with tempfile.TemporaryFile() as spill:
        replayed = replay_of(settings, merchant, spill=spill, show=show)
    with closing(open_documents(settings)) as documents:
        broken = broken_parity(documents, merchant, part_for(settings, merchant))
    return replayed, check(replayed, merchant, days, broken=broken)


def _record(settings: Settings, data: Dataset, found: Health) -> bool:
    """Keep a check, and have the alerts logged where others stand than before; tell whether they do."""
    stood = {(alert.kind, alert.subject) for alert in data.background.alerts}
    changed = stood != {(alert.kind, alert.subject) for alert in found.alerts}
    with tools_for(settings, found.merchant, partial(carry_out, settings)) as tools:
        keep(tools.documents, found)
        if changed:
            patiently(tools.carry_out, SetAlerts(found.merchant, found.alerts, found.at_ms))
    return changed


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
