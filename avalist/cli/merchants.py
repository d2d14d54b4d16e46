"""``avalist merchant``: create merchants, issue keys, set mode and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer

from avalist.app.administer import CreateMerchant, IssueKey, SetMode, SetPolicy, Show
from avalist.app.mapping import decode_mapping
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.config import settings_from
from avalist.domain.decisions import Mode
from avalist.domain.errors import BadInput
from avalist.domain.keys import KeyKind
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.policy.economics import Policy

app = typer.Typer(help="Create merchants, issue keys, set mode and policy.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


@app.command()
def create(
    merchant: Merchant,
    schema: Annotated[
        Path | None, typer.Option(help="Schema (JSON) or import mapping (TOML) [default: the schema for digital goods]")
    ] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Create a merchant and issue its first live key."""
    declared = read_schema(schema) if schema else DIGITAL_GOODS
    with office(settings_from(data=data, port=port)) as here:
        shown = here.carry_out(CreateMerchant(merchant, declared))
        key = here.carry_out(IssueKey(merchant, "live"))["key"]
    console.print(f"created [bold]{merchant}[/]: {shown['features']} features on plan {shown['plan']}")
    console.print(f"its live key, shown once: [bold]{key}[/]", soft_wrap=True)


@app.command()
def key(
    merchant: Merchant,
    kind: Annotated[str, typer.Option(help="live, import, sandbox or simulation")] = "live",
    data: Data = None,
    port: Port = None,
) -> None:
    """Issue an API key and print it once. Only keys that are not live may supply received_at."""
    chosen: Any = _one_of(kind, get_args(KeyKind), "--kind")
    with office(settings_from(data=data, port=port)) as here:
        print(here.carry_out(IssueKey(merchant, chosen))["key"])


@app.command()
def mode(
    merchant: Merchant,
    mode: Annotated[str, typer.Argument(help="off: nothing is scored; observe: shadow; live")],
    data: Data = None,
    port: Port = None,
) -> None:
    """Set the mode: shadow mode and kill switch in one."""
    chosen: Any = _one_of(mode, get_args(Mode), "mode")
    with office(settings_from(data=data, port=port)) as here:
        _print(here.carry_out(SetMode(merchant, chosen)))


@app.command()
def policy(merchant: Merchant, file: File, data: Data = None, port: Port = None) -> None:
    """Replace the policy: margin, chargeback cost, lifetime value, deadline, fallback (JSON)."""
    with office(settings_from(data=data, port=port)) as here:
        _print(here.carry_out(SetPolicy(merchant, msgspec.Raw(file.read_bytes()))))


@app.command()
def policy_example() -> None:
    """Print the default policy, to edit."""
    print(msgspec.json.format(msgspec.json.encode(Policy())).decode())


@app.command()
def show(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """Show mode, model, policy and how much is known."""
    with office(settings_from(data=data, port=port)) as here:
        _print(here.carry_out(Show(merchant)))


def read_schema(path: Path) -> Schema:
    """Read a schema from JSON, or from the mapping (TOML) of an import. Raises ``BadInput``."""
    text = path.read_text()
    if path.suffix == ".toml":
        return decode_mapping(text).merchant_schema()
    try:
        return msgspec.json.decode(text, type=Schema).check()
    except msgspec.DecodeError as error:
        raise BadInput(str(error), field=str(path), expected="a schema as JSON") from None


def _one_of(value: str, allowed: tuple[str, ...], field: str) -> str:
    if value not in allowed:
        raise BadInput("no such choice", field=field, expected=" or ".join(allowed), got=value)
    return value


def _print(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        console.print(f"{name:>10}  {value}", highlight=False)
