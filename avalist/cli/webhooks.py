"""``avalist webhooks``: what a merchant's own systems are told, and what they did not take."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from avalist.app.webhook_office import (
    AddWebhook,
    ListDeadLetters,
    ListWebhooks,
    RemoveWebhook,
    ReplayDeadLetters,
    RotateWebhook,
)
from avalist.app.webhooks import WebhookId
from avalist.cli.merchants import one_of, seconds
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.config import settings_from
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms
from avalist.domain.webhooks import TOPICS

app = typer.Typer(
    help="Tell a merchant's own systems of waves, outcomes, models and late decisions.", no_args_is_help=True
)

Hook = Annotated[str, typer.Argument(help="The webhook's id, from 'avalist webhooks list'")]


@app.command("add")
def add(
    merchant: Merchant,
    url: Annotated[str, typer.Argument(help="Where messages are posted, such as https://shop.example/hooks")],
    topic: Annotated[
        list[str] | None, typer.Option(help=f"Only this; again for more [default: all]: {', '.join(TOPICS)}")
    ] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Add a webhook and print its signing secret once. It is told what happens from now on."""
    topics: Any = tuple(one_of(name, TOPICS, "--topic") for name in topic or ())
    with office(settings_from(data=data, port=port)) as here:
        issued = here.webhooks(AddWebhook(merchant, url, topics))
    console.print(f"added [bold]{issued['webhook']}[/]; it signs with this secret, shown once:")
    print(issued["secret"])


@app.command("list")
def list_webhooks(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """List a merchant's webhooks, and how many messages wait or are dead letters."""
    with office(settings_from(data=data, port=port)) as here:
        shown = here.webhooks(ListWebhooks(merchant))["webhooks"]
    table = Table("webhook", "url", "topics", "added (UTC)", "secrets", "waiting", "dead")
    for one in shown:
        counts = [str(one[name]) for name in ("signing", "pending", "dead")]
        table.add_row(one["id"], one["url"], ", ".join(one["topics"]), f"{from_ms(one['added_at_ms']):%F %R}", *counts)
    console.print(table if shown else "no webhooks: 'avalist webhooks add' adds one")


@app.command("rotate")
def rotate(
    merchant: Merchant,
    webhook: Hook,
    overlap: Annotated[str, typer.Option(help="How long the old secret signs too: 24h, 30m, 0s")] = "24h",
    data: Data = None,
    port: Port = None,
) -> None:
    """Give a webhook a new secret and print it once; until the overlap is over both sign."""
    with office(settings_from(data=data, port=port)) as here:
        print(here.webhooks(RotateWebhook(merchant, _id(webhook), seconds(overlap, "--overlap")))["secret"])


@app.command("remove")
def remove(merchant: Merchant, webhook: Hook, data: Data = None, port: Port = None) -> None:
    """Remove a webhook, with the messages that wait for it."""
    with office(settings_from(data=data, port=port)) as here:
        here.webhooks(RemoveWebhook(merchant, _id(webhook)))
    console.print(f"removed {webhook}")


@app.command("dead")
def dead(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """List dead letters: messages that were tried for days and not taken."""
    with office(settings_from(data=data, port=port)) as here:
        letters = here.webhooks(ListDeadLetters(merchant))["letters"]
    table = Table("letter", "topic", "about", "attempts", "why the last one failed")
    for one in letters:
        table.add_row(one["id"], one["topic"], one["subject"], str(one["attempts"]), one["failed"])
    console.print(table if letters else "no dead letters")


@app.command("replay")
def replay(
    merchant: Merchant,
    letter: Annotated[
        list[str] | None, typer.Argument(help="Letters, from 'avalist webhooks dead' [default: all]")
    ] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Send dead letters again."""
    with office(settings_from(data=data, port=port)) as here:
        answer = here.webhooks(ReplayDeadLetters(merchant, tuple(letter or ())))
    console.print(f"{answer['replayed']:,} messages are on their way again")


def _id(text: str) -> str:
    try:
        return msgspec.convert(text, WebhookId)
    except msgspec.ValidationError:
        expected = "an id from 'avalist webhooks list', such as wh_0123456789ab"
        raise BadInput("not a webhook's id", field="WEBHOOK", expected=expected, got=text[:20]) from None
