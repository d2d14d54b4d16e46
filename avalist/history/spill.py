"""Sort more rows than memory holds: sorted runs on disk, read back range by range of the sorting column."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

I64 = npt.NDArray[np.int64]
RUN_ROWS = 200_000
_RANGE_ROWS = 16_384
_STEP = 256


class Spill:
    """Rows added in any order are read back in ranges of ascending `by`, an Int64 column.

    Memory holds one run, and one number of every 256 rows. Rows of one range come in no order; rows of equal `by` are
    never parted.

    >>> import tempfile
    >>> spill = Spill(Path(tempfile.mkdtemp()) / "s", "at")
    >>> spill.add(pl.DataFrame({"at": [3, 1]})); spill.add(pl.DataFrame({"at": [2]}))
    >>> [sorted(range["at"].to_list()) for range in spill.ranges(spill.bounds())]
    [[1, 2, 3]]
    """

    def __init__(self, folder: Path, by: str, run_rows: int = RUN_ROWS) -> None:
        self._folder, self._by, self._run_rows = folder, by, run_rows
        self._waiting: list[pl.DataFrame] = []
        self._runs: list[tuple[Path, I64]] = []
        self.rows = 0
        folder.mkdir(parents=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        self.rows += len(frame)
        for part in frame.iter_slices(self._run_rows) if len(frame) else ():
            self._waiting.append(part)
            if sum(map(len, self._waiting)) >= self._run_rows:
                self._write()

    def bounds(self, range_rows: int = _RANGE_ROWS) -> list[int]:
        """Return where ranges of about so many rows begin, but for the first."""
        self._write()
        marks = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *(marks for _, marks in self._runs)]))
        bounds: list[int] = np.unique(marks[:: max(range_rows // _STEP, 1)])[1:].tolist()
        return bounds

    def ranges(self, bounds: Sequence[int]) -> Iterator[pl.DataFrame]:
        """Yield the rows of each range between bounds; one frame a range, in ascending order of ranges."""
        self._write()
        limits = np.iinfo(np.int64)
        for low, high in itertools.pairwise([limits.min, *bounds, limits.max]):
            parts = [part for path, marks in self._runs if len(part := self._part(path, marks, low, high))]
            yield pl.concat(parts) if parts else pl.DataFrame()

    def _part(self, path: Path, marks: I64, low: int, high: int) -> pl.DataFrame:
        first = max(int(np.searchsorted(marks, low)) - 1, 0) * _STEP
        last = int(np.searchsorted(marks, high)) * _STEP
        if first >= last:
            return pl.DataFrame()
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all().slice(first, last - first)
            frame = pl.DataFrame(pl.from_arrow(table))
            return frame.filter((pl.col(self._by) >= low) & (pl.col(self._by) < high))

    def _write(self) -> None:
        if not self._waiting:
            return
        run = pl.concat(self._waiting, how="vertical_relaxed").sort(self._by)
        self._waiting = []
        path = self._folder / f"{len(self._runs)}.arrow"
        table = run.to_arrow()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._runs.append((path, run[self._by].to_numpy()[::_STEP].copy()))
