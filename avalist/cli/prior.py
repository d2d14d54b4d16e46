"""``avalist prior``: a network prior over merchants that consent."""

from __future__ import annotations

from typing import Annotated

import typer

from avalist.app.administer import SetPriorConsent
from avalist.app.lineage import lineage
from avalist.app.network import keep_prior, network_prior, train_prior
from avalist.bootstrap import open_blobs
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed as replay_of
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.models.prior import shipped, trained_on

app = typer.Typer(
    help="A prior that merchants without labels begin with: the shipped one, or one over merchants that consent.",
    no_args_is_help=True,
)


@app.command("show")
def show(data: Data = None) -> None:
    """Show which prior merchants begin with, and what it was trained on. It only reads."""
    prior = network_prior(open_blobs(settings_from(data=data))) or shipped()
    console.print(f"prior [bold]{prior.version}[/], trained on {trained_on(prior)}", highlight=False)


@app.command("consent")
def consent(
    merchant: Merchant,
    withdraw: Annotated[
        bool, typer.Option(help="Take the consent back; priors trained before keep what they learnt")
    ] = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Say in the merchant's log that its payments may teach a prior that other merchants of this installation use."""
    with office(settings_from(data=data, port=port)) as here:
        here.carry_out(SetPriorConsent(merchant, not withdraw))
    console.print(f"{merchant} {'teaches no' if withdraw else 'may teach a'} network prior from here on")


@app.command("train")
def train(
    merchants: Annotated[str, typer.Option(help="Ids of merchants that consented, with commas between")],
    data: Data = None,
) -> None:
    """Train a prior over merchants that consented: new ones begin with it, others meet it at their next training."""
    settings = settings_from(data=data)
    ids = list(dict.fromkeys(id.strip() for id in merchants.split(",") if id.strip()))
    _check_consent(settings, ids)
    prior = train_prior({id: replay_of(settings, id) for id in ids})
    keep_prior(open_blobs(settings), prior)
    console.print(f"prior [bold]{prior.version}[/], trained on {trained_on(prior)}, is the network's", highlight=False)


@app.command("reset")
def reset(data: Data = None) -> None:
    """Go back to the prior that comes with the package, for merchants and trainings to come."""
    keep_prior(open_blobs(settings_from(data=data)), None)
    console.print(f"prior [bold]{shipped().version}[/], trained on {trained_on(shipped())}, is the network's")


def _check_consent(settings: Settings, merchants: list[str]) -> None:
    """Raise ``BadInput`` unless each merchant's log says that it consents."""
    silent = [id for id in merchants if not _teaches(settings, id)]
    if silent:
        raise BadInput(
            "these merchants have not consented: 'avalist prior consent' says so in their log",
            field="--merchants", expected="merchants that consented", got=", ".join(silent),
        )  # fmt: skip


def _teaches(settings: Settings, merchant: str) -> bool:
    with open_reading(settings, merchant) as archive:
        return lineage(archive.read(merchant=merchant), merchant)[0].teaches
