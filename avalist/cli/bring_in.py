"""Bring a file into an installation: understand it, check all of it, record it in known-time order."""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.prompt import Prompt
from rich.table import Table

from avalist.app.administer import CreateMerchant
from avalist.app.bring_in import remaining
from avalist.bootstrap import Installation
from avalist.cli.history import record_all
from avalist.cli.options import console, progress_bar
from avalist.domain.errors import Conflict
from avalist.domain.events import from_ms
from avalist.domain.schema import Schema
from avalist.history.eventfile import EventHistory, schema_of_events
from avalist.history.mapping import Mapping
from avalist.history.rejects import Rejects, printable
from avalist.history.rowfile import RowHistory
from avalist.history.source import History, Survey
from avalist.history.spill import RUN_ROWS
from avalist.history.understanding.proposal import Proposal, Question
from avalist.history.understanding.propose import propose

_RUNS = "importing"


def understand(file: Path, answers: dict[str, str], *, assume: bool = False) -> Proposal:
    """Propose a mapping and show it; ask what is open where somebody sits at the terminal.

    To `assume` takes what is proposed where a question is not needed. Raises ``BadInput`` naming the option that
    answers a question, where nobody does.
    """
    somebody = sys.stdin.isatty()
    proposal, asked = propose(file, answers), False
    show_proposal(proposal, questions=assume or not somebody)
    while somebody and (question := proposal.open(assume=assume)) and question.choices:
        answers[question.about] = _asked(question)
        proposal, asked = propose(file, answers), True
    if asked:
        show_proposal(proposal)
    return proposal.ready(assume=assume)


def _asked(question: Question) -> str:
    """Ask until one of the choices is given; Enter takes what is proposed."""
    console.print()
    default: Any = question.proposed or ...
    return Prompt.ask(escape(question.text), console=console, choices=[*question.choices], default=default)


def show_proposal(proposal: Proposal, *, questions: bool = True) -> None:
    """Print what a file was understood to be, column by column; the `questions` too where nobody is there to answer."""
    table = Table("column", "is taken for", "because", "such as", title=escape(proposal.file), title_justify="left")
    for reason in proposal.reasons:
        style = "dim" if reason.role == "ignored" else ""
        table.add_row(
            *map(escape, [printable(cell) for cell in (reason.column, reason.role, reason.why, reason.sample)]),
            style=style,
        )
    if proposal.reasons:
        console.print(table)
    for note in proposal.notes:
        console.print(f"- {printable(note)}", markup=False, highlight=False)
    for question in proposal.questions * questions:
        console.print(f"? {printable(question.text)} ({question.option})", markup=False, highlight=False)


def beside(file: Path, ending: str) -> Path:
    """Return ``FILE.ending``: next to the file, or here where its folder takes no files."""
    folder = file.parent if os.access(file.parent, os.W_OK) else Path()
    return folder / f"{file.name}.{ending}"


class Brought(NamedTuple):
    """What an import did: the file's survey, and what of it was recorded now."""

    survey: Survey
    payments: int
    others: int


def bring_in(
    here: Installation,
    merchant: str,
    file: Path,
    mapping: Mapping | None,
    *,
    until: dt.datetime | None = None,
    max_rejects: float = 0.05,
    rejects: Path | None = None,
    run_rows: int = RUN_ROWS,
) -> Brought:
    """Check all of a file, create the merchant if need be, and record it in known-time order.

    Parameters
    ----------
    here, merchant, file
        Where to, whose, and from where.
    mapping
        What the columns mean; None for a file of our own events.
    until
        What was known at this time or later is left out; the clock's time by default.
    max_rejects
        Largest share of rows that may be rejected.
    rejects
        Where rejected rows go; ``FILE.rejects.csv`` by default.
    run_rows
        So many rows are sorted in memory at a time.

    Raises
    ------
    BadInput
        Before anything is recorded: if too many rows are rejected, or the mapping does not fit the file.
    Conflict
        If the merchant has another schema, or other history than the beginning of this file's.
    """
    known = here.writer.merchants.get(merchant)
    knows = known.knows_payment if known is not None else lambda payment_id: False
    with checked(
        here, merchant, file, mapping, knows, until=until, max_rejects=max_rejects, rejects=rejects, run_rows=run_rows
    ) as (history, survey, _):
        _create(here, merchant, _schema(here, merchant, file, mapping))
        events = itertools.chain.from_iterable(remaining(here.writer, merchant, history))
        with progress_bar(f"importing {file.name}", survey.payments) as bar:
            recorded, payments = record_all(here, merchant, events, bar)
    return Brought(survey, payments, recorded - payments)


class Checked(NamedTuple):
    """A file that was read through: what it tells, what was found, and where rows go that are refused."""

    history: History
    survey: Survey
    refused: Rejects


@contextmanager
def checked(
    here: Installation,
    merchant: str,
    file: Path,
    mapping: Mapping | None,
    knows: Callable[[str], bool],
    *,
    until: dt.datetime | None,
    max_rejects: float,
    rejects: Path | None,
    run_rows: int,
) -> Iterator[Checked]:
    """Check all of a file for :func:`bring_in`, and remove what it sorts; `knows` tells whether a payment is there."""
    folder = here.settings.data / _RUNS
    shutil.rmtree(folder, ignore_errors=True)  # an import that was killed leaves clear data behind
    until = until or from_ms(here.clock.now_ms())
    until = until if until.tzinfo else until.replace(tzinfo=dt.UTC)
    gc.disable()  # nothing here makes cycles, and looking for them takes a tenth of the time
    try:
        history = _history(here, merchant, file, mapping, knows, folder, until, run_rows)
        with Rejects(rejects or beside(file, "rejects.csv")) as refused:
            with progress_bar(f"checking {file.name}", None) as bar:
                survey = history.survey(refused, bar.at)
                bar.done(survey.read)
            refused.stop_if_many(survey.read, max_rejects)
            yield Checked(history, survey, refused)
    finally:
        gc.enable()
        shutil.rmtree(folder, ignore_errors=True)


def _history(
    here: Installation,
    merchant: str,
    file: Path,
    mapping: Mapping | None,
    knows: Callable[[str], bool],
    folder: Path,
    until: dt.datetime,
    run_rows: int,
) -> History:
    schema = _schema(here, merchant, file, mapping)
    if mapping is not None:
        return RowHistory(file, mapping, schema, here.secrets.merchant(merchant), folder, until, run_rows)
    return EventHistory(file, schema, folder, until, knows, run_rows)


def _schema(here: Installation, merchant: str, file: Path, mapping: Mapping | None) -> Schema:
    """Return the mapping's schema; for events the merchant's own, or one in the currency of the file."""
    if mapping is not None:
        return mapping.merchant_schema()
    known = here.writer.merchants.get(merchant)
    return known.schema if known else schema_of_events(file)


def _create(here: Installation, merchant: str, schema: Schema) -> None:
    """Create a merchant unless it exists with this very schema. Raises ``Conflict`` if it has another."""
    known = here.writer.merchants.get(merchant)
    if known is None:
        here.administration.carry_out(CreateMerchant(merchant, schema), 0)
        console.print(f"created [bold]{merchant}[/] with the mapping's schema")
    elif known.schema != schema:
        raise Conflict(f"merchant {merchant!r} has another schema than this mapping: use another merchant id")


def tell(merchant: str, done: Brought, rejects: Path) -> None:
    """Print what was imported, and what comes next."""
    survey = done.survey
    console.print(f"imported {done.payments:,} payments and {done.others:,} outcomes of [bold]{merchant}[/]")
    before = survey.payments - done.payments
    if before:
        console.print(f"{before:,} payments were there already")
    if survey.left_out:
        console.print(f"{survey.left_out:,} were left out: not yet known then")
    for kind, count in survey.skipped.items():
        console.print(f"{count:,} rows were skipped, being no payments: {kind}", markup=False, highlight=False)
    for reason, count in survey.dropped.items():
        console.print(f"{count:,} cells were left out of their payments: {reason}", markup=False, highlight=False)
    if survey.rejected:
        console.print(f"{survey.rejected:,} rows were rejected: see {escape(str(rejects))}", soft_wrap=True)
    console.print(f"next: [bold]avalist train {merchant}[/], [bold]avalist merchant key {merchant}[/], avalist up")
