"""``avalist models``: how a merchant's models follow each other, with the evidence in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.administer import ActivateModel, RefuseModel, SetLearning
from avalist.app.learn import Tools, evidence_for, last_done
from avalist.app.learn import learn as learn_merchant
from avalist.app.lineage import Standing, Step, evidence_of, lineage, named
from avalist.cli.learn import print_checks, print_done, tools_for
from avalist.cli.models import show_report
from avalist.cli.office import carry_out
from avalist.cli.options import Data, Merchant, Port, console
from avalist.config import Settings, settings_from
from avalist.domain.core import Evidence, LearningSet, ModelActivated
from avalist.domain.errors import BadInput, Conflict
from avalist.render.challengers import WHO
from avalist.render.numbers import at

app = typer.Typer(help="List, compare, promote, refuse and roll back a merchant's models.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="A model's version, or how it begins")]


@app.command("list")
def list_models(merchant: Merchant, data: Data = None) -> None:
    """List every step of the merchant's models, oldest first, and what was done last. It only reads."""
    with _opened(settings_from(data=data), merchant) as (tools, standing, steps):
        done = last_done(tools.documents, merchant)
    table = Table("seq", "at", "version", "what", "why")
    for step in steps:
        style = "bold" if step.version == standing.active else ""
        table.add_row(str(step.seq), _at(step), step.version, step.what, _why(step), style=style)
    console.print(table)
    console.print(f"active: [bold]{standing.active or 'none'}[/]; {_learning(standing.learning)}", soft_wrap=True)
    if done is not None:
        console.print(f"last looked at {at(done.at_ms)}:", highlight=False)
        print_done(merchant, done)


@app.command("show")
def show(merchant: Merchant, version: Version, data: Data = None) -> None:
    """Show a model's steps with their evidence in words, and its report where it was graded. It only reads."""
    with _opened(settings_from(data=data), merchant) as (tools, _, steps):
        version = named(steps, version)
        artefact = tools.load(version).artefact
    for step in steps:
        if step.version == version:
            console.print(f"{_at(step)} [bold]{step.what}[/] ({_why(step)})", highlight=False)
            if step.told.evidence is not None:
                _print_evidence(step.told.evidence)
    show_report(merchant, artefact)


@app.command("compare")
def compare(merchant: Merchant, version: Version, data: Data = None) -> None:
    """Put a model through the gate again, on the last days, against the active one. It only reads."""
    with _opened(settings_from(data=data), merchant) as (tools, standing, steps):
        version = named(steps, version)
        active = tools.load(standing.active) if standing.active not in ("", version) else None
        found = evidence_for(tools, merchant, tools.load(version), active, _last_ms(tools))
    console.print(f"model [bold]{version}[/] {'passes' if found.passed else 'does not pass'}", highlight=False)
    _print_evidence(found)


@app.command("promote")
def promote(merchant: Merchant, version: Version, data: Data = None, port: Port = None) -> None:
    """Activate a model that was trained before, whatever the gate said of it: your word counts.

    What the gate found against the active model goes with it, and it is watched as one that the gate let in.
    """
    settings = settings_from(data=data, port=port)
    with _opened(settings, merchant) as (tools, standing, steps):
        version = named(steps, version)
        plan_hash, evidence = tools.load(version).artefact.plan_hash, evidence_of(steps, version, standing.active)
    _activate(settings, ActivateModel(merchant, version, plan_hash, evidence=evidence))
    if evidence is None or not evidence.against:
        console.print("it is not watched: the gate has not compared it with the model that was active")


@app.command("rollback")
def rollback(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """Activate the model before the active one again. None is activated by itself for some days then."""
    settings = settings_from(data=data, port=port)
    with _opened(settings, merchant) as (tools, standing, _):
        if not standing.previous:
            raise Conflict("no model decided before this one: there is nothing to go back to")
        plan_hash = tools.load(standing.previous).artefact.plan_hash
    _activate(settings, ActivateModel(merchant, standing.previous, plan_hash, by="rollback"))


@app.command("refuse")
def refuse(merchant: Merchant, version: Version, data: Data = None, port: Port = None) -> None:
    """Say in the log that a model that waits is not let in."""
    settings = settings_from(data=data, port=port)
    with _opened(settings, merchant) as (tools, standing, steps):
        version = named(steps, version)
        if version == standing.active:
            raise Conflict(f"model {version} decides now: 'avalist models rollback {merchant}' takes it back")
        plan_hash = tools.load(version).artefact.plan_hash
    carry_out(settings, RefuseModel(merchant, version, plan_hash))
    console.print(f"model [bold]{version}[/] is refused")


@app.command("learn")
def learn_now(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """Train a challenger now and put it through the gate; what passes decides from then on, or waits for approval."""
    settings = settings_from(data=data, port=port)
    with _opened(settings, merchant) as (tools, _, _steps):
        print_done(merchant, learn_merchant(tools, merchant, SystemClock().now_ms(), "operator"))


@app.command("set")
def set_learning(
    merchant: Merchant,
    approval: Annotated[str | None, typer.Option(help="automatic, or manual: what passes waits for a person")] = None,
    every_d: Annotated[float | None, typer.Option(help="Train so many days after the last training; 0: never")] = None,
    labels: Annotated[int | None, typer.Option(help="Train once so many new fraud reports are logged")] = None,
    watch_h: Annotated[float | None, typer.Option(help="Watch a model that was let in for so many hours")] = None,
    rest_d: Annotated[float | None, typer.Option(help="After a rollback activate none by itself for so long")] = None,
    trust: Annotated[float | None, typer.Option(help="Chance that a wave's alarm is fraud, at first; 0: off")] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Say how the merchant's models follow each other, by one event; what is not named stays as it is."""
    settings = settings_from(data=data, port=port)
    given = {
        "approval": approval, "every_d": every_d, "labels": labels, "watch_h": watch_h, "rest_d": rest_d, "trust": trust
    }  # fmt: skip
    with _opened(settings, merchant) as (_, standing, _steps):
        said = msgspec.to_builtins(standing.learning) | {name: v for name, v in given.items() if v is not None}
    try:
        learning = msgspec.convert(said, LearningSet)
    except msgspec.ValidationError as error:
        raise BadInput(f"not a setting: {error}", field="options") from None
    carry_out(settings, SetLearning(merchant, learning))
    console.print(_learning(learning))


@contextmanager
def _opened(settings: Settings, merchant: str) -> Iterator[tuple[Tools, Standing, list[Step]]]:
    with tools_for(settings, merchant, partial(carry_out, settings)) as tools:
        yield tools, *lineage(tools.read(), merchant)


def _activate(settings: Settings, request: ActivateModel) -> None:
    carry_out(settings, request)
    console.print(f"model [bold]{request.version}[/] is active from the next decision on")


def _last_ms(tools: Tools) -> int:
    """Return when the last record came in."""
    at_ms = 0
    for _, record in tools.read():
        at_ms = record.received_at_ms
    return at_ms


def _at(step: Step) -> str:
    """Return when a step was; a merchant's clock begins with its first event."""
    return at(step.at_ms) if step.at_ms else "at the beginning"


def _why(step: Step) -> str:
    told = step.told
    if isinstance(told, ModelActivated):
        return WHO[told.by]
    failed = [check.name for check in told.evidence.checks if not check.passed] if told.evidence else []
    return f"cause: {told.cause}" + (f"; fails {', '.join(failed)}" if failed else "")


def _learning(learning: LearningSet) -> str:
    if not learning.every_d:
        return "nothing is trained by itself"
    approval = "decides at once" if learning.approval == "automatic" else "waits for a person"
    return (
        f"a training is due every {learning.every_d:g} days or {learning.labels} reports; what passes {approval} "
        f"and is watched for {learning.watch_h:g} h; {learning.rest_d:g} days of rest after a rollback; "
        f"trust in a wave's alarm {learning.trust:g}"
    )


def _print_evidence(found: Evidence) -> None:
    other = f"model {found.against}" if found.against else "what was done"
    when = f"{at(found.from_ms)} to {at(found.to_ms)}"
    declines = f"it declines {found.declined:.1%}, the other {found.declined_before:.1%}"
    console.print(f"  against {other}, on {found.payments:,} payments, {when}; {declines}", highlight=False)
    print_checks(found)
