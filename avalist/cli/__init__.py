"""The command line: ``avalist --help`` teaches it."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from avalist.cli import (
    backtest,
    demo,
    documents,
    features,
    fit,
    generations,
    health,
    history,
    intel,
    learn,
    lifecycle,
    log,
    merchants,
    models,
    policy,
    prior,
    replay,
    reviews,
    run,
    serve,
    status,
    take_away,
    vault,
    waves,
    webhooks,
)
from avalist.domain.errors import AvalistError, BadInput

app = typer.Typer(
    name="avalist",
    help="Real-time payment-fraud prevention with a model of the merchant's own. Start with 'avalist demo'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(merchants.app, name="merchant")
app.add_typer(intel.app, name="intel")
app.add_typer(policy.app, name="policy")
app.add_typer(features.app, name="features")
app.add_typer(reviews.app, name="reviews")
app.add_typer(documents.app, name="documents")
app.add_typer(vault.app, name="vault")
app.add_typer(log.app, name="log")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(run.run_app, name="run")
app.add_typer(run.dead_letters_app, name="dead-letters")
app.add_typer(lifecycle.app, name="models")
app.add_typer(prior.app, name="prior")
lifecycle.app.command("export")(take_away.export_model)
lifecycle.app.command("import")(take_away.import_model)
app.command("up")(serve.up)
app.command("follow", hidden=True)(serve.follow)
app.command("learn", hidden=True)(learn.learn)
app.command("status")(status.status)
app.command("fit")(fit.fit)
app.command("report")(fit.report)
app.command("backtest")(backtest.backtest_command)
app.command("import")(history.import_file)
app.command("generations")(generations.generations)
app.command("train")(models.train)
app.command("replay")(replay.replay)
app.command("waves")(waves.waves)
app.command("health")(health.health)
app.command("simulate")(history.simulate)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; our errors print one clear line and exit with 1."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # training on a busy machine: threads that spin slow it down
    try:
        app()
    except AvalistError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        if isinstance(error, BadInput):
            for name, value in (("field", error.field), ("expected", error.expected), ("got", error.got)):
                if value:
                    console.print(f"  {name}: {value}", highlight=False, markup=False)
        sys.exit(1)
