"""``avalist fit`` and ``avalist report``: what would a model have done with this file, or with this merchant's log?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.administer import ActivateModel
from avalist.app.challengers import Challenger, challengers
from avalist.app.dataset import Dataset
from avalist.app.lineage import lineage
from avalist.app.past_waves import PastWave, past_waves
from avalist.app.pattern_choice import PatternChoice, choose, groups_of, left_without
from avalist.app.report import FitReport
from avalist.app.report import report as report_on
from avalist.app.train import Training, train_on
from avalist.app.waves import watches, waves_of
from avalist.bootstrap import build, keep_model, load_model, need_files, open_blobs
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
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, console, progress_bar
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed as replay_of
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms
from avalist.domain.schema import Schema
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.private import write_private
from avalist.history.source import Survey
from avalist.models.artefact import Artefact
from avalist.models.prequential import Prequential
from avalist.models.train import TrainParams
from avalist.render import html_page, markdown_page, story
from avalist.render.story import five_figures

Out = Annotated[Path | None, typer.Option(help="Folder for the report [default: <merchant>-report]")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Say on the report that the payments are simulated")]
Threads = Annotated[int, typer.Option(help="Threads for training")]
Folds = Annotated[int, typer.Option(help="Cuts at which a model is trained and judged", min=1, max=20)]
_LONGEST_ID: Final = 63
_STEPS: Final = 100


def fit(
    file: File,
    mapping: MappingFile = None,
    merchant: Annotated[str | None, typer.Option(help="The merchant's id [default: from the file's name]")] = None,
    out: Out = None,
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
    folds: Folds = 5,
    threads: Threads = 2,
    simulated: Simulated = False,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder [default: data, below --out]")] = None,
) -> None:
    """Ask of a file: what would you have done? Import it, train a model, and write a report (HTML, Markdown, JSON).

    Quality is judged as it would have been lived: at each of several days a model learns from what was known by then
    and decides on the days after it.
    """
    merchant = merchant or merchant_id(file)
    out = out or Path(f"{merchant}-report")
    settings = settings_from(data=data or out / "data")
    need_files(settings)
    said = answers(
        time=time, amount=amount, label=label, id=id, currency=currency, timezone=timezone, date_order=date_order,
        units=units, time_unit=time_unit, fraud_value=fraud_value, negative_amounts=negative_amounts,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    source, notes = _understood(file, mapping, said, out, assume=yes)
    survey = _imported(settings, merchant, file, source, out)
    skipped = (f"{n:,} rows are no payments and were left out: {kind}." for kind, n in survey.skipped.items())
    dropped = (f"{n:,} cells were left out of their payments: {why}." for why, n in survey.dropped.items())
    assumed = (*notes, *(_assumed(source) if source else ()), *skipped, *dropped)
    replayed = replay_of(settings, merchant)
    model = _trained(replayed, threads)
    made = _reported(replayed, merchant, folds, threads, model)
    if model is not None:
        model = replace(model, report=made.quality.metrics if made.quality else None)
        _activate(settings, merchant, model)
    version = model.version if model else ""
    told = {
        "model": version,
        "file": file.name,
        "assumed": assumed,
        "rejected": survey.rejected,
        "simulated": simulated,
        "waves": _waves(settings, merchant, replayed),
        "patterns": _patterns(replayed),
    }
    _write(msgspec.structs.replace(made, **told), out)
    _next(merchant, out, settings.data, trained=model is not None)
    _first(merchant, settings, source, replayed.schema)


def _understood(
    file: Path, mapping: Path | None, said: dict[str, str], out: Path, *, assume: bool
) -> tuple[Mapping | None, tuple[str, ...]]:
    """Return the mapping that was given or is told, and what was assumed of the file."""
    from avalist.cli.bring_in import understand  # here: polars would slow other commands' start

    if mapping is not None:
        given = decode_mapping(mapping.read_text())
        return given, tuple(_said(given))
    understood = understand(file, said, assume=assume)
    if understood.mapping is not None:
        write_private(out / "mapping.toml", understood.toml())
    return understood.mapping, understood.notes


def _imported(settings: Settings, merchant: str, file: Path, source: Mapping | None, out: Path) -> Survey:
    """Import the file; return what was found in it."""
    from avalist.cli.bring_in import bring_in  # here: polars would slow other commands' start

    with build(settings) as here:
        return bring_in(here, merchant, file, source, rejects=out / "rejects.csv").survey


def _next(merchant: str, out: Path, data: Path, *, trained: bool) -> None:
    folder, report = escape(str(data)), escape(str(out))
    if not trained:
        console.print("next: bring a longer history, with the payments that were reported as fraud")
        return
    console.print("next: what are your margin and your cost of a chargeback? [bold]avalist policy example[/], then")
    console.print(f"  [bold]avalist policy set {merchant} policy.json --data {folder}[/]", soft_wrap=True)
    console.print(f"  [bold]avalist report {merchant} --out {report} --data {folder}[/]", soft_wrap=True)
    console.print(f"to decide on new payments: [bold]avalist up --data {folder}[/]", soft_wrap=True)


def _first(merchant: str, settings: Settings, source: Mapping | None, schema: Schema) -> None:
    """Print the command that sends a first payment, with the fields of the history."""
    from avalist.cli.first_payment import curl, first_payment  # here: it needs polars

    payment = first_payment(source, schema, from_ms(SystemClock().now_ms()))
    print("then send payments with the fields that the history had:")
    print(f"  {curl(settings.url, merchant, str(settings.data), payment)}")


def report(
    merchant: Merchant,
    out: Out = None,
    folds: Folds = 5,
    threads: Threads = 2,
    simulated: Simulated = False,
    data: Data = None,
) -> None:
    """Make a merchant's report again from the log: under the policy of now, with all that was reported since.

    It only reads: a service may run meanwhile. No model is trained but those that are judged.
    """
    settings = settings_from(data=data)
    replayed = replay_of(settings, merchant)
    made = _reported(replayed, merchant, folds, threads, _active(settings, merchant, replayed))
    told = {
        "simulated": simulated,
        "waves": _waves(settings, merchant, replayed),
        "patterns": _patterns(replayed),
        "challengers": _challengers(settings, merchant),
    }
    _write(msgspec.structs.replace(made, **told), out or Path(f"{merchant}-report"))


def merchant_id(file: Path) -> str:
    """Return a merchant's id made from a file's name.

    >>> merchant_id(Path("Payments 2026 (final).csv"))
    'payments-2026-final'
    """
    words = re.findall(r"[a-z0-9]+", file.stem.lower())
    return "-".join(words)[:_LONGEST_ID].strip("-") or "merchant"


def _trained(data: Dataset, threads: int) -> Artefact | None:
    """Train the model that ships; None where there are too few frauds, as the report will say."""
    training = Training(test_share=0.0, params=TrainParams(test_share=0.0, num_threads=threads))
    with progress_bar("training the model", training.params.trees) as bar:
        try:
            return train_on(data, training, grown=lambda grown, wanted: bar.step(grown))
        except BadInput:
            return None
        finally:
            bar.done(training.params.trees)


def _reported(data: Dataset, merchant: str, folds: int, threads: int, model: Artefact | None) -> FitReport:
    usual = Prequential()
    evaluation = msgspec.structs.replace(
        usual, folds=folds, params=msgspec.structs.replace(usual.params, num_threads=threads)
    )
    with progress_bar(f"judging at {folds} cuts", folds * usual.params.trees) as bar:
        return report_on(data, merchant, evaluation, shipped=model, progress=lambda grown, wanted: bar.step(grown))


def _waves(settings: Settings, merchant: str, data: Dataset) -> tuple[PastWave, ...] | None:
    """Return the waves of the log; None where the schema watches none."""
    if not watches(data.schema):
        return None
    with open_reading(settings, merchant) as archive, progress_bar("looking for waves", archive.log_end) as bar:
        _, found = waves_of(archive.read(merchant=merchant), merchant, bar.at)
        bar.done(archive.log_end)
    return past_waves(data, found)


def _patterns(data: Dataset) -> PatternChoice | None:
    """Judge the plan's columns of patterns; None where it has none, or a past too short for that."""
    groups = groups_of(data)
    if not groups:
        return None
    with progress_bar("judging patterns", _STEPS) as bar:
        try:
            return choose(
                data, left_without(data, groups, lambda done, wanted: bar.step(done * _STEPS // wanted)), groups
            )
        except BadInput:
            return None
        finally:
            bar.done(_STEPS)


def _challengers(settings: Settings, merchant: str) -> tuple[Challenger, ...]:
    """Return what the log tells of the merchant's models."""
    with open_reading(settings, merchant) as archive:
        _, steps = lineage(archive.read(merchant=merchant), merchant)
    return challengers(steps)


def _activate(settings: Settings, merchant: str, model: Artefact) -> None:
    keep_model(open_blobs(settings), merchant, model)
    with office(settings) as here:
        here.carry_out(ActivateModel(merchant, model.version, model.plan_hash))


def _active(settings: Settings, merchant: str, data: Dataset) -> Artefact | None:
    version = data.background.model
    return load_model(open_blobs(settings), merchant, version).artefact if version else None


def _said(mapping: Mapping) -> Iterator[str]:
    """Yield what a mapping that was given says of all payments; the notes tell it of one that was proposed."""
    yield f"Times that name no zone are taken as {mapping.timezone}: the mapping says so."
    if mapping.currency.startswith("="):
        yield f"Every payment is in {mapping.currency[1:]}: the mapping says so, not the file."


def _assumed(mapping: Mapping) -> Iterator[str]:
    """Yield what a mapping supposes that its file does not say."""
    for path, column in mapping.fields.items():
        if column.startswith("="):
            yield f"{path} is {column[1:]} for every payment: the mapping says so, not the file."
    if mapping.outcomes.fraud and not mapping.outcomes.fraud_reported_at:
        yield f"Column {mapping.outcomes.fraud} says which payments were fraud, but not when that was reported."
    if mapping.hashed:
        yield f"Hashed before anything read them: {', '.join(mapping.hashed)}."


def _write(made: FitReport, out: Path) -> None:
    """Write the three files and print the figures that matter."""
    out.mkdir(parents=True, exist_ok=True)
    page = story(made)
    write_private(out / "report.html", html_page(page))
    write_private(out / "report.md", markdown_page(page))
    write_private(out / "report.json", msgspec.json.format(msgspec.json.encode(made)))
    if made.quality is None:
        console.print(f"[bold]no model can be judged yet[/]: {escape(made.too_few)}", highlight=False, soft_wrap=True)
    else:
        table = Table(title=page.title, show_header=False)
        for figure in five_figures(made):
            table.add_row(figure.label, f"[bold]{figure.value}[/]", figure.detail)
        console.print(table)
    console.print(
        f"the report: [bold]{escape(str(out / 'report.html'))}[/], also report.md and report.json", soft_wrap=True
    )
