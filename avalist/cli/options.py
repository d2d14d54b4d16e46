"""Options that commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Data = Annotated[Path | None, typer.Option("--data", help="Data folder [default: avalist-data, or AVALIST_DATA]")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the service [default: 8321, or AVALIST_PORT]")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration file, TOML [default: AVALIST_CONFIG, or none]")
]
Merchant = Annotated[str, typer.Argument(help="The merchant's id, such as giftshop")]

console = Console()


@contextmanager
def progress_bar(label: str, total: int | None, *, show: bool = True) -> Iterator[Bar]:
    """Show a progress bar, or none; it falls silent where nobody watches."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False, disable=not show) as progress:
        yield Bar(progress, label, total)


class Bar:
    """One bar: ``bar.at(n)`` moves it to `n`, at most every few hundred calls."""

    def __init__(self, progress: Progress, label: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total)
        self._calls = 0

    def at(self, n: int) -> None:
        """Move the bar to `n`; cheap enough for every row."""
        self._calls += 1
        if self._calls % 512 == 1:
            self._progress.update(self._task, completed=n)

    def step(self, n: int) -> None:
        """Move the bar to `n` at once: for steps that take long."""
        self._progress.update(self._task, completed=n)

    def done(self, n: int) -> None:
        """Fill the bar."""
        self._progress.update(self._task, completed=n, total=n)
