"""``avalist train`` and ``avalist replay``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from avalist.app.administer import ActivateModel
from avalist.app.replay import replay as replay_log
from avalist.app.train import train as train_model
from avalist.bootstrap import MODEL_BLOB, load_model, open_blobs, open_log
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console, progress_bar
from avalist.config import settings_from


def train(
    merchant: Merchant,
    activate: Annotated[bool, typer.Option(help="Activate the model when it is trained")] = True,
    threads: Annotated[int, typer.Option(help="Threads for training")] = 2,
    data: Data = None,
    port: Port = None,
) -> None:
    """Train a model on the merchant's own payments and fraud reports, and activate it by an event."""
    settings = settings_from(data=data, port=port)
    log, blobs = open_log(settings, readonly=True), open_blobs(settings)
    with progress_bar("replaying the log", log.end) as bar:
        artefact = train_model(log.read(), merchant, threads=threads, replayed=bar.at)
    log.close()
    blobs.put(merchant, MODEL_BLOB.format(version=artefact.version), artefact.to_bytes())
    _show(merchant, artefact.version, artefact.metrics)
    if activate:
        with office(settings) as here:
            here.carry_out(ActivateModel(merchant, artefact.version, artefact.plan_hash))
        console.print(f"model [bold]{artefact.version}[/] is active from the next decision on")


def _show(merchant: str, version: str, metrics: dict[str, float]) -> None:
    table = Table(title=f"{merchant}: model {version}, on payments it has not seen")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        table.add_row(name, f"{value:,.4g}")
    console.print(table)


def replay(
    merchant: Annotated[str | None, typer.Argument(help="One merchant [default: all]")] = None,
    verify: Annotated[bool, typer.Option(help="Fail if a replayed decision differs from the logged one")] = False,
    data: Data = None,
) -> None:
    """Run the log again through the same kernel and decide(); --verify compares every decision byte by byte."""
    settings = settings_from(data=data)
    log, blobs = open_log(settings, readonly=True), open_blobs(settings)
    with progress_bar("replaying", log.end) as bar:
        result = replay_log(
            log, lambda owner, version: load_model(blobs, owner, version), merchant=merchant, progress=bar.at
        )
        bar.done(log.end)
    log.close()
    console.print(f"{result.inputs:,} inputs, {result.decisions:,} decisions made again, {result.different:,} differ")
    for name, digest in result.digests.items():
        console.print(f"  {name}: state digest {digest}", highlight=False)
    if verify:
        result.check()
        console.print("[bold green]verified[/]: every decision equals the log")
