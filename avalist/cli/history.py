"""``avalist import`` and ``avalist simulate``: a merchant's past, real or imagined."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from avalist.app.administer import CreateMerchant
from avalist.app.history import Mapping, Reader, decode_mapping
from avalist.bootstrap import Installation, build
from avalist.cli.options import Bar, Data, Merchant, console, progress_bar
from avalist.config import settings_from
from avalist.domain.errors import BadInput

_SYNC_EVERY = 20_000
_SLICE = 50_000


def import_file(
    merchant: Merchant,
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, one payment a row", exists=True, dir_okay=False)],
    mapping: Annotated[
        Path, typer.Option(help="Which columns mean what (TOML); see docs/how-to/import.md", exists=True)
    ],
    until: Annotated[dt.datetime | None, typer.Option(help="Leave out what was known at this time or later")] = None,
    data: Data = None,
) -> None:
    """Import history before a merchant's first live event; creates the merchant from the mapping if need be.

    Events go in by the time they were known: a payment at its time, a label at its report time.
    """
    settings = settings_from(data=data)
    plan = decode_mapping(mapping.read_text())
    with build(settings) as installation:
        if merchant not in installation.writer.merchants:
            installation.administration.carry_out(CreateMerchant(merchant, plan.merchant_schema()), 0)
        frame = read_frame(file, plan)
        with progress_bar(f"importing {file.name}", frame.height) as bar:
            events, payments = import_frame(installation, merchant, frame, plan, bar, until)
    console.print(f"imported {payments:,} payments and {events - payments:,} outcomes of [bold]{merchant}[/]")
    console.print(f"next: [bold]avalist train {merchant}[/]")


def import_frame(
    installation: Installation,
    merchant: str,
    frame: pl.DataFrame,
    mapping: Mapping,
    bar: Bar,
    until: dt.datetime | None = None,
) -> tuple[int, int]:
    """Record a frame's events in known-time order; return how many events and payments."""
    writer = installation.writer
    reader = Reader(mapping, writer.merchant(merchant).schema, installation.secrets.merchant(merchant))
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    events = payments = 0
    for event in reader.events(_rows(frame), until):
        writer.record(merchant, event, 0)
        events += 1
        payments += event.type == "payment"
        bar.at(payments)
        if events % _SYNC_EVERY == 0:
            installation.log.sync()
    installation.log.sync()
    writer.merchant(merchant).settle()
    bar.done(payments)
    return events, payments


def read_frame(file: Path, mapping: Mapping) -> pl.DataFrame:
    """Read a file sorted by time. Raises ``BadInput`` for another kind of file or a column that is not there."""
    if file.suffix == ".parquet":
        frame = pl.read_parquet(file)
    elif file.suffix == ".csv":
        frame = pl.read_csv(file, infer_schema_length=10_000, try_parse_dates=True)
    else:
        raise BadInput("not a file that can be imported", field="file", expected=".csv or .parquet", got=file.name)
    if mapping.occurred_at not in frame.columns:
        expected = ", ".join(frame.columns[:40])
        raise BadInput("the file has no such column", field="occurred_at", expected=expected, got=mapping.occurred_at)
    return frame.sort(mapping.occurred_at, maintain_order=True)


def _rows(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for part in frame.iter_slices(_SLICE):
        yield from part.iter_rows(named=True)
