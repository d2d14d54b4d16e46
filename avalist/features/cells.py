"""The cells that columns are computed from: what a window holds, as float64, NaN where it is unknown."""

from __future__ import annotations

import numpy as np

from avalist.domain.row import KIND, MISSING, VALUES
from avalist.features.arena import LOW
from avalist.features.jit import jit_part
from avalist.features.layout import F64, I64, PLACE, R_CELLS, R_OWN


@jit_part
def own_value(row: I64, kinds: int, value_at: int) -> int:
    """Return the value that the event would add to a stream (0 where it only counts), or MISSING."""
    if kinds & (1 << row[KIND]) == 0:
        return MISSING
    return 0 if value_at < 0 else row[VALUES + value_at]


@jit_part
def write_window(cells: F64, reads: I64, r: int, count: int, total: int, highest: int, own: int, in_time: bool) -> None:
    """Write what a window holds; where it is asked for, with the event's own value too."""
    write_sums(cells, reads[r, R_CELLS] & PLACE, count, total, highest)
    at = reads[r, R_OWN]
    if at >= 0:
        if own != MISSING and in_time:
            write_sums(cells, at & PLACE, count + 1, total + own, max(highest, own))
        else:
            write_sums(cells, at & PLACE, count, total, highest)


@jit_part
def write_sums(cells: F64, at: int, count: int, total: int, highest: int) -> None:
    """Write count, sum and maximum: no maximum of nothing."""
    cells[at] = np.float64(count)
    cells[at + 1] = np.float64(total)
    cells[at + 2] = np.float64(highest) if count > 0 else np.nan


@jit_part
def write_labels(cells: F64, at: int, captured: int, frauds: int, amount: int) -> None:
    """Write what a window of judged payments adds up to."""
    cells[at] = np.float64(captured)
    cells[at + 1] = np.float64(frauds)
    cells[at + 2] = np.float64(amount)


@jit_part
def write_run(cells: F64, at: int, t: int, step: int, latest: int, clean: int, begun: int) -> None:
    """Write the seconds since the latest fraud, the payments after it, and the seconds since its run began."""
    cells[at + 3] = (t - latest * step) / 1000.0 if latest != LOW else np.nan
    cells[at + 4] = np.float64(clean)
    cells[at + 5] = (t - begun * step) / 1000.0 if begun != LOW else np.nan


@jit_part
def write_unknown(cells: F64, at: int, width: int) -> None:
    """Write that nothing is known."""
    for cell in range(at, at + width):
        cells[cell] = np.nan
