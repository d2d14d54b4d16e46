"""``avalist documents``: the documents that are made of the log, made again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import msgspec
import typer

from avalist.adapters.file.lock import lock_folder
from avalist.app.stored import folded, forget
from avalist.app.vault import copy_erasures
from avalist.bootstrap import (
    generation_of,
    open_archive,
    open_blobs,
    open_derived,
    open_documents,
    open_follower,
    open_log,
    projections,
)
from avalist.cli.options import Data, console, progress_bar
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.follow.vault import VAULT_MARK
from avalist.ports.documents import Documents

app = typer.Typer(help="The documents that are made of the log.", no_args_is_help=True)


@app.callback()
def documents() -> None:
    """Documents are of two kinds: projections, made of the log, and what stands nowhere else: keys, vault, webhooks."""


@app.command("rebuild")
def rebuild(
    moved_from: Annotated[
        str | None, typer.Option(help="Store that the vault's erasures are taken along from, such as sqlite:")
    ] = None,
    nobody_erased: Annotated[
        bool, typer.Option("--nobody-erased", help="The store is new, and there are no erasures to take along")
    ] = False,
    data: Data = None,
) -> None:
    """Make the documents that are made of the log anew: decisions, reviews, waves, alerts, how models stand.

    After a loss, or to move them to another store. Stop the service first. What stands in the documents alone (keys,
    webhooks) is left as it is, and so is the last health check: the next one writes it.

    Into a new store the vault is filled again from the log. So that who was erased stays erased, say with --moved-from
    where that is noted.
    """
    settings = settings_from(data=data)
    log = open_log(settings, readonly=True)
    with lock_folder(settings.data):
        store, blobs = open_documents(settings), open_blobs(settings)
        merchants = open_archive(open_derived(settings, blobs), log).merchants()
        _keep_erased(settings, store, merchants, moved_from, nobody_erased=nobody_erased)
        forget(store, merchants, projections(generation_of(settings)))
        follower, written, behind = open_follower(settings, log, store, blobs), 0, -1
        with progress_bar("folding the log", log.end) as bar:
            while follower.behind_bytes not in (0, behind):  # what stays is a torn end: the decider mends it
                behind = follower.behind_bytes
                written += follower.advance()
                bar.step(follower.position)
        store.close()
        log.close()
    console.print(
        f"wrote {written:,} documents of {len(merchants)} merchants to {settings.documents.partition(':')[0]}"
    )


def _keep_erased(
    settings: Settings, store: Documents, merchants: Sequence[str], moved_from: str | None, *, nobody_erased: bool
) -> None:
    """Take erasures along. Raises ``BadInput`` where the vault would be filled again without knowing of them."""
    if moved_from is not None:
        with closing(open_documents(msgspec.structs.replace(settings, documents=moved_from))) as old:
            found = copy_erasures(old, store, merchants)
        console.print(f"{found:,} erasures of the vault are taken along")
    elif not nobody_erased and store.mark(folded(generation_of(settings), VAULT_MARK)) == 0:
        raise BadInput(
            "the vault of this store is empty: filled again from the log, it would hold who was erased",
            field="options", expected="--moved-from the store where that is noted, or --nobody-erased", got="neither",
        )  # fmt: skip
