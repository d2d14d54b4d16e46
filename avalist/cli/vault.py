"""``avalist vault``: what is kept of a person in clear, its erasure, and who asked."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.vault import ERASURES, READS, Asked, Noted, by_of
from avalist.bootstrap import vault_of
from avalist.cli.options import Data, Merchant, console
from avalist.config import settings_from
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms

app = typer.Typer(
    help="What is kept of a person in clear text, sealed: read it, erase it, see who did.", no_args_is_help=True
)

ByWhat = Annotated[
    str, typer.Option("--by", help="payment_id, customer_id, email, phone, ip, device_id, or method (its fingerprint)")
]
Value = Annotated[
    str, typer.Option(help="The value in clear text; - reads it from standard input, so that no shell remembers it")
]
Why = Annotated[str, typer.Option(help="Why: it is kept with your name, such as a dispute's or a request's number")]


@app.command("read")
def read(merchant: Merchant, by: ByWhat, value: Value, why: Why, data: Data = None) -> None:
    """Print what is kept of a person, as JSON lines. Your name, the time and the reason are noted first."""
    with vault_of(settings_from(data=data), merchant) as vault:
        for shown in vault.read(merchant, _asked(by, value, why)):
            console.print(msgspec.json.encode(_dated(shown)).decode(), markup=False, soft_wrap=True, highlight=False)


@app.command("erase")
def erase(
    merchant: Merchant,
    by: ByWhat,
    value: Value,
    why: Why,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    data: Data = None,
) -> None:
    """Erase what is kept of a person, for good. Decisions stay: they hold keyed hashes, and no clear text.

    The erasure is noted with a keyed hash of the value, so that what is read from the log again stays erased.
    """
    asked = _asked(by, value, why)
    if not yes:
        typer.confirm(f"erase all that {merchant}'s vault holds by this {asked.by}?", abort=True)
    with vault_of(settings_from(data=data), merchant) as vault:
        console.print(f"erased {vault.erase(merchant, asked):,} rows")


@app.command("log")
def log(
    merchant: Merchant,
    last: Annotated[int, typer.Option(min=1, help="Show so many of the latest")] = 50,
    data: Data = None,
) -> None:
    """Show who read or erased what, when and why."""
    with vault_of(settings_from(data=data), merchant) as vault:
        noted = [(what, one) for what in (READS, ERASURES) for one in vault.noted(merchant, what)]
    newest = sorted(noted, key=lambda pair: pair[1].at_ms, reverse=True)[:last]
    console.print(_table(newest) if newest else "nobody has read or erased anything")


def _table(noted: list[tuple[str, Noted]]) -> Table:
    table = Table("when (UTC)", "", "who", "by", "rows", "why")
    for what, one in noted:
        done = "erased" if what == ERASURES else "read"
        table.add_row(f"{from_ms(one.at_ms):%Y-%m-%d %H:%M:%S}", done, one.who, one.by, str(one.rows), one.why)
    return table


def _dated(shown: Any) -> dict[str, Any]:
    """Return what is shown, its time for people."""
    whole: dict[str, Any] = msgspec.to_builtins(shown)
    return {"at": from_ms(whole.pop("at_ms")), **whole}


def _asked(by: str, value: str, why: str) -> Asked:
    clear = sys.stdin.readline().strip() if value == "-" else value
    for field, told in (("--value", clear), ("--why", why)):
        if not told.strip():
            raise BadInput("nothing is said here", field=field, expected="some text")
    return Asked(by=by_of(by), value=clear, who=getpass.getuser(), why=why, at_ms=SystemClock().now_ms())
