"""``avalist generations``: the log as it counts, and as it was before more history was merged in."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from avalist.adapters.file.generations import Generations
from avalist.adapters.file.lock import lock_folder
from avalist.cli.options import Data, console
from avalist.config import settings_from
from avalist.domain.errors import NotFound


def generations(
    drop: Annotated[int | None, typer.Option(help="Remove this earlier generation for good")] = None,
    data: Data = None,
) -> None:
    """List the generations of the log, or remove one: 'avalist import --rebuild' makes a new one and keeps the old.

    An earlier generation is needed for nothing but to go back to it. Stop the service before you remove one.
    """
    settings = settings_from(data=data)
    found = Generations(settings.data)
    if not found.kept():
        raise NotFound(f"there is no log in {settings.data} yet")
    if drop is not None:
        with lock_folder(settings.data):
            found.drop(drop)
        console.print(f"removed generation {drop}")
    table = Table("generation", "log", "MB", "")
    for number in found.kept():
        log = found.home(number) / "log"
        size = sum(file.stat().st_size for file in log.iterdir())
        table.add_row(str(number), str(log), f"{size / 1e6:,.1f}", "counts" if number == found.current else "")
    console.print(table)
