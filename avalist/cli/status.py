"""``avalist status``: how far the follower is, and whether decisions can be made again."""

from __future__ import annotations

from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.app.followed import Followed, told
from avalist.bootstrap import open_documents, open_log
from avalist.cli.options import Data, console
from avalist.config import settings_from


def status(data: Data = None) -> None:
    """Show how far the follower is behind the log, its newest snapshot, and parity by merchant."""
    settings = settings_from(data=data)
    log, documents = open_log(settings, readonly=True), open_documents(settings)
    end, followed = log.end, told(documents)
    documents.close()
    log.close()
    console.print(f"log: {end:,} bytes", highlight=False)
    if followed is None:
        console.print("follower: it has not run yet; 'avalist up' starts it")
        return
    ago_s = (SystemClock().now_ms() - followed.at_ms) / 1000
    console.print(
        f"follower: {max(end - followed.position, 0):,} bytes behind, heard {ago_s:,.0f} s ago\n"
        f"snapshot: {max(end - followed.snapshot, 0):,} bytes of log are folded after it at the next start",
        highlight=False,
    )
    console.print(_parity(followed))


def _parity(followed: Followed) -> Table:
    table = Table(title="parity: features of logged decisions, folded again", title_justify="left")
    for column in ("merchant", "plan", "checked", "different", "first"):
        table.add_column(column, justify="right" if column in ("checked", "different") else "left", overflow="fold")
    for merchant, found in sorted(followed.parity.items()):
        table.add_row(merchant, found.plan, f"{found.checked:,}", f"{found.different:,}", found.first)
    return table
