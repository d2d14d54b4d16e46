"""``avalist status``: how far the follower is, and whether decisions can be made again."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.followed import Followed, told
from avalist.app.parity import Checked
from avalist.bootstrap import open_documents, open_log
from avalist.cli.options import Data, console
from avalist.cli.roles import wiring
from avalist.config import Settings, settings_from


def status(data: Data = None) -> None:
    """Show how far the follower is behind the log, its newest snapshot, and parity by merchant.

    Over Kafka each partition is a log of its own, and a position counts records.
    """
    settings = settings_from(data=data)
    if settings.log.startswith("kafka:"):
        _over_kafka(settings)
        return
    log, documents = open_log(settings, readonly=True), open_documents(settings)
    end, followed = log.end, told(documents)
    documents.close()
    log.close()
    console.print(f"log: {end:,} bytes", highlight=False)
    if followed is None:
        console.print("follower: it has not run yet; 'avalist up' starts it")
        return
    console.print(
        f"follower: {max(end - followed.position, 0):,} bytes behind, heard {_ago(followed)}\n"
        f"snapshot: {max(end - followed.snapshot, 0):,} bytes of log are folded after it at the next start",
        highlight=False,
    )
    _tell_parity(followed.parity)


def _over_kafka(settings: Settings) -> None:
    kafka = wiring()
    with kafka.open_cluster(settings) as cluster:
        found = list(kafka.standings(cluster))
    console.print(partitions(found))
    if any(one.followed is None for one in found):
        console.print("some have no follower yet: 'avalist run follower' starts one")
    _tell_parity({name: one for log in found if log.followed for name, one in log.followed.parity.items()})


def partitions(found: list[Any]) -> Table:
    """Return how far each partition is: its log, the archive, the follower and its newest snapshot."""
    table = Table(title="partitions: records, by position", title_justify="left")
    for column in ("partition", "log", "archived", "behind", "after the snapshot", "heard"):
        table.add_column(column, justify="right")
    for one in found:
        said: Followed | None = one.followed
        far = (
            ["–"] * 3
            if said is None
            else [_behind(one.end, said.position), _behind(one.end, said.snapshot), _ago(said)]
        )
        table.add_row(str(one.partition), f"{one.end:,}", f"{one.archived:,}", *far)
    return table


def _behind(end: int, position: int) -> str:
    return f"{max(end - position, 0):,}"


def _ago(followed: Followed) -> str:
    return f"{(SystemClock().now_ms() - followed.at_ms) / 1000:,.0f} s ago"


def _tell_parity(parity: dict[str, Checked]) -> None:
    console.print(_parity(parity))
    for merchant in sorted(merchant for merchant, found in parity.items() if found.different):
        console.print(
            f"parity of {merchant} is broken: look with 'avalist replay {merchant} --verify'",
            highlight=False,
            soft_wrap=True,
        )


def _parity(parity: dict[str, Checked]) -> Table:
    table = Table(title="parity: features of logged decisions, folded again", title_justify="left")
    for column in ("merchant", "plan", "checked", "different", "first"):
        table.add_column(column, justify="right" if column in ("checked", "different") else "left", overflow="fold")
    for merchant, found in sorted(parity.items()):
        table.add_row(merchant, found.plan, f"{found.checked:,}", f"{found.different:,}", found.first)
    return table
