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
from avalist.cli.roles import wiring
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.follow import Follower
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

    After a loss, or to move them to another store. Stop the service first, over Kafka the followers. What stands in the
    documents alone (keys, webhooks) is left as it is, and so is the last health check: the next one writes it.

    Into a new store the vault is filled again from the log. So that who was erased stays erased, say with --moved-from
    where that is noted.
    """
    settings = settings_from(data=data)
    if settings.log.startswith("kafka:"):
        _rebuild_over_kafka(settings, moved_from, nobody_erased=nobody_erased)
        return
    log = open_log(settings, readonly=True)
    with lock_folder(settings.data):
        store, blobs = open_documents(settings), open_blobs(settings)
        merchants = open_archive(open_derived(settings, blobs), log).merchants()
        marks = [folded(generation_of(settings), VAULT_MARK)]
        _keep_erased(settings, store, merchants, moved_from, marks, nobody_erased=nobody_erased)
        forget(store, merchants, projections(generation_of(settings)))
        written = _fold(open_follower(settings, log, store, blobs), "folding the log", log.end)
        store.close()
        log.close()
    _tell(settings, written, merchants)


def _rebuild_over_kafka(settings: Settings, moved_from: str | None, *, nobody_erased: bool) -> None:
    """Fold partition after partition. A follower that runs is refused what it would write, or this command is."""
    kafka, written = wiring(), 0
    with kafka.open_cluster(settings) as cluster:
        merchants = cluster.merchants()
        marks = [folded(1, VAULT_MARK) + kafka.part_of(one) for one in range(settings.partitions)]
        _keep_erased(settings, cluster.documents, merchants, moved_from, marks, nobody_erased=nobody_erased)
        for partition in range(settings.partitions):
            mine = [one for one in merchants if cluster.partition_of(one) == partition]
            forget(cluster.documents, mine, projections(1, kafka.part_of(partition)))
            log, follower, there = kafka.follow_partition(cluster, partition)
            with closing(log):
                written += _fold(follower, f"folding partition {partition}", there)
    _tell(settings, written, merchants)


def _fold(follower: Follower, what: str, end: int) -> int:
    """Let a follower fold its log; return how many documents it wrote."""
    written, behind = 0, -1
    with progress_bar(what, end) as bar:
        while follower.behind_bytes not in (0, behind):  # what stays is a torn end: the decider mends it
            behind = follower.behind_bytes
            written += follower.advance()
            bar.step(follower.position)
    return written


def _tell(settings: Settings, written: int, merchants: Sequence[str]) -> None:
    where = settings.documents.partition(":")[0]
    console.print(f"wrote {written:,} documents of {len(merchants)} merchants to {where}")


def _keep_erased(
    settings: Settings, store: Documents, merchants: Sequence[str], moved_from: str | None, marks: Sequence[str],
    *, nobody_erased: bool,
) -> None:  # fmt: skip
    """Take erasures along. Raises ``BadInput`` where the vault would be filled again without knowing of them."""
    if moved_from is not None:
        with closing(open_documents(msgspec.structs.replace(settings, documents=moved_from))) as old:
            found = copy_erasures(old, store, merchants)
        console.print(f"{found:,} erasures of the vault are taken along")
    elif not nobody_erased and not any(store.mark(mark) for mark in marks):
        raise BadInput(
            "the vault of this store is empty: filled again from the log, it would hold who was erased",
            field="options", expected="--moved-from the store where that is noted, or --nobody-erased", got="neither",
        )  # fmt: skip
