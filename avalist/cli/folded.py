"""The follower's work done here and now, so that the next start need not fold the log."""

from __future__ import annotations

from avalist.cli.options import progress_bar
from avalist.follow import Follower


def fold_all(follower: Follower, what: str, end: int) -> None:
    """Let a follower fold the log up to its end into documents, archive and a snapshot."""
    with progress_bar(what, end) as bar:
        while follower.behind_bytes:
            follower.advance()
            bar.step(follower.position)
    follower.states.save()
