"""``avalist models export`` and ``import``: take a model away, bring one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from avalist import analysis
from avalist.app.administer import ActivateModel
from avalist.app.merchant import added_in, created_in, plans_of
from avalist.app.take_away import brought, exported, trees_of
from avalist.bootstrap import keep_model, load_artefact, open_blobs
from avalist.cli.lifecycle import app
from avalist.cli.models import show_report
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed as replay_of
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.events import to_ms
from avalist.domain.records import RecordKind
from avalist.features.plan import Plan
from avalist.models.artefact import Artefact

_LATER = 0.7


@app.command("export")
def export_model(
    merchant: Merchant,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder")],
    version: Annotated[str | None, typer.Option(help="Version of the model [default: the active one]")] = None,
    data: Data = None,
) -> None:
    """Write a model, its calibration and its plan as documented files, with a script that scores without Avalist."""
    settings = settings_from(data=data)
    if folder.exists() and any(folder.iterdir()):
        raise BadInput("the folder holds something already", field="DIR", expected="a new folder", got=str(folder))
    replayed = replay_of(settings, merchant)
    version = version or replayed.background.model
    if not version:
        raise NotFound(f"{merchant} has no active model: 'avalist train {merchant}' makes one")
    artefact = load_artefact(open_blobs(settings), merchant, version)
    plan = _plan_of(settings, merchant, artefact)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in exported(artefact, plan, replayed.x[-200:]).items():
        (folder / name).write_bytes(content)
    console.print(f"wrote model {version} to [bold]{escape(str(folder))}[/]; try: python score.py --check")


def _plan_of(settings: Settings, merchant: str, artefact: Artefact) -> Plan:
    """Return the plan of the merchant's that a model was trained on, of now or of before features were added."""
    with open_reading(settings, merchant) as archive:
        records = list(archive.read(merchant=merchant, kind=RecordKind.CONTROL))
    plans = {plan.hash: plan for plan in plans_of(created_in(records, merchant), added_in(records, merchant))}
    if artefact.plan_hash not in plans:
        raise BadInput(
            "the model is for another plan", field="--version", expected=" or ".join(plans), got=artefact.plan_hash
        )
    return plans[artefact.plan_hash]


@app.command("import")
def import_model(
    merchant: Merchant,
    file: Annotated[
        Path,
        typer.Argument(help="A LightGBM model saved as text, or a tree ensemble of ONNX", exists=True, dir_okay=False),
    ],
    plan: Annotated[str, typer.Option(help="Hash of the plan that its columns are, from 'avalist merchant show'")],
    since: Annotated[
        dt.datetime | None,
        typer.Option(help="Calibrate on payments from then on, none that it learnt from [default: the last 30 %]"),
    ] = None,
    activate: Annotated[bool, typer.Option(help="Activate the model")] = True,
    data: Data = None,
    port: Port = None,
) -> None:
    """Bring a model of your own: it is calibrated on the merchant's payments, graded, and activated by an event.

    Train it on what 'avalist features export' writes, all columns in their order.
    """
    settings, body = settings_from(data=data, port=port), file.read_bytes()
    with analysis.Analysis(settings) as here:
        trees_of(body, plan, here.plan(merchant))  # what cannot be taken is said before the replay
    replayed = replay_of(settings, merchant)
    if not len(replayed.t_ms):
        raise BadInput("there is no payment to calibrate on", field="history", expected="payments")
    later = replayed.t_ms[int(len(replayed.t_ms) * _LATER)]
    from_ms = int(later) if since is None else to_ms(since.replace(tzinfo=since.tzinfo or dt.UTC))
    artefact = brought(replayed, body, plan, from_ms)
    keep_model(open_blobs(settings), merchant, artefact)
    show_report(merchant, artefact)
    if activate:
        with office(settings) as here:
            here.carry_out(ActivateModel(merchant, artefact.version, artefact.plan_hash))
        console.print(f"model [bold]{artefact.version}[/] is active from the next decision on")
