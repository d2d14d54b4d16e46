"""``avalist log``: how large the log is, and the removal of its oldest segments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from avalist.adapters.file import segment
from avalist.app.administer import DAY_S
from avalist.app.retain import check_archived, first_needed
from avalist.bootstrap import open_retained
from avalist.cli.merchants import seconds
from avalist.cli.options import Data, console, progress_bar
from avalist.cli.roles import wiring
from avalist.cli.status import partitions
from avalist.config import settings_from
from avalist.domain.errors import BadInput, Conflict

app = typer.Typer(help="The log: how large it is, and how long its oldest segments stay.", no_args_is_help=True)

_LOST: Final = """\
What was removed is read from the archive from now on: replay, training, look-ups and late outcomes go on as before. No
longer possible: to write the vault again from the log, for the sealed parts are gone; and 'avalist import --rebuild'.
Without the archive among the blobs the history is lost: back it up with the log."""


@app.command("show")
def show(data: Data = None) -> None:
    """Show where the log begins and ends, its size, and from where on it is needed and by what.

    Over Kafka: where each partition ends, and how far it is archived and followed.
    """
    settings = settings_from(data=data)
    if settings.log.startswith("kafka:"):
        kafka = wiring()
        with kafka.open_cluster(settings) as cluster:
            console.print(partitions(list(kafka.standings(cluster))))
        return
    with open_retained(settings) as here:
        size = sum(one.size for one in here.segments)
        console.print(
            f"log: positions {here.log.begin:,} to {here.log.end:,}\n"
            f"segments: {len(here.segments) + 1:,}, the older {len(here.segments):,} of {size / 1e6:,.1f} MB",
            highlight=False,
        )
        for what, position in here.needed.items():
            console.print(f"{what}: from position {position:,} on", highlight=False)


@app.command("retain")
def retain(
    keep: Annotated[str, typer.Argument(help="How long segments stay after they were written: 90d; a day at least")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    data: Data = None,
) -> None:
    """Remove old segments of the log that the archive holds: without it every segment stays for ever.

    A service may run meanwhile. Every record is compared with the archive before its segment is removed.
    """
    keep_s = seconds(keep, "KEEP")
    if keep_s < DAY_S:
        raise BadInput("too short for what reads the log now", field="KEEP", expected="1d or more", got=keep)
    with open_retained(settings_from(data=data)) as here:
        old = [one for one in here.segments if one.written_s < time.time() - keep_s]
        needed, what = first_needed(here.needed)
        removed = [one for one in old if one.end <= needed]
        if not removed:
            _tell_none(old, needed, what)
            return
        if not yes:
            console.print(_LOST)
            typer.confirm(f"remove {_sized(removed)}, up to position {removed[-1].end:,}?", abort=True)
        with progress_bar("comparing with the archive", removed[-1].end) as bar:
            check_archived(here.log, here.archive, removed[-1].end, bar.at)
            bar.done(removed[-1].end)
        segment.remove(here.folder, removed)
        console.print(f"removed {_sized(removed)}: the log begins at position {here.log.begin:,}", highlight=False)
        if len(old) > len(removed):
            console.print(f"{len(old) - len(removed)} old ones stay: {what} needs them", highlight=False)
        console.print(_LOST)


def _tell_none(old: Sequence[segment.Segment], needed: int, what: str) -> None:
    """Say why nothing is removed. Raises ``Conflict`` where what is old is still needed."""
    if old:
        raise Conflict(
            f"nothing is removed: {what} needs the log from position {needed:,} on, and the oldest segment ends at "
            f"{old[0].end:,}. 'avalist up' archives each 64 MiB, or once a day, and saves snapshots"
        )
    console.print("nothing is removed: no segment is so old")


def _sized(segments: Sequence[segment.Segment]) -> str:
    return f"{len(segments):,} segments of {sum(one.size for one in segments) / 1e6:,.1f} MB"
