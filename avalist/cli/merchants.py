"""``avalist merchant``: create merchants, issue keys, set the mode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer

from avalist.app.administer import (
    CreateMerchant,
    IssueKey,
    KeyId,
    ListKeys,
    RevokeKey,
    RotateKey,
    SetMode,
    Show,
)
from avalist.app.network import network_prior
from avalist.bootstrap import open_blobs
from avalist.cli.office import office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.config import Settings, settings_from
from avalist.domain.decisions import Mode
from avalist.domain.errors import BadInput
from avalist.domain.keys import ALL_SCOPES, KeyKind
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.features.own import decode_own
from avalist.history.mapping import decode_mapping
from avalist.models.prior import shipped, trained_on
from avalist.render.numbers import at

app = typer.Typer(help="Create merchants, issue keys, set the mode.", no_args_is_help=True)
SCOPE_NAMES = ", ".join(ALL_SCOPES)
_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
KeyName = Annotated[str, typer.Argument(help="The key's id, from 'avalist merchant keys'")]


@app.command()
def create(
    merchant: Merchant,
    schema: Annotated[
        Path | None, typer.Option(help="Schema (JSON) or import mapping (TOML) [default: the schema for digital goods]")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Features of its own (TOML), beside those of the schema", exists=True)
    ] = None,
    prior: Annotated[
        bool,
        typer.Option(
            help="Let the network prior decide from the start: the shipped one learnt from simulated payments"
        ),
    ] = True,
    data: Data = None,
    port: Port = None,
) -> None:
    """Create a merchant and issue its first live key."""
    declared = read_schema(schema) if schema else DIGITAL_GOODS
    own = decode_own(features.read_text()) if features else ()
    settings = settings_from(data=data, port=port)
    with office(settings) as here:
        shown = here.carry_out(CreateMerchant(merchant, declared, own, prior))
        key = here.carry_out(IssueKey(merchant, "live"))["key"]
    console.print(f"created [bold]{merchant}[/]: {shown['features']} features on plan {shown['plan']}")
    if shown["model"]:
        console.print(
            f"it decides by the network prior, trained on {_taught(settings)}, until a model of its own is better"
        )
    console.print(f"its live key, shown once: [bold]{key}[/]", soft_wrap=True)


def _taught(settings: Settings) -> str:
    """Return what the prior that merchants begin with was trained on."""
    return trained_on(network_prior(open_blobs(settings)) or shipped())


@app.command()
def key(
    merchant: Merchant,
    kind: Annotated[str, typer.Option(help="live, import, sandbox or simulation")] = "live",
    scope: Annotated[
        list[str] | None, typer.Option(help=f"Only this; again for more [default: what the kind may]: {SCOPE_NAMES}")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Requests a second [default: the service's limit]", min=1)] = None,
    lifetime: Annotated[str | None, typer.Option(help="When it ends: 30d, 12h, 90m [default: never]")] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Issue an API key and print it once. A sandbox key gets a copy of the merchant to itself, for tests."""
    chosen: Any = one_of(kind, get_args(KeyKind), "--kind")
    scopes: Any = tuple(one_of(name, ALL_SCOPES, "--scope") for name in scope or ())
    lifetime_s = None if lifetime is None else seconds(lifetime, "--lifetime")
    with office(settings_from(data=data, port=port)) as here:
        print(here.carry_out(IssueKey(merchant, chosen, scopes, rate, lifetime_s))["key"])


@app.command()
def keys(merchant: Merchant, data: Data = None, port: Port = None) -> None:
    """List a merchant's keys: id, beginning, kind, scopes, when issued, last used, ending. Never their text."""
    with office(settings_from(data=data, port=port)) as here:
        shown = here.carry_out(ListKeys(merchant))["keys"]
    for one in shown:
        console.print(
            f"{one['id']}  {one['prefix']}…  for {one['merchant']}: {', '.join(one['scopes'])}", soft_wrap=True
        )
        used, ends = _day(one["last_used_at_ms"], "never"), _day(one["expires_at_ms"], "never")
        rate = f", {one['rate_per_s']} requests a second" if one["rate_per_s"] else ""
        print(f"              issued {_day(one['issued_at_ms'], '')}, last used {used}, ends {ends}{rate}")


@app.command()
def key_rotate(
    merchant: Merchant,
    key: KeyName,
    overlap: Annotated[str, typer.Option(help="How long the old key still works: 24h, 30m, 0s")] = "24h",
    data: Data = None,
    port: Port = None,
) -> None:
    """Issue a key's successor and print it once; the old key ends after the overlap."""
    with office(settings_from(data=data, port=port)) as here:
        print(here.carry_out(RotateKey(merchant, _key_id(key), seconds(overlap, "--overlap")))["key"])


@app.command()
def key_revoke(merchant: Merchant, key: KeyName, data: Data = None, port: Port = None) -> None:
    """End a key now."""
    with office(settings_from(data=data, port=port)) as here:
        here.carry_out(RevokeKey(merchant, _key_id(key)))
    console.print(f"key {key} has ended")


@app.command()
def mode(
    merchant: Merchant,
    mode: Annotated[str, typer.Argument(help="off: nothing is scored; observe: shadow; live")],
    data: Data = None,
    port: Port = None,
) -> None:
    """Set the mode: shadow mode and kill switch in one."""
    chosen: Any = one_of(mode, get_args(Mode), "mode")
    with office(settings_from(data=data, port=port)) as here:
        _print(here.carry_out(SetMode(merchant, chosen)))


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


def seconds(text: str, field: str) -> int:
    """Return a span of time in seconds. Raises ``BadInput``.

    >>> seconds("24h", "--overlap"), seconds("0s", "--overlap")
    (86400, 0)
    """
    unit = _UNITS_S.get(text[-1:])
    if unit is None or not text[:-1].isdecimal():
        raise BadInput("not a span of time", field=field, expected="a number and d, h, m or s: 24h", got=text[:32])
    return int(text[:-1]) * unit


def _key_id(text: str) -> str:
    try:
        return msgspec.convert(text, KeyId)
    except msgspec.ValidationError:
        expected = "an id of twelve characters from 'avalist merchant keys'"
        raise BadInput("not a key's id", field="KEY", expected=expected, got=text[:16]) from None


def _day(at_ms: int | None, absent: str) -> str:
    return absent if at_ms is None else at(at_ms)


def one_of(value: str, allowed: tuple[str, ...], field: str) -> str:
    """Return the value if it is allowed. Raises ``BadInput``."""
    if value not in allowed:
        raise BadInput("no such choice", field=field, expected=" or ".join(allowed), got=value)
    return value


def _print(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        console.print(f"{name:>10}  {value}", highlight=False)
