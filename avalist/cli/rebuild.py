"""``avalist import --rebuild``: more history of a merchant that has some."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape

from avalist.app.followed import tell as tell_followed
from avalist.app.rebuild import Merged, Rebuild
from avalist.app.there import There
from avalist.bootstrap import Installation, NextGeneration, next_generation
from avalist.cli.bring_in import checked
from avalist.cli.folded import fold_all
from avalist.cli.options import console, progress_bar
from avalist.domain.errors import BadInput, Conflict
from avalist.history.mapping import Mapping
from avalist.history.source import Survey
from avalist.history.spill import RUN_ROWS


class Rebuilt(NamedTuple):
    """What a rebuild did; `generation` is None where the file told nothing new."""

    survey: Survey
    merged: Merged
    generation: int | None


def rebuild(
    here: Installation,
    merchant: str,
    file: Path,
    mapping: Mapping | None,
    *,
    until: dt.datetime | None = None,
    max_rejects: float = 0.05,
    rejects: Path | None = None,
    run_rows: int = RUN_ROWS,
) -> Rebuilt:
    """Merge a file into a merchant's log as a new generation, which counts from the next opening of the data folder on.

    Takes what ``bring_in`` takes. Close the installation then: it has the old generation open.

    Raises
    ------
    NotFound
        If there is no such merchant.
    Conflict
        If the merchant has another schema than the mapping.
    BadInput
        If too many rows are rejected or contradict what is there, or the file does not say which payments they are.
        Nothing has changed then.
    """
    _check(here, merchant, mapping)
    there = _there(here, merchant, by_content=mapping is not None)
    with (
        checked(
            here, merchant, file, mapping, there.knows_payment,
            until=until, max_rejects=max_rejects, rejects=rejects, run_rows=run_rows,
        ) as (history, survey, refused),
        next_generation(here) as begun,
    ):  # fmt: skip
        writing = Rebuild(
            here.log,
            begun.log,
            merchant,
            begun.number,
            here.secrets.merchant,
            lambda reject: refused.add([reject]),
            here.writer.load_tables,
        )
        with progress_bar(f"merging {file.name}", there.events + survey.payments + survey.outcomes) as bar:
            merged = writing.run(history.numbered(), there, bar.step)
            bar.done(merged.carried + merged.added)
        refused.stop_if_many(survey.read, max_rejects)
        if not merged.added:
            return Rebuilt(survey, merged, None)
        writing.finish(here.generation, file.name, _sha256(file), here.clock.now_ms())
        del writing, there  # they hold as much memory as the state that is folded next
        _fold(here, begun)
    return Rebuilt(survey, merged, begun.number)


def _check(here: Installation, merchant: str, mapping: Mapping | None) -> None:
    known = here.writer.merchant(merchant)
    if here.log.begin:
        raise Conflict(
            f"the log begins at position {here.log.begin:,}, for 'avalist log retain' removed what lay before: it "
            "cannot be written anew with more history"
        )
    if mapping is None:
        return
    if mapping.merchant_schema() != known.schema:
        raise Conflict(
            f"merchant {merchant!r} has another schema than this mapping: import with the mapping that made it "
            "(--mapping), or use another merchant id"
        )
    if not mapping.id_columns:
        raise BadInput(
            "without payment ids nobody can tell which rows are there already: name the column with --id",
            field="payment_id",
            expected="a column of the file",
            got="none",
        )


def _there(here: Installation, merchant: str, *, by_content: bool) -> There:
    """Return what the merchant's log holds."""
    there = There(here.log, by_content=by_content)
    with progress_bar("reading the log", here.log.end) as bar:
        for position, record in here.log.read():
            if record.merchant == merchant:
                there.take(record, position)
            bar.at(position)
        bar.done(here.log.end)
    return there


def _fold(here: Installation, begun: NextGeneration) -> None:
    """Make documents, archive and a snapshot of the new log, so that a start need not; then let it count."""
    follower = begun.follower()
    fold_all(follower, f"folding generation {begun.number}", begun.log.end)
    begun.switch()
    tell_followed(here.documents, follower.status(here.clock.now_ms()))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tell(merchant: str, done: Rebuilt, rejects: Path) -> None:
    """Print what was merged, and what comes next."""
    merged = done.merged
    if done.generation is None:
        console.print(f"nothing new: {merged.there:,} events of the file were there already, so nothing has changed")
    else:
        others = merged.added - merged.payments
        console.print(
            f"merged {merged.payments:,} payments and {others:,} other events into [bold]{merchant}[/], among "
            f"{merged.carried:,} inputs and {merged.decisions:,} decisions that were there"
        )
    if done.generation is not None and merged.there:
        console.print(f"{merged.there:,} events were there already")
    if done.survey.left_out:
        console.print(f"{done.survey.left_out:,} were left out: not yet known then")
    if rejected := done.survey.rejected + merged.refused:
        console.print(
            f"{rejected:,} rows were rejected, {merged.refused:,} of them because of what is there: "
            f"see {escape(str(rejects))}",
            soft_wrap=True,
        )
    if done.generation is not None:
        console.print(
            f"generation [bold]{done.generation}[/] counts from now on; the one before is kept: 'avalist generations'"
        )
        console.print(f"next: [bold]avalist train {merchant}[/], avalist up")
