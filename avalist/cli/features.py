"""``avalist features``: list, explain, plot, show and export what decisions see, and add to it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from avalist import analysis
from avalist.app.administer import AddFeatures
from avalist.app.backfill import Folding, fold_to_end
from avalist.app.dataset import collect
from avalist.app.matrix import column_of
from avalist.app.merchant import check_retired, decode_control
from avalist.app.partition import reason_of
from avalist.app.trace import Earlier, Trace, trace
from avalist.bootstrap import load_model, need_files, open_blobs, open_log, open_stages
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console, progress_bar
from avalist.cli.patterns import patterns
from avalist.config import Settings, settings_from
from avalist.domain.core import ModelActivated
from avalist.domain.errors import AvalistError, BadInput
from avalist.domain.events import from_ms
from avalist.domain.records import RecordKind
from avalist.domain.row import FRAUD_DELTA
from avalist.domain.schema import Schema
from avalist.features.cost import cost_of
from avalist.features.declare import Feature
from avalist.features.derive import derive
from avalist.features.own import OwnFeature, decode_own, with_own
from avalist.features.plan import Plan, compile_plan
from avalist.features.words import covers, family, in_words, period, unit
from avalist.history.private import write_private
from avalist.render import html_page
from avalist.render.distribution import GROUPS, distribution, lines, page
from avalist.render.numbers import NOTHING, measured, money, percent

app = typer.Typer(help="List, explain, plot, show and export what decisions see, and add to it.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The feature's name, from 'avalist features list'")]
From = Annotated[str | None, typer.Option("--from", help="Payments received from this day or time on, UTC")]
To = Annotated[str | None, typer.Option("--to", help="Payments received before this day or time, UTC")]
KnownAt = Annotated[str | None, typer.Option(help="Labels as they were known then [default: now]")]
_NICENESS: Final = 10
app.command()(patterns)


@app.command("list")
def list_features(
    merchant: Merchant,
    entity: Annotated[str | None, typer.Option(help="Only of this entity: card, account+card, merchant")] = None,
    aggregate: Annotated[str | None, typer.Option(help="Only this aggregate: count, rate, distinct")] = None,
    like: Annotated[str | None, typer.Option(help="Only where name or words hold this text")] = None,
    own: Annotated[bool, typer.Option("--own", help="Only the merchant's own, not those of its schema")] = False,
    data: Data = None,
) -> None:
    """List a merchant's features: name, what it tells, window, aggregate."""
    with analysis.open(data) as here:
        created = here.created(merchant)
        plan = here.plan(merchant)
    derived = {feature.name for feature in derive(created.schema)}
    table = _named("name", "what it tells", "window", "aggregate")
    for feature in plan.features:
        wanted = entity in (None, feature.entity) and aggregate in (None, feature.aggregate)
        if wanted and _like(feature, like) and not (own and feature.name in derived):
            window = period(feature.window_ms) if feature.window_ms else ""
            _add(table, escape(feature.name), escape(in_words(feature)), window, feature.aggregate)
    console.print(table)
    console.print(f"{table.row_count:,} of {len(plan.columns):,} features, plan {plan.hash}", highlight=False)


def _named(first: str, *others: str) -> Table:
    """Return a table whose first column is never cut: names are copied from there."""
    table = Table(box=None)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name)
    return table


def _add(table: Table, name: str, *cells: str) -> None:
    table.columns[0].min_width = max(table.columns[0].min_width or 0, len(name))
    table.add_row(name, *cells)


def _like(feature: Feature, text: str | None) -> bool:
    return text is None or text.lower() in f"{feature.name} {in_words(feature)}".lower()


@app.command()
def explain(merchant: Merchant, name: Name, data: Data = None) -> None:
    """Say what a feature tells, what its window covers, what it is computed from, and what it costs."""
    with analysis.open(data) as here:
        schema, plan = here.created(merchant).schema, here.plan(merchant)
    place = column_of(plan, name)
    feature = plan.features[place]
    for label, text in {
        "name": feature.name,
        "tells": in_words(feature),
        "family": family(feature, plan),
        "unit": {"money": f"minor units of {schema.base_currency}"}.get(unit(feature), unit(feature)) or NOTHING,
        "covers": covers(feature),
        "this payment": "included" if feature.include_current else "",
        "from": " / ".join(feature.over or ()),
        "prior": f"{feature.prior or '0.01'}, as {feature.strength:g} payments" if feature.strength else "",
        "unknown": _unknown(feature),
        "costs": _costs(schema, plan, place),
        "version": plan.node_hashes[place],
        "definition": msgspec.json.encode(feature).decode(),
    }.items():
        if text:
            console.print(f"{label:>13}  {text}", highlight=False, markup=False, soft_wrap=True)


def _unknown(feature: Feature) -> str:
    if feature.aggregate == "retired":
        return "always"
    if feature.aggregate in ("known", "hour", "weekday"):
        return ""
    if not feature.entity:
        return "where a part of it is" if feature.aggregate == "ratio" else "where the payment does not carry it"
    if feature.aggregate == "ring":
        return "where the entity is missing, or was in no event of the last one to two periods of 90 days"
    if feature.aggregate in ("count", "sum", "distinct", "captured", "frauds", "clean"):
        return "where the entity is missing or was never seen; 0 where nothing lies in the window"
    return "where the entity is missing or was never seen, or nothing lies in the window"


def _costs(schema: Any, plan: Plan, place: int) -> str:
    cost = cost_of(schema, plan, place)
    if not any(cost):
        return "no state: it reads what other features keep anyway"
    named = {"entity": cost.entities, "stream": cost.streams, "set of values": cost.distincts, "ring": cost.rings}
    parts = [f"{n} {what}" for what, n in named.items() if n]
    if not parts:
        return f"a stream that others read too grows: by at most {cost.busy_bytes:,} bytes for a busy key"
    if cost.rings:
        return f"{', '.join(parts)} of its own: about 100 bytes for each linked key, for two periods of 90 days"
    return f"{', '.join(parts)} of its own: at most {cost.busy_bytes:,} bytes for a busy key, less for a quiet one"


@app.command()
def check(
    merchant: Merchant,
    file: Annotated[Path, typer.Argument(help="Features (TOML)", exists=True, dir_okay=False)],
    data: Data = None,
) -> None:
    """Check a file of features against a merchant, and say what they tell and cost. Changes nothing."""
    with analysis.open(data) as here:
        schema, before = here.created(merchant).schema, here.plan(merchant).features
    features = with_own(schema, before, decode_own(file.read_text()))
    more, now = len(features) - len(before), compile_plan(schema, features)
    retired = now.live.count("") - compile_plan(schema, before).live.count("")
    if more:
        console.print(_told(schema, now, len(before)))
    counts = [f"{more} features"] * bool(more or not retired) + [f"{retired} retired columns"] * bool(retired)
    console.print(
        f"{' and '.join(counts)} fit {merchant}: 'avalist features add {merchant} {escape(str(file))}' does it",
        highlight=False,
    )


def _told(schema: Schema, plan: Plan, first: int) -> Table:
    """Return what the features from a place on tell and cost."""
    table = _named("name", "what it tells", "costs")
    for place in range(first, len(plan.features)):
        one = plan.features[place]
        _add(table, escape(one.name), escape(in_words(one)), _costs(schema, plan, place))
    return table


@app.command()
def add(
    merchant: Merchant,
    file: Annotated[Path, typer.Argument(help="Features (TOML)", exists=True, dir_okay=False)],
    data: Data = None,
    port: Port = None,
) -> None:
    """Add features to a merchant that exists, back-filled from its log: decisions from now on see them.

    Columns that the file retires keep their places in the log and are not computed any more: no state, no time.

    A service may run meanwhile, and goes on deciding. It takes about as long as 'avalist replay'. The active model goes
    on with the columns that it knows; train again to use the new ones.
    """
    settings = settings_from(data=data, port=port)
    need_files(settings)
    own = decode_own(file.read_text())
    os.nice(_NICENESS)  # a service on this machine goes first
    schema, plan, before = _stage(settings, merchant, own)
    with office(settings) as here:
        shown = here.carry_out(AddFeatures(merchant, own))
    console.print(_told(schema, plan, before))
    console.print(
        f"decisions after seq {shown['inputs']} see {len(plan.columns) - before} features more, on plan {plan.hash}"
        + (f"; {retired} are retired" if (retired := plan.live.count("")) else ""),
        highlight=False,
    )
    if shown["model"]:
        console.print(f"model {shown['model']} goes on with the {before} columns that it knows", highlight=False)
    console.print(f"next: [bold]avalist train {merchant}[/]")


def _stage(settings: Settings, merchant: str, own: Sequence[OwnFeature]) -> tuple[Schema, Plan, int]:
    """Fold a merchant's past under a plan with more features; return schema and plan, and how many there were."""
    with analysis.Analysis(settings) as here, closing(open_log(settings, readonly=True)) as log:
        schema, features = here.created(merchant).schema, here.plan(merchant).features
        plan = compile_plan(schema, with_own(schema, features, own))
        _check_model(settings, here, merchant, plan)
        folding, stages = Folding(merchant, schema, plan), open_stages(settings, log)
        with progress_bar("back-filling from the log", log.end) as bar:
            fold_to_end(folding, log, partial(here.past(merchant).read, merchant=merchant), bar.step)
            bar.done(folding.position)
        stages.save(folding)
    return schema, plan, len(features)


def _check_model(settings: Settings, here: analysis.Analysis, merchant: str, plan: Plan) -> None:
    """Refuse a plan that retires what the active model asks for: sooner than after the fold."""
    controls = (decode_control(r.core) for _, r in here.past(merchant).read(merchant=merchant, kind=RecordKind.CONTROL))
    versions = [control.version for control in controls if isinstance(control, ModelActivated)]
    if versions:
        check_retired(load_model(open_blobs(settings), merchant, versions[-1]).artefact, plan)


@app.command()
def plot(
    merchant: Merchant,
    name: Name,
    last: Annotated[int, typer.Option(help="Of so many last payments", min=1)] = 100_000,
    out: Annotated[Path | None, typer.Option(help="Where the page goes [default: NAME.html]")] = None,
    data: Data = None,
) -> None:
    """Plot a feature's values among the last payments, frauds against the others, and how often it is unknown."""
    with analysis.open(data) as here:
        plan, currency = here.plan(merchant), here.created(merchant).schema.base_currency
        place = column_of(plan, name)
        with progress_bar("replaying the log", here.past(merchant).log_end) as bar, analysis.spilled() as spill:
            found = collect(partial(here.records, merchant), merchant, bar.at, spill)
            bar.done(here.past(merchant).log_end)
            captured, fraud = found.known_at(found.cut_ms)
            rows = np.flatnonzero(captured)[-last:]
            shares = distribution(found.x[rows, place], fraud[rows], plan.features[place], currency)
    about = f"{merchant}: the last {len(rows):,} captured payments, labels as known at the end of the log"
    out = out or Path(f"{name}.html")
    write_private(out, html_page(page(shares, plan.features[place], about)))
    console.print(f"{in_words(plan.features[place])}\n{about}", highlight=False, markup=False)
    for mark, group, size, unknown in zip("░█", GROUPS, shares.sizes, shares.unknown, strict=True):
        console.print(f"{mark} {group}: {size:,} payments, unknown of {percent(unknown)}", highlight=False)
    for line in lines(shares):
        console.print(line, highlight=False, markup=False, no_wrap=True)
    console.print(f"wrote [bold]{escape(str(out))}[/]", soft_wrap=True)


@app.command()
def show(
    merchant: Merchant,
    payment: Annotated[str, typer.Argument(help="The payment's id, as the shop gave it")],
    feature: Annotated[str | None, typer.Option(help="Only this feature, with all events of its window")] = None,
    entity: Annotated[str | None, typer.Option(help="Only of this entity")] = None,
    events: Annotated[int, typer.Option(help="Earlier events shown of each entity", min=0)] = 5,
    data: Data = None,
) -> None:
    """Show what the decision on a payment saw, in words, with the events it came from; logged against replayed."""
    with analysis.open(data) as here:
        plan = here.plan(merchant)
        place = None if feature is None else column_of(plan, feature)
        among = entity if place is None else plan.features[place].entity or None
        if among is not None and among not in plan.entity_names:
            raise BadInput("no such entity", field="--entity", expected=" or ".join(plan.entity_names), got=among[:64])
        found = trace(lambda: here.records(merchant), merchant, payment, among)
    _head(found)
    if place is not None and place >= len(found.plan.features):
        raise BadInput("it was added after this payment", field="--feature", expected="an older one", got=str(feature))
    chosen = [n for n, f in enumerate(found.plan.features) if place in (None, n) and entity in (None, f.entity)]
    console.print(_values(found, chosen))
    if place is not None:
        one = plan.features[place]
        _events(found, found.events_in(one), f"events of {one.name}", None)
        return
    for name in [one.name for one in found.created.schema.entities] if entity is None else [entity]:
        of_entity = [f for f in plan.features if f.entity == name]
        longest = max(of_entity, key=lambda f: f.window_ms + f.lag_ms, default=None)
        if longest is not None and longest.window_ms:
            back = longest.window_ms + longest.lag_ms
            whole = msgspec.structs.replace(longest, aggregate="count", kinds=-1, lag_ms=0, window_ms=back)
            _events(found, found.events_in(whole), f"{name}: events of the last {period(back)}", events)


def _head(found: Trace) -> None:
    facts, currency = found.core.facts, found.created.schema.base_currency
    amount = money(facts.amount_base_minor, currency) if facts else NOTHING
    when = f"{from_ms(found.row[1]):%Y-%m-%d %H:%M:%S}"
    console.print(f"payment {found.core.payment_id}: {amount}, received {when} UTC, seq {found.seq}", markup=False)
    if found.decided is None:
        console.print("nothing was decided: it came as history. The values are replayed")
    elif found.logged is None:
        console.print("it was decided in an earlier generation, under another history. The values are replayed")
    else:
        decision, different = found.decided.decision, found.different()
        said = (
            f"{len(different)} of the logged values differ from the replayed"
            if different
            else (f"the {len(found.replayed):,} logged values are those replayed from the log")
        )
        console.print(f"decided {decision.action} (p_fraud {decision.p_fraud}); {said}", highlight=False)


def _values(found: Trace, chosen: list[int]) -> Table:
    table, different = _named("feature", "value", "what it tells"), set(found.different())
    for n in chosen:
        feature = found.plan.features[n]
        value = _measured(found, feature, float(found.replayed[n]))
        if n in different and found.logged is not None:
            value = f"{value}; logged {_measured(found, feature, float(found.logged[n]))}"
        _add(table, escape(feature.name), value, escape(in_words(feature)))
    return table


def _measured(found: Trace, feature: Feature, value: float) -> str:
    return measured(None if value != value else value, unit(feature), found.created.schema.base_currency)


def _events(found: Trace, events: list[Earlier], title: str, most: int | None) -> None:
    shown = events if most is None else events[len(events) - min(most, len(events)) :]
    latest = f", the latest {len(shown)}" if len(shown) < len(events) else ""
    console.print(f"\n{title}: {len(events):,}{latest}", highlight=False, markup=False)
    if not shown:
        return
    table = Table("received", "event", "payment", box=None)
    table.add_column("amount", justify="right")
    for one in shown:
        amount = "" if one.amount_minor is None else money(one.amount_minor, found.created.schema.base_currency)
        told = {1: " (fraud)", -1: " (no fraud after all)"}.get(one.row[FRAUD_DELTA], "")
        table.add_row(f"{from_ms(one.at_ms):%Y-%m-%d %H:%M:%S}", f"{one.type}{told}", escape(one.payment_id), amount)
    console.print(table)


@app.command()
def export(
    where: Annotated[list[str], typer.Argument(help="MERCHANT FILE.parquet; with --all a FOLDER", metavar="WHERE...")],
    all: Annotated[bool, typer.Option("--all", help="Every merchant, into FOLDER/MERCHANT.parquet")] = False,
    from_: From = None,
    to: To = None,
    known_at: KnownAt = None,
    column: Annotated[list[str] | None, typer.Option(help="Only this feature; again for more")] = None,
    processes: Annotated[int, typer.Option(help="Merchants replayed at a time, with --all", min=1)] = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --all: leave out merchants whose file is there already")
    ] = False,
    data: Data = None,
) -> None:
    """Write payments with all that decisions saw, and their labels, to Parquet: the log, replayed.

    A file appears when it is whole, so an export of all that was stopped goes on with --resume, and the same other
    options: no finished merchant is replayed again, nor brought up to date. Memory is bounded: what does not fit lies
    in a temporary file beside it.
    """
    options: dict[str, Any] = {"from_": from_, "to": to, "known_at": known_at, "columns": column}
    if len(where) != (1 if all else 2):
        expected = "a folder" if all else "a merchant and a file: giftshop features.parquet"
        raise BadInput("where to is not clear", field="WHERE", expected=expected, got=" ".join(where)[:64])
    if all:
        _export_all(data, Path(where[0]), processes, options, resume=resume)
        return
    merchant, file = where
    if resume:
        raise BadInput("one merchant is replayed at a stretch", field="--resume", expected="nothing", got="--resume")
    with (
        analysis.open(data) as here,
        progress_bar(f"replaying {merchant}", (end := here.past(merchant).log_end)) as bar,
    ):
        rows = here.export(merchant, file, replayed=bar.at, **options)
        bar.done(end)
    console.print(f"wrote {rows:,} payments to [bold]{escape(file)}[/]", soft_wrap=True)


def _export_all(data: Path | None, folder: Path, processes: int, options: dict[str, Any], *, resume: bool) -> None:
    """Export each merchant; one that fails keeps no other back, and is named at the end."""
    with analysis.open(data) as here:
        merchants = here.merchants()
    folder.mkdir(parents=True, exist_ok=True)
    left = [name for name in merchants if not (resume and (folder / f"{name}.parquet").is_file())]
    if finished := len(merchants) - len(left):
        console.print(f"{finished} of {len(merchants)} merchants have a file already, and are left out")
    spawn, failed = multiprocessing.get_context("spawn"), dict[str, str]()
    with (
        progress_bar("exporting merchants", len(merchants)) as bar,
        ProcessPoolExecutor(min(processes, max(len(left), 1)), mp_context=spawn) as pool,
    ):
        jobs = {pool.submit(_export_one, data, name, folder / f"{name}.parquet", options): name for name in left}
        for done, job in enumerate(as_completed(jobs), finished + 1):
            try:
                console.print(f"{jobs[job]}: {job.result():,} payments", highlight=False)
            except (AvalistError, OSError, MemoryError, BrokenExecutor) as error:
                failed[jobs[job]] = reason_of(error)
            bar.step(done)
    if failed:
        for merchant, reason in sorted(failed.items()):
            console.print(f"[bold red]{merchant}[/] failed: {escape(reason)}", highlight=False, soft_wrap=True)
        console.print(f"{len(failed)} of {len(merchants)} merchants have no new file", highlight=False)
        raise typer.Exit(1)


def _export_one(data: Path | None, merchant: str, file: Path, options: dict[str, Any]) -> int:
    with analysis.open(data) as here:
        return here.export(merchant, file, **options)
