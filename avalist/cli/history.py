"""``avalist import`` and ``avalist simulate``: a merchant's past, real or imagined."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, get_args

import msgspec
import typer

from avalist.app.administer import CreateMerchant
from avalist.app.history import Mapping, Reader, decode_mapping
from avalist.bootstrap import Installation, build
from avalist.cli.options import Bar, Data, Merchant, console, progress_bar
from avalist.config import settings_from
from avalist.domain.errors import BadInput, ClockWentBack, Conflict
from avalist.domain.events import WireEvent, from_ms
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.simulator import World, history
from avalist.simulator.config import Vertical

if TYPE_CHECKING:
    import polars as pl

_SYNC_EVERY = 20_000
_SLICE = 50_000


def import_file(
    merchant: Merchant,
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, one payment a row", exists=True, dir_okay=False)],
    mapping: Annotated[
        Path, typer.Option(help="Which columns mean what (TOML); see docs/how-to/import.md", exists=True)
    ],
    until: Annotated[
        dt.datetime | None, typer.Option(help="Leave out what was known at this time or later [default: now]")
    ] = None,
    data: Data = None,
) -> None:
    """Import history before a merchant's first live event; creates the merchant from the mapping if need be.

    Events go in by the time they were known: a payment at its time, a label at its report time.
    """
    plan = decode_mapping(mapping.read_text())
    frame = read_frame(file, plan)
    with build(settings_from(data=data)) as here:
        _create(here, merchant, plan.merchant_schema())
        until = until or from_ms(here.clock.now_ms())
        with progress_bar(f"importing {file.name}", frame.height) as bar:
            try:
                events, payments = import_frame(here, merchant, frame, plan, bar, until)
            except ClockWentBack as error:
                raise BadInput(
                    f"{merchant}'s log reaches beyond this file's beginning: was it imported before, in part perhaps? "
                    "History goes in once, before all else: use another merchant id or data folder",
                    field="occurred_at",
                    expected=error.expected,
                    got=error.got,
                ) from None
    console.print(f"imported {payments:,} payments and {events - payments:,} outcomes of [bold]{merchant}[/]")
    console.print(f"next: [bold]avalist train {merchant}[/], [bold]avalist merchant key {merchant}[/], avalist up")


def _create(here: Installation, merchant: str, schema: Schema) -> None:
    """Create a merchant unless it exists with this very schema. Raises ``Conflict`` if it has another."""
    known = here.writer.merchants.get(merchant)
    if known is None:
        here.administration.carry_out(CreateMerchant(merchant, schema), 0)
        console.print(f"created [bold]{merchant}[/] with the mapping's schema")
    elif known.schema != schema:
        raise Conflict(f"merchant {merchant!r} has another schema than this mapping: use another merchant id")


def import_frame(
    installation: Installation,
    merchant: str,
    frame: pl.DataFrame,
    mapping: Mapping,
    bar: Bar,
    until: dt.datetime | None = None,
) -> tuple[int, int]:
    """Record a frame's events in known-time order; return how many events and payments."""
    schema = installation.writer.merchant(merchant).schema
    reader = Reader(mapping, schema, installation.secrets.merchant(merchant))
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    return record_all(installation, merchant, reader.events(_rows(frame), until), bar)


def record_all(installation: Installation, merchant: str, events: Iterable[WireEvent], bar: Bar) -> tuple[int, int]:
    """Record events that carry their time of arrival; return how many events and payments."""
    writer = installation.writer
    count = payments = 0
    for count, event in enumerate(events, 1):
        writer.record(merchant, event, 0)
        payments += event.type == "payment"
        bar.at(payments)
        if count % _SYNC_EVERY == 0:
            installation.log.sync()
    installation.log.sync()
    writer.merchant(merchant).settle()
    bar.done(payments)
    return count, payments


def simulate(
    merchant: Merchant,
    days: Annotated[float, typer.Option(help="Days of history")] = 90.0,
    vertical: Annotated[str, typer.Option(help="games, gift_cards or crypto")] = "gift_cards",
    payments_per_day: Annotated[float | None, typer.Option(help="Payments a day [default: the world's]")] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another merchant")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the events as JSON lines instead of recording them")] = None,
    data: Data = None,
) -> None:
    """Imagine a merchant's past in the frozen default world: habits, waves, issuers, late fraud reports.

    The events go into the data folder as history of a new merchant with the schema for digital goods.
    """
    world = World(vertical=_vertical(vertical), seed=seed, payments_per_day=payments_per_day)
    expected = round(world.vertical.payments_per_day * days)
    if out is not None:
        with out.open("wb") as file, progress_bar(f"simulating into {out.name}", expected) as bar:
            _write_lines(history(world, days), file, bar)
        return
    with build(settings_from(data=data)) as installation:
        installation.administration.carry_out(CreateMerchant(merchant, DIGITAL_GOODS), 0)
        with progress_bar(f"simulating {days:g} days of {merchant}", expected) as bar:
            events, payments = record_all(installation, merchant, history(world, days), bar)
    console.print(f"world {world.config.name}: {payments:,} payments and {events - payments:,} other events recorded")
    console.print(f"next: [bold]avalist train {merchant}[/]")


def _vertical(name: str) -> Any:
    if name not in get_args(Vertical):
        raise BadInput("no such vertical", field="--vertical", expected=" or ".join(get_args(Vertical)), got=name)
    return name


def _write_lines(events: Iterable[WireEvent], file: BinaryIO, bar: Bar) -> None:
    payments = 0
    for event in events:
        file.write(msgspec.json.encode(event) + b"\n")
        payments += event.type == "payment"
        bar.at(payments)
    bar.done(payments)


def read_frame(file: Path, mapping: Mapping) -> pl.DataFrame:
    """Read a file sorted by time. Raises ``BadInput`` for another kind of file or a column that is not there."""
    import polars as pl  # here, for the other commands start faster without it

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
