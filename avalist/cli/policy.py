"""``avalist policy``: show a policy, preview another, set it, solve its budgets, see the frontier, go back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
import typer
from rich.table import Table

from avalist.app.administer import SetPolicy, SetSolved
from avalist.app.dataset import Dataset
from avalist.app.merchant import decode_control
from avalist.app.solve import DAYS, Frontier, Preview, frontier, preview, solve_budgets
from avalist.app.spent import ledger
from avalist.bootstrap import load_model, open_blobs
from avalist.cli.office import Office, office
from avalist.cli.options import Data, Merchant, Port, console
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed
from avalist.config import Settings, settings_from
from avalist.domain.core import MerchantCreated, PolicySet, Solved
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.models.score import Model
from avalist.policy.budgets import Expected, held
from avalist.policy.choose import UNSOLVED, Desk
from avalist.policy.economics import PRESETS, Budgets, Policy, decode_policy, policy_version
from avalist.render import html_page
from avalist.render.numbers import NOTHING, at, count, day, money, percent
from avalist.render.offer import frontier_page, not_held
from avalist.render.spent import tables_of

app = typer.Typer(help="Show, preview, set and switch back a merchant's policy.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The policy, JSON")]
Preset = Annotated[str, typer.Argument(help="protect: few chargebacks; balance; grow: what earns most")]
PolicyOrPreset = Annotated[str, typer.Argument(help=f"A policy (JSON file), or a preset: {', '.join(PRESETS)}")]
Days = Annotated[float, typer.Option(help="Days to look back on", min=1.0, max=180.0)]
Solve = Annotated[bool, typer.Option("--solve/--no-solve", help="Solve its budgets at once")]
_HEAD: Final = "", "not declined", "chargebacks, bps by count", "by value", "expected profit"
_NO_MODEL: Final = "there is no active model to judge a policy by: 'avalist train {merchant}' makes one"


class Change(NamedTuple):
    """A policy that was set, or budgets that were solved, at a ``seq``. Money is in minor units of `currency`.

    The first is the merchant itself, with the default policy.
    """

    seq: int
    at_ms: int
    policy: Policy
    solved: Solved | None
    currency: str


@app.command()
def example() -> None:
    """Print the default policy, to edit."""
    print(msgspec.json.format(msgspec.json.encode(Policy())).decode())


@app.command()
def show(
    merchant: Merchant,
    spent: Annotated[bool, typer.Option("--spent/--no-spent", help="Replay the log for what was spent")] = True,
    days: Days = DAYS,
    data: Data = None,
) -> None:
    """Show the policy as JSON, its version, what its budgets were solved to, and what was spent of them.

    That is: approved payments against the budgets, what exploration cost month by month, and chargebacks by card scheme
    beside where its monitoring programme begins. It only reads.
    """
    settings = settings_from(data=data)
    changes = changes_of(settings, merchant)
    desk, currency = Desk(Policy()), changes[0].currency
    for change in changes:
        desk = Desk(desk.policy, change.solved) if change.solved else desk.under(change.policy)
    print(msgspec.json.format(msgspec.json.encode(desk.policy)).decode())
    console.print(f"version [bold]{desk.version}[/]; 1000 minor units are {money(1000, currency)}", highlight=False)
    if desk.solved is not UNSOLVED:
        console.print(_solution(desk.policy, desk.solved, currency), highlight=False, soft_wrap=True)
    elif desk.policy.to_solve:
        console.print(f"its budgets are not solved yet: [bold]avalist policy solve {merchant}[/]")
    if spent:
        found = replayed(settings, merchant)
        if found.background.model and len(found.t_ms):
            _print_spent(found, _model(settings, merchant, found), days)


@app.command("set")
def set_policy(merchant: Merchant, file: File, solve: Solve = True, data: Data = None, port: Port = None) -> None:
    """Replace the policy, by one event, and solve its budgets. 'policy preview' says before what would change."""
    _switch(settings_from(data=data, port=port), merchant, decode_policy(file.read_bytes()), solve)


@app.command()
def preset(merchant: Merchant, name: Preset, solve: Solve = True, data: Data = None, port: Port = None) -> None:
    """Set the budgets of a preset, and leave the rest of the policy as it is."""
    settings = settings_from(data=data, port=port)
    _switch(settings, merchant, _preset(_current(settings, merchant), name), solve)


@app.command("solve")
def solve_again(merchant: Merchant, days: Days = DAYS, data: Data = None, port: Port = None) -> None:
    """Solve the budgets again by what is known now: labels mature. Once a day is usual."""
    settings = settings_from(data=data, port=port)
    found, model = _with_model(settings, merchant)
    with office(settings) as here:
        solved = solve_budgets(found, model, days=days)
        _set_solved(here, merchant, found.background.policy, solved, found.schema.base_currency)
    _print_spent(found, model, days)


@app.command("preview")
def show_preview(merchant: Merchant, policy: PolicyOrPreset, days: Days = DAYS, data: Data = None) -> None:
    """Say what another policy would have changed on the last days, in money. Nothing is set; it only reads."""
    settings, path = settings_from(data=data), Path(policy)
    new = decode_policy(path.read_bytes()) if path.is_file() else _preset(_current(settings, merchant), policy)
    found, model = _with_model(settings, merchant)
    background, currency = found.background, found.schema.base_currency
    old, solved = Desk(background.policy, background.solved), solve_budgets(found, model, new, days)
    _print_preview(preview(found, model, old, Desk(new, solved), days), currency)
    if new.to_solve:
        console.print(f"the new policy: {_solution(new, solved, currency)}", highlight=False, soft_wrap=True)
    _warn_of(new, solved)


@app.command("frontier")
def show_frontier(
    merchant: Merchant,
    days: Days = DAYS,
    out: Annotated[Path | None, typer.Option(help="Write the plot to this file (HTML)")] = None,
    data: Data = None,
) -> None:
    """Show what may be chosen between: approval against chargebacks against profit, on the last days. It only reads."""
    found, model = _with_model(settings_from(data=data), merchant)
    made, currency = frontier(found, model, days), found.schema.base_currency
    _print_frontier(made, currency)
    if out is not None:
        out.write_text(html_page(frontier_page(made, merchant, currency)), encoding="utf-8")
        console.print(f"the plot: [bold]{out}[/]", soft_wrap=True)


@app.command()
def history(merchant: Merchant, data: Data = None) -> None:
    """List the policies that were set and the budgets that were solved, oldest first. It only reads."""
    table = Table("seq", "at", "version", "what")
    desk = Desk(Policy())
    for change in changes_of(settings_from(data=data), merchant):
        desk = Desk(desk.policy, change.solved) if change.solved else desk.under(change.policy)
        solved = _solution(change.policy, change.solved, change.currency) if change.solved else ""
        what = solved or _in_short(change.policy)
        table.add_row(str(change.seq), _at(change.at_ms), desk.version, what)
    console.print(table)


@app.command()
def switch_back(merchant: Merchant, solve: Solve = True, data: Data = None, port: Port = None) -> None:
    """Set the policy before the present one again. Twice is where it was."""
    settings = settings_from(data=data, port=port)
    policies = [change.policy for change in changes_of(settings, merchant) if change.solved is None]
    before = next((p for p in reversed(policies) if p != policies[-1]), None)
    if before is None:
        raise BadInput(
            "there is no other policy to go back to",
            field="MERCHANT",
            expected="a policy set before: 'avalist policy history' lists them",
        )
    _switch(settings, merchant, before, solve)


def changes_of(settings: Settings, merchant: str) -> list[Change]:
    """Return the merchant with the default policy, the policies that were set and the solutions, in order.

    Raises ``NotFound``.
    """
    with open_reading(settings, merchant) as archive:
        found = list(_changes(archive.read(merchant=merchant, kind=RecordKind.CONTROL)))
    if not found:
        raise NotFound(f"no merchant {merchant!r} in the log")
    return found


def _changes(records: Iterator[tuple[int, Record]]) -> Iterator[Change]:
    policy, currency, begun = Policy(), "", False
    for _, record in records:
        match decode_control(record.core):
            case MerchantCreated(schema=schema):
                currency = schema.base_currency
                if not begun:
                    yield Change(record.seq, record.received_at_ms, policy, None, currency)
                begun = True
            case PolicySet(policy=body):
                policy = decode_policy(body)
                yield Change(record.seq, record.received_at_ms, policy, None, currency)
            case Solved() as solved:
                yield Change(record.seq, record.received_at_ms, policy, solved, currency)


def _current(settings: Settings, merchant: str) -> Policy:
    return changes_of(settings, merchant)[-1].policy


def _preset(policy: Policy, name: str) -> Policy:
    if name not in PRESETS:
        raise BadInput("no such preset, nor a file", field="POLICY", expected=" or ".join(PRESETS), got=name[:64])
    return msgspec.structs.replace(policy, budgets=PRESETS[name])


def _with_model(settings: Settings, merchant: str) -> tuple[Dataset, Model]:
    found = replayed(settings, merchant)
    if not found.background.model:
        raise BadInput(_NO_MODEL.format(merchant=merchant), field="MERCHANT", expected="an active model", got="none")
    return found, _model(settings, merchant, found)


def _model(settings: Settings, merchant: str, found: Dataset) -> Model:
    return load_model(open_blobs(settings), merchant, found.background.model)


def _switch(settings: Settings, merchant: str, policy: Policy, solve: bool) -> None:
    """Set a policy; where it has something to solve, solve that first: a failure leaves all as it was."""
    solved = _solved_first(settings, merchant, policy) if solve and policy.to_solve else None
    with office(settings) as here:
        here.carry_out(SetPolicy(merchant, msgspec.Raw(msgspec.json.encode(policy))))
        console.print(f"policy [bold]{policy_version(policy)}[/] decides from now on", highlight=False)
        if solved is not None:
            _set_solved(here, merchant, policy, *solved)
    console.print(f"to go back: [bold]avalist policy switch-back {merchant}[/]")


def _solved_first(settings: Settings, merchant: str, policy: Policy) -> tuple[Solved, str] | None:
    """Solve a policy's budgets, and tell the currency; None, with a word, where no model scores yet and nothing is
    decided either.
    """
    found = replayed(settings, merchant)
    if not found.background.model:
        console.print(f"no model is active: train one, then [bold]avalist policy solve {merchant}[/]")
        return None
    return solve_budgets(found, _model(settings, merchant, found), policy), found.schema.base_currency


def _set_solved(here: Office, merchant: str, policy: Policy, solved: Solved, currency: str) -> None:
    here.carry_out(SetSolved(merchant, solved))
    console.print(_solution(policy, solved, currency), highlight=False, soft_wrap=True)
    _warn_of(policy, solved)


def _warn_of(policy: Policy, solved: Solved) -> None:
    if not held(policy.budgets, solved.expected_count_bps, solved.expected_value_bps):
        console.print(
            "[bold]the budget cannot be held[/]: that much fraud looks like honest payments; it is kept as low as its "
            "price_cap allows",
            soft_wrap=True,
        )


def _solution(policy: Policy, solved: Solved, currency: str) -> str:
    parts = [f"expected {solved.expected_count_bps:.1f} bps by count, {solved.expected_value_bps:.1f} bps by value"]
    if policy.budgets != Budgets():
        dearer = [money(solved.count_minor, currency)] if solved.count_minor else []
        dearer += [f"{solved.value:.2f} × its amount"] if solved.value else []
        parts.append(f"a chargeback counts {' + '.join(dearer)} dearer" if dearer else "the budgets hold by themselves")
    if solved.review_minor:
        parts.append(f"a review counts {money(solved.review_minor, currency)} dearer")
    if policy.exploration.on:
        parts.append(f"exploring at {percent(solved.explore_share)} of the wanted rate")
    return "; ".join(parts)


def _print_spent(found: Dataset, model: Model, days: float) -> None:
    for one in tables_of(ledger(found, model.artefact, days), found.schema.base_currency):
        table = Table(*one.head, title=one.caption, title_justify="left", box=None)
        for row in one.rows:
            table.add_row(*row)
        console.print(table)


def _at(ms: int) -> str:
    """Return a time; nothing for that of a merchant who was made before its history came in."""
    return at(ms) if ms else NOTHING


def _in_short(policy: Policy) -> str:
    """Say what of a policy is not as by default: ``margin 0.06, budgets.value_bps 40``."""
    return ", ".join(_others("", msgspec.to_builtins(policy), msgspec.to_builtins(Policy()))) or "the default"


def _others(name: str, said: object, usual: object) -> Iterator[str]:
    if isinstance(said, dict) and isinstance(usual, dict):
        for key, value in said.items():
            yield from _others(f"{name}.{key}" if name else key, value, usual.get(key))
    elif said != usual:
        yield f"{name} {_plain(said)}"


def _plain(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _row(name: str, found: Expected, currency: str) -> tuple[str, ...]:
    return (
        name,
        percent(found.approval_rate),
        f"{found.count_bps:.1f}",
        f"{found.value_bps:.1f}",
        money(found.profit_minor, currency),
    )


def _print_frontier(made: Frontier, currency: str) -> None:
    table = Table(*_HEAD, title=f"{count(made.payments)} payments of {made.days:.0f} days")
    table.add_row(*_row("approve all", made.approve_all, currency))
    for name, found in made.presets.items():
        table.add_row(*_row(name, found, currency))
    table.add_row(*_row("the policy now", made.now, currency), style="bold")
    console.print(table)
    for words in not_held(made):
        console.print(words, highlight=False, soft_wrap=True)
    if made.decided < 1.0:
        console.print(
            f"{percent(1.0 - made.decided)} of these payments were never decided: the active model's word on them "
            "flatters it, for it learnt from some of them",
            soft_wrap=True,
        )


def _print_preview(made: Preview, currency: str) -> None:
    table = Table(*_HEAD, title=f"{count(made.payments)} payments, {day(made.from_ms)} on")
    table.add_row(*_row("the policy now", made.old, currency))
    table.add_row(*_row("the new policy", made.new, currency), style="bold")
    console.print(table)
    for change in made.changes:
        console.print(
            f"{change.was} → {change.becomes}: {count(change.payments)} payments of "
            f"{money(change.amount_minor, currency)}, expected to earn {_more(change.profit_minor, currency)}; "
            f"{change.reported} of them are reported as fraud so far",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if not made.changes:
        console.print("no payment of these days would go otherwise")
        return
    gained = made.new.profit_minor - made.old.profit_minor
    console.print(f"altogether [bold]{_more(gained, currency)}[/] than the policy now", highlight=False)


def _more(minor: float, currency: str) -> str:
    return f"{money(abs(minor), currency)} {'less' if minor < 0 else 'more'}"
