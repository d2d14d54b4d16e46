"""``avalist import`` and ``avalist simulate``: a merchant's past, real or imagined."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, get_args

import msgspec
import typer
from rich.markup import escape

from avalist.app.administer import CreateMerchant
from avalist.bootstrap import Installation, build, need_files
from avalist.cli.answers import (
    Amount,
    Currency,
    DateOrder,
    File,
    FraudValue,
    Id,
    Label,
    MappingFile,
    NegativeAmounts,
    Time,
    TimeUnit,
    Timezone,
    Units,
    Yes,
    answers,
)
from avalist.cli.options import Bar, Data, Merchant, console, progress_bar
from avalist.config import settings_from
from avalist.domain.errors import AvalistError, BadInput
from avalist.domain.events import Payment, WireEvent
from avalist.domain.schema import DIGITAL_GOODS
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.private import write_private
from avalist.simulator import World, history
from avalist.simulator.config import Vertical

_BATCH = 4_096


def import_file(
    merchant: Merchant,
    file: File,
    mapping: MappingFile = None,
    explain: Annotated[
        bool, typer.Option("--explain", "--dry-run", help="Show what the file is understood to be, and stop there")
    ] = False,
    save_mapping: Annotated[
        Path | None, typer.Option(help="Where to write the mapping that was told [default: FILE.mapping.toml]")
    ] = None,
    time: Time = None,
    amount: Amount = None,
    label: Label = None,
    id: Id = None,
    currency: Currency = None,
    timezone: Timezone = None,
    date_order: DateOrder = None,
    units: Units = None,
    time_unit: TimeUnit = None,
    fraud_value: FraudValue = None,
    negative_amounts: NegativeAmounts = None,
    yes: Yes = False,
    until: Annotated[
        dt.datetime | None, typer.Option(help="Leave out what was known at this time or later [default: now]")
    ] = None,
    max_rejects: Annotated[float, typer.Option(help="Share of rows that may be rejected")] = 0.05,
    rejects: Annotated[Path | None, typer.Option(help="Where rejected rows go [default: FILE.rejects.csv]")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Merge more history into a merchant that has some, even a live one")
    ] = False,
    data: Data = None,
) -> None:
    """Import history before a merchant's first live event; creates the merchant if need be.

    Without --mapping the columns are told from their names and values, with the reasons; what only you know is asked.
    Events go in by the time they were known: a payment at its time, a label at its report time. An import that was
    stopped goes on where it was when it is run again.

    History that comes later goes in with --rebuild: the log is written anew with the file merged in by known time, and
    counts in one step. Answers that were given stay as they were given. Stop the service first; until the step nothing
    has changed, so a rebuild that was killed is simply run again.
    """
    if not explain:
        need_files(settings_from(data=data))
    from avalist.cli.bring_in import beside, bring_in, tell, understand  # polars is slow to start
    from avalist.cli.rebuild import rebuild as merge_in
    from avalist.cli.rebuild import tell as tell_merged

    source: Mapping | None
    if mapping is not None:
        source = decode_mapping(mapping.read_text())
    else:
        said = answers(
            time=time, amount=amount, label=label, id=id, currency=currency, timezone=timezone, date_order=date_order,
            units=units, time_unit=time_unit, fraud_value=fraud_value, negative_amounts=negative_amounts,
        )  # fmt: skip
        understood = understand(file, said, assume=yes or explain)
        source = understood.mapping
        if source is not None and (save_mapping or not explain):
            saved = save_mapping or beside(file, "mapping.toml")
            write_private(saved, understood.toml())
            console.print(f"wrote the mapping, to read and to edit: [bold]{escape(str(saved))}[/]", soft_wrap=True)
    if explain:
        return
    with build(settings_from(data=data)) as here:
        refused = rejects or beside(file, "rejects.csv")
        options: Any = {"until": until, "max_rejects": max_rejects, "rejects": refused}
        if rebuild:
            tell_merged(merchant, merge_in(here, merchant, file, source, **options), refused)
        else:
            tell(merchant, bring_in(here, merchant, file, source, **options), refused)


def record_all(installation: Installation, merchant: str, events: Iterable[WireEvent], bar: Bar) -> tuple[int, int]:
    """Record events that carry their time of arrival; return how many events and payments. Raises as the writer."""
    writer, log, waiting = installation.writer, installation.log, iter(events)
    count = payments = 0
    with ThreadPoolExecutor(1) as disk:
        durable = disk.submit(log.sync)
        while batch := list(islice(waiting, _BATCH)):
            for position in writer.record_many(merchant, batch, 0):
                if isinstance(position, AvalistError):
                    raise position
            count += len(batch)
            payments += sum([isinstance(event, Payment) for event in batch])
            bar.at(payments)
            durable.result()  # one batch waits for the disk while the next is made
            durable = disk.submit(log.sync)
        durable.result()
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
