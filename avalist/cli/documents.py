"""``avalist documents``: the documents that are made of the log, made again."""

from __future__ import annotations

import typer

from avalist.adapters.file.lock import lock_folder
from avalist.app.stored import forget
from avalist.bootstrap import (
    generation_of,
    open_archive,
    open_blobs,
    open_derived,
    open_documents,
    open_follower,
    open_log,
)
from avalist.cli.options import Data, console, progress_bar
from avalist.config import settings_from

app = typer.Typer(help="The documents that are made of the log.", no_args_is_help=True)


@app.callback()
def documents() -> None:
    """Documents are of two kinds: projections, made of the log, and what stands nowhere else: keys, vault, webhooks."""


@app.command("rebuild")
def rebuild(data: Data = None) -> None:
    """Make the documents of decisions anew from the log: after a loss, or to move them to another store.

    Stop the service first. What stands in the documents alone (keys, the vault, webhooks) is left as it is.
    """
    settings = settings_from(data=data)
    log = open_log(settings, readonly=True)
    with lock_folder(settings.data):
        store, blobs = open_documents(settings), open_blobs(settings)
        merchants = open_archive(open_derived(settings, blobs), log).merchants()
        forget(store, merchants, generation_of(settings))
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
