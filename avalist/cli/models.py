"""``avalist train``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.administer import ActivateModel
from avalist.app.followed import check_parity
from avalist.app.network import network_prior
from avalist.app.train import FEWEST_FRAUDS, Training
from avalist.app.train import train as train_model
from avalist.bootstrap import (
    keep_model,
    open_batch,
    open_blobs,
    open_documents,
)
from avalist.cli.office import office
from avalist.cli.options import Data, Port, console, progress_bar
from avalist.cli.reading import merchants_in, open_reading, part_for
from avalist.config import Settings, settings_from
from avalist.domain.errors import AvalistError, BadInput
from avalist.models.artefact import Artefact
from avalist.models.metrics import APPROVAL_RATES
from avalist.models.train import TrainParams


def train(
    merchant: Annotated[str | None, typer.Argument(help="The merchant's id, such as giftshop")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every merchant, several at once, where 'batch' says")] = False,
    activate: Annotated[bool, typer.Option(help="Activate the model when it is trained")] = True,
    threads: Annotated[int, typer.Option(help="Threads for training")] = 2,
    prior: Annotated[
        bool, typer.Option(help="Let the shipped network prior decide until trees of the merchant's own are better")
    ] = True,
    trust: Annotated[float, typer.Option(min=0.0, max=0.98, help="Chance that a wave's alarm is fraud; 0: off")] = 0.5,
    without: Annotated[
        list[str] | None, typer.Option(help="Learn nothing from this entity's columns; repeatable")
    ] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Train a model on the merchant's own payments and fraud reports, and activate it by an event.

    While frauds are few the network prior decides, at the merchant's own level. Its own trees take over when they have
    been better on later payments.

    Refused while parity is broken: 'avalist status' shows it.
    """
    settings = settings_from(data=data, port=port)
    params = TrainParams(test_share=0.0, num_threads=threads, trust=trust)
    training = Training(
        params=params, prior=prior, network=network_prior(open_blobs(settings)), without=tuple(without or ())
    )
    if every is (merchant is not None):
        raise BadInput("name a merchant, or all of them", field="MERCHANT", expected="one of MERCHANT and --all")
    if merchant is not None:
        _activated(settings, {merchant: trained(settings, training, merchant, show=True)}, activate)
        return
    merchants = merchants_in(settings)
    made: dict[str, Artefact] = {}
    with progress_bar("training", len(merchants)) as bar:
        results = open_batch(settings).map(partial(trained, settings, training), merchants)
        for count, (one, result) in enumerate(zip(merchants, results, strict=True), 1):
            bar.step(count)
            if isinstance(result, AvalistError):
                console.print(f"[yellow]{one}[/]: {escape(str(result))}", soft_wrap=True)
            else:
                made[one] = result
    _activated(settings, made, activate)
    console.print(f"trained {len(made)} of {len(merchants)} merchants")


def trained(settings: Settings, training: Training, merchant: str, *, show: bool = False) -> Artefact:
    """Train a merchant's model and store it; on its own, in any process. `show` tells of it at length."""
    with closing(open_documents(settings)) as documents:
        check_parity(documents, merchant, part_for(settings, merchant))
    with (
        open_reading(settings, merchant) as archive,
        progress_bar("replaying the log, training", archive.log_end, show=show) as bar,
    ):
        read = partial(archive.read, merchant=merchant)
        artefact = train_model(read, merchant, training, replayed=bar.at)
        bar.done(archive.log_end)
    keep_model(open_blobs(settings), merchant, artefact)
    if show:
        show_report(merchant, artefact)
    return artefact


def _activated(settings: Settings, made: Mapping[str, Artefact], activate: bool) -> None:
    if not activate or not made:
        return
    with office(settings) as here:
        for merchant, artefact in made.items():
            here.carry_out(ActivateModel(merchant, artefact.version, artefact.plan_hash))
            console.print(f"model [bold]{artefact.version}[/] of {merchant} is active from the next decision on")


def show_report(merchant: str, artefact: Artefact) -> None:
    """Print how a model like this one did on payments that came after its training."""
    table = Table(title=f"{merchant}: model {artefact.version}")
    own = artefact.trained != "brought"
    table.add_column(
        "on later payments, as first trained without them" if own else "on the payments that calibrated it"
    )
    table.add_column("value", justify="right")
    table.add_column("90 % interval", justify="right")
    judged = artefact.report
    rows = artefact.data
    for level in artefact.off:
        console.print(
            f"[bold yellow]the level is off[/]: of payments {level.low:g} to {level.high:g} days old "
            f"{level.observed:.0f} frauds are reported, {level.expected:.0f} were expected by now. Does report_delay_d "
            "fit, or has fraud changed? 'avalist report' shows more."
        )
    if artefact.trained == "prior":
        console.print(_by_the_prior(artefact), highlight=False)
    if judged is None:
        learnt = "at the level of" if artefact.trained == "prior" else "trained on"
        console.print(f"{learnt} {rows.rows:,} payments, {rows.frauds:,} frauds; too few to grade on a later slice")
        return
    intervals = {
        "average precision": judged.average_precision,
        "ROC AUC": judged.roc_auc,
        "observed / expected fraud": judged.observed_expected,
        **{
            f"fraud value stopped at {rate:.0%} approval": recall
            for rate, recall in zip(APPROVAL_RATES, judged.value_recall, strict=True)
        },
    }
    table.add_row("prevalence (a blind scorer's average precision)", f"{judged.prevalence:.4f}", "")
    for name, interval in intervals.items():
        table.add_row(name, f"{interval.value:.4f}", f"{interval.low:.4f} – {interval.high:.4f}")
    learnt = f"trained on {rows.rows:,} payments, {rows.frauds:,} frauds" if own else "trained elsewhere"
    table.caption = f"{learnt}; graded on {judged.rows:,}"
    console.print(table)


def _by_the_prior(artefact: Artefact) -> str:
    """Return why the prior decides, and at what level."""
    said, frauds = artefact.prior, artefact.data.frauds
    assert said is not None, "it is a prior's"
    few = f"{frauds} frauds are reported, and a model of its own needs {FEWEST_FRAUDS} at least"
    why = few if frauds < FEWEST_FRAUDS else "trees of its own were not better on later payments"
    return (
        f"[bold yellow]the network prior decides[/] (trained on {said.trained_on}): {why}. Its odds are multiplied by "
        f"{said.theta:.2f}: {said.observed:.0f} frauds are reported, it expected {said.expected:.1f} by now."
    )
