"""``avalist replay``: every decision made again, of one merchant here, of many several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.markup import escape

from avalist.app.archive import Archive
from avalist.app.replay import Replayed
from avalist.app.replay import replay as replay_log
from avalist.bootstrap import load_model, open_archive, open_batch, open_blobs, open_derived, open_log
from avalist.cli.options import Data, console, progress_bar
from avalist.cli.reading import open_reading
from avalist.cli.roles import wiring
from avalist.config import Settings, settings_from
from avalist.domain.errors import AvalistError, BadInput
from avalist.domain.records import Record


class _Noted(msgspec.Struct, frozen=True):
    """A line of the notes: a merchant that was replayed up to a position of the log; None over Kafka."""

    merchant: str
    stop: int | None
    found: Replayed


_LINE = msgspec.json.Decoder(_Noted)


def replay(
    merchant: Annotated[str | None, typer.Argument(help="One merchant [default: all]")] = None,
    verify: Annotated[bool, typer.Option(help="Fail if a replayed decision differs from the logged one")] = False,
    notes: Annotated[
        Path | None, typer.Option(help="Note finished merchants there, and leave out those that stand there already")
    ] = None,
    data: Data = None,
) -> None:
    """Run the log again through the same kernel and decide(); --verify compares every decision byte by byte.

    One merchant, or an installation with one, is read from the log in this process. Of several each is read from the
    archive and the log's tail, some at once, where the setting 'batch' says. With --notes a long replay that was
    stopped goes on with the merchants that it had not finished.
    """
    settings = settings_from(data=data)
    merchants, stop = ([merchant], 0) if merchant is not None else _merchants(settings)
    if len(merchants) != 1:
        result = _replay_each(settings, merchants, stop, notes)
    elif notes is not None:
        raise BadInput("one merchant is replayed at a stretch", field="--notes", expected="nothing", got=str(notes))
    elif settings.log.startswith("kafka:"):
        result = _replayed(settings, None, merchants[0])
    else:
        result = _replay_here(settings, merchant)
    console.print(f"{result.inputs:,} inputs, {result.decisions:,} decisions made again, {result.different:,} differ")
    if result.carried:
        console.print(f"{result.carried:,} first answers of earlier generations are kept, and not made again")
    for name, digest in result.digests.items():
        console.print(f"  {name}: state digest {digest}", highlight=False)
    if verify:
        result.check()
        console.print("[bold green]verified[/]: every decision equals the log")


def _merchants(settings: Settings) -> tuple[list[str], int | None]:
    """Return everybody in the log, and where it ends now; over Kafka each partition ends elsewhere."""
    if settings.log.startswith("kafka:"):
        with wiring().open_cluster(settings) as cluster:
            return cluster.merchants(), None
    with closing(open_log(settings, readonly=True)) as log:
        return open_archive(open_derived(settings, open_blobs(settings)), log).merchants(), log.end


def _replay_here(settings: Settings, merchant: str | None) -> Replayed:
    with closing(open_log(settings, readonly=True)) as log, progress_bar("replaying", log.end) as bar:
        result = replay_log(log, partial(load_model, open_blobs(settings)), merchant=merchant, progress=bar.at)
        bar.done(log.end)
    return result


def _replay_each(settings: Settings, merchants: Sequence[str], stop: int | None, notes: Path | None) -> Replayed:
    """Replay merchants where the setting says, all up to one position; raise the first error once all were tried."""
    result, failed = Replayed(), list[AvalistError]()
    finished = {noted.merchant: noted for noted in _noted(notes)}
    stop = next(iter(finished.values())).stop if finished else stop
    for noted in finished.values():
        result.add(noted.found)
    left = [one for one in merchants if one not in finished]
    with progress_bar("replaying merchants", len(merchants)) as bar:
        found = open_batch(settings).map(partial(_replayed, settings, stop), left)
        for count, (one, replayed) in enumerate(zip(left, found, strict=True), len(finished) + 1):
            bar.step(count)
            if isinstance(replayed, AvalistError):
                console.print(f"[yellow]{one}[/]: {escape(str(replayed))}", soft_wrap=True)
                failed.append(replayed)
                continue
            result.add(replayed)
            if notes is not None:
                _note(notes, _Noted(one, stop, replayed))
    if failed:
        raise failed[0]
    return result


def _replayed(settings: Settings, stop: int | None, merchant: str) -> Replayed:
    """Replay one merchant from its archive, in any process."""
    with open_reading(settings, merchant) as archive:
        return replay_log(_Past(archive, merchant), partial(load_model, open_blobs(settings)), stop=stop)


class _Past(NamedTuple):
    """One merchant's records."""

    archive: Archive
    merchant: str

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        return self.archive.read(start, stop, self.merchant)


def _noted(notes: Path | None) -> Iterator[_Noted]:
    """Yield what was noted. Raises ``BadInput`` for a file that is something else."""
    if notes is None or not notes.exists():
        return
    for line in notes.read_bytes().splitlines():
        try:
            yield _LINE.decode(line)
        except msgspec.MsgspecError as error:
            raise BadInput(str(error), field="--notes", expected="a file that --notes wrote", got=str(notes)) from None


def _note(notes: Path, noted: _Noted) -> None:
    with notes.open("ab") as file:
        file.write(msgspec.json.encode(noted) + b"\n")
