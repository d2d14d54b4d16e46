"""A merchant's log replayed into a data set, for the commands that look at its past."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import IO

from avalist.app.dataset import Dataset, collect
from avalist.cli.options import progress_bar
from avalist.cli.reading import open_reading
from avalist.config import Settings
from avalist.features.own import OwnFeature


def replayed(
    settings: Settings,
    merchant: str,
    *,
    spill: IO[bytes] | None = None,
    own: Sequence[OwnFeature] = (),
    show: bool = True,
) -> Dataset:
    """Replay a merchant's archive and log, beside a running service or without one; `spill` and `own` as ``collect``
    takes them, `show` tells of it.

    Raises ``NotFound`` if the merchant is not in the log, ``BadInput`` for a feature of one's own that makes no sense.
    """
    with (
        open_reading(settings, merchant) as archive,
        progress_bar(f"replaying {merchant}", archive.log_end, show=show) as bar,
    ):
        data = collect(partial(archive.read, merchant=merchant), merchant, bar.at, spill, own)
        bar.done(archive.log_end)
    return data
