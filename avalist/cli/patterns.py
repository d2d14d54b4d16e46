"""``avalist features patterns``: which combinations of habits are worth columns, by a merchant's own past."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.dataset import Dataset
from avalist.app.past_waves import past_waves
from avalist.app.pattern_candidates import group_of, own_of
from avalist.app.pattern_choice import (
    BUDGET,
    MOST_TRIED,
    PatternChoice,
    Watched,
    candidates,
    choose,
    groups_of,
    left_without,
    watched_in,
)
from avalist.app.waves import watches, waves_of
from avalist.cli.options import Data, Merchant, console, progress_bar
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.domain.schema import Schema
from avalist.features.own import OwnFeature, encode_own
from avalist.history.private import write_private
from avalist.render.numbers import percent
from avalist.render.pattern_choice import gained

_STEPS: Final = 100


def patterns(
    merchant: Merchant,
    columns: Annotated[int, typer.Option(help="Columns that patterns may have together", min=0, max=200)] = BUDGET,
    tried: Annotated[int, typer.Option(help="New combinations whose columns are tried", min=0, max=20)] = MOST_TRIED,
    out: Annotated[Path | None, typer.Option(help="Write the change of the plan to this file (TOML)")] = None,
    data: Data = None,
) -> None:
    """Choose by a merchant's own past which combinations of habits are worth columns, and show the evidence.

    A pattern is the shape of a payment, an identity, a device or a session: what a wave of fraud shares when its
    identities differ. Its columns cost memory and time at every decision. This asks the log whether they pay: a model
    without them scores the later payments, and each combination's columns explain what it left. 'gain' is the share
    of the log loss that they take away, with its 90 % interval: above 0 is better. 'commonest' is the share of
    payments that carry the commonest value: honest customers collide there.

    The best combination is taken first, then what adds to it, while each gains clearly and more than its columns cost.
    The last stretch of days does not choose: it says whether the choice holds.

    It only reads: a service may run meanwhile, and nothing changes. With --out the change is written as a file for
    'avalist features add', which puts it in force. Waves are detected with or without these columns; the second table
    says what became of the payments of each pattern's waves. One whose alarms were honest is a sale, or too common.
    """
    settings = settings_from(data=data)
    choice, schema = chosen(settings, merchant, columns, tried)
    console.print(_table(choice))
    if choice.watched:
        console.print(_detected(choice))
    for line in conclusion(choice):
        console.print(line, highlight=False, soft_wrap=True)
    if out is not None:
        _write(out, merchant, choice, schema)


def chosen(
    settings: Settings, merchant: str, columns: int = BUDGET, tried: int = MOST_TRIED
) -> tuple[PatternChoice, Schema]:
    """Replay a merchant's log, try the columns of new combinations on it, and choose.

    Raises ``BadInput`` if its schema has no pattern and nothing to combine, or its history is too short.
    """
    found = replayed(settings, merchant)
    groups = groups_of(found)
    with progress_bar("judging without patterns", _STEPS) as bar:
        left = left_without(found, groups, lambda done, wanted: bar.step(done * _STEPS // wanted))
        bar.done(_STEPS)
    names = candidates(found, left, tried)
    if not names and not groups:
        raise BadInput(
            "this merchant's schema has no patterns, and no habits worth trying",
            field="schema", expected="entities such as pattern.device, bin or payee.id", got="none",
        )  # fmt: skip
    if names:
        own = [feature for name in names for feature in own_of(name, found.schema)]
        found = replayed(settings, merchant, own=own)
        groups = (*groups, *(group_of(name, found.schema, found.plan.features) for name in names))
    with console.status(f"trying {len(groups)} combinations"):
        choice = choose(found, left, groups, columns)
    return msgspec.structs.replace(choice, watched=_watched(settings, merchant, found)), found.schema


def _watched(settings: Settings, merchant: str, data: Dataset) -> tuple[Watched, ...]:
    """Return what the detector saw of each pattern; nothing where none is watched."""
    if not watches(data.schema):
        return ()
    with open_reading(settings, merchant) as archive, progress_bar("looking for waves", archive.log_end) as bar:
        _, waves = waves_of(archive.read(merchant=merchant), merchant, bar.at)
        bar.done(archive.log_end)
    return watched_in(data, waves, past_waves(data, waves))


def _table(choice: PatternChoice) -> Table:
    table = Table(box=None)
    table.add_column("combination", no_wrap=True)
    for name in ("columns", "known", "commonest", "gain"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in choice.evidence:
        there = str(one.columns) if one.in_plan else f"+{one.columns}"
        spread, verdict = one.spread, one.verdict
        cells = there, percent(spread.known), percent(spread.commonest), gained(one.gain), verdict
        table.add_row(escape(one.name), *cells)
    return table


def _detected(choice: PatternChoice) -> Table:
    table = Table(title="what the detector saw", title_justify="left", box=None)
    table.add_column("watched", no_wrap=True)
    for name in ("commonest", "waves", "told by it alone", "reported of captured"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in choice.watched:
        reported = f"{one.reported:,} of {one.captured:,}"
        table.add_row(escape(one.name), percent(one.spread.commonest), str(one.waves), str(one.alone), reported)
    return table


def conclusion(choice: PatternChoice) -> Sequence[str]:
    """Return the choice in words."""
    lines = [f"judged on {choice.payments:,} later payments, {choice.frauds:,} of them reported as fraud"]
    if choice.kept:
        what = f"{', '.join(choice.kept)}: {gained(choice.together)} on the last days, which did not choose"
        lines.append(f"worth columns, of {choice.budget} at most: {what}")
    else:
        lines.append("no combination is clearly worth columns")
    if choice.present_columns:
        lines.append(
            f"the plan's {choice.present_columns} columns of patterns together: {gained(choice.present)} there"
        )
    if choice.retired:
        lines.append(f"surely not worth theirs: {', '.join(choice.retired)}. Waves are detected without them, too")
    return lines


def _write(out: Path, merchant: str, choice: PatternChoice, schema: Schema) -> None:
    """Write the change of the plan, and say how it comes in force."""
    own = [feature for name in choice.new for feature in own_of(name, schema)]
    own += [OwnFeature(aggregate="retired", entity=name) for name in choice.retired]
    if not own:
        console.print("the plan stays as it is: no file was written")
        return
    write_private(out, encode_own(own))
    options = "".join(f" --without {name}" for name in choice.retired)
    console.print(f"wrote [bold]{escape(str(out))}[/]; next:")
    if options:  # first a model that does without what goes
        console.print(f"  [bold]avalist train {merchant}{options}[/]", soft_wrap=True)
    console.print(f"  [bold]avalist features add {merchant} {escape(str(out))}[/]", soft_wrap=True)
