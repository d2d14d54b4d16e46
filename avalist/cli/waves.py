"""``avalist waves``: the waves in a merchant's log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.waves import Wave, watches, waves_of
from avalist.cli.options import Data, Merchant, console, progress_bar
from avalist.cli.reading import open_reading
from avalist.config import settings_from
from avalist.domain.schema import WAVE_SOURCES
from avalist.render.html import page as html_page
from avalist.render.markdown import page as markdown_page
from avalist.render.numbers import at, money
from avalist.render.waves import duration, habits_in_short, waves_page


def waves(
    merchant: Merchant,
    last: Annotated[int, typer.Option(min=1, help="Show so many of the latest")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(help="Write waves.html (with plots) and waves.md, the incident summary, to this folder"),
    ] = None,
    data: Data = None,
) -> None:
    """List the waves in a merchant's log: bursts of payments that share habits, by many accounts.

    It reads the log as the service did, so it finds what each decision was told.
    """
    settings = settings_from(data=data)
    with open_reading(settings, merchant) as archive, progress_bar("reading the log", archive.log_end) as bar:
        schema, found = waves_of(archive.read(merchant=merchant), merchant, bar.at)
        bar.done(archive.log_end)
    if not watches(schema):
        console.print(f"{escape(merchant)}'s schema declares no number such as {WAVE_SOURCES[0]}: nothing is watched")
        return
    shown = found[-last:]
    console.print(_table(merchant, shown, schema.base_currency) if shown else "no wave was found")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        page = waves_page(merchant, shown, schema.base_currency)
        (out / "waves.html").write_text(html_page(page), encoding="utf-8")
        (out / "waves.md").write_text(markdown_page(page), encoding="utf-8")
        console.print(f"wrote [bold]{escape(str(out / 'waves.html'))}[/] and waves.md", soft_wrap=True)


def _table(merchant: str, found: list[Wave], currency: str) -> Table:
    table = Table(title=f"waves of {escape(merchant)} (UTC)", title_justify="left")
    for name in ("wave", "first payment", "lasted", "payments", "amount", "what they share", ""):
        table.add_column(name, justify="right" if name in ("wave", "payments", "amount") else "left", overflow="fold")
    for wave in found:
        what, state = escape(habits_in_short(wave.shared, currency)), "over" if wave.closed else "[bold red]goes on[/]"
        amount = money(wave.amount_minor, currency)
        table.add_row(str(wave.id), at(wave.first_ms), duration(wave), str(wave.count), amount, what, state)
    return table
