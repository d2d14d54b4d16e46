"""History from a file: its rows become events, in the order in which they were known.

A payment is known at its time, a label at its report time. Where a file does not say when a fraud was reported, the
time is drawn from the schema's delay law and the label's source says ``imputed``. The file is read twice: once to check
everything before anything is recorded, and once in order, from sorted runs on disk: memory stays flat.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from avalist.domain.events import WireEvent
from avalist.domain.schema import Schema
from avalist.history.assemble import Assembler, Told
from avalist.history.mapping import Mapping
from avalist.history.plan import Plan
from avalist.history.rejects import Reject, Rejects
from avalist.history.rows import Checked, Rows
from avalist.history.source import Survey
from avalist.history.spill import RUN_ROWS, Spill
from avalist.history.table import Table

_NEVER_US = 2**63 - 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_REPEATED = "the payment id came before: it must be unique"


class RowHistory:
    """The history that a file of rows tells.

    Parameters
    ----------
    file, mapping, schema
        The file, what its columns mean, and the merchant's schema.
    hash_key
        Keys the hashes of `hashed` columns.
    folder
        A folder for sorted runs; it must not exist, and the caller removes it. It holds clear data.
    until
        What was known at this time or later is left out.
    run_rows
        So many rows are sorted in memory at a time.
    """

    def __init__(
        self,
        file: Path,
        mapping: Mapping,
        schema: Schema,
        hash_key: bytes,
        folder: Path,
        until: dt.datetime | None = None,
        run_rows: int = RUN_ROWS,
    ) -> None:
        self._table = Table(file)
        self._plan = Plan(mapping, schema)
        self._plan.check_columns(self._table)
        until_us = None if until is None else (until - _EPOCH) // dt.timedelta(microseconds=1)
        self._rows = Rows(self._plan, hash_key, until_us)
        self._payments = Spill(folder / "payments", "at", run_rows)
        self._outcomes = Spill(folder / "outcomes", "at", run_rows)
        self._keys = Spill(folder / "keys", "key", run_rows)
        self._repeated = pl.Series("line", [], dtype=pl.Int64)

    def survey(self, rejects: Rejects, progress: Callable[[int], None] = lambda rows: None) -> Survey:
        """Read the file through, check every row and sort what passes. Rows that do not pass go to `rejects`."""
        read = 0
        for batch in self._table.batches(list(self._plan.mapping.columns())):
            read += len(batch.frame)
            self._keep(self._rows.check(batch))
            self._hand_over(rejects)
            progress(read)
        self._hand_over(rejects)
        self._find_repeated(rejects)
        kept = self._payments.rows - len(self._repeated)
        return Survey(kept, self._outcomes.rows, self._rows.left_out, rejects.count, read + rejects.unread)

    def events(self, since_ms: int = 0) -> Iterator[list[WireEvent]]:
        """Yield the events in known-time order, some thousands at a time; after :meth:`survey`.

        Thousands that were all known before `since_ms` may be left out.
        """
        return (events for _, events in self._ranges(since_ms))

    def numbered(self) -> Iterator[tuple[int, WireEvent]]:
        """Yield the events in known-time order, each with its line; after :meth:`survey`."""
        return (pair for lines, events in self._ranges(0) for pair in zip(lines, events, strict=True))

    def _ranges(self, since_ms: int) -> Iterator[Told]:
        bounds, assembler = self._payments.bounds(), Assembler(self._plan)
        ends = [*bounds, _NEVER_US]
        for end, payments, outcomes in zip(
            ends, self._payments.ranges(bounds), self._outcomes.ranges(bounds), strict=True
        ):
            if end <= since_ms * 1000:
                continue
            told = assembler.told(self._unique(payments), self._unique(outcomes))
            if told.events:
                yield told

    def _keep(self, checked: Checked) -> None:
        self._payments.add(checked.payments)
        self._keys.add(checked.payments.select("key", "at", "line"))
        self._outcomes.add(checked.outcomes)

    def _hand_over(self, rejects: Rejects) -> None:
        rejects.unread += len(self._table.rejects)
        rejects.add([*self._table.rejects, *self._rows.rejects])
        self._table.rejects.clear()
        self._rows.rejects.clear()

    def _find_repeated(self, rejects: Rejects) -> None:
        """Reject the rows of a payment id but the first known: the writer would refuse them."""
        again = [
            range.sort("key", "at", "line").filter(~pl.col("key").is_first_distinct())["line"]
            for range in self._keys.ranges(self._keys.bounds())
            if len(range)
        ]
        self._repeated = pl.concat(again).sort() if again else self._repeated
        column = (*self._plan.mapping.id_columns, "")[0]
        rejects.add([Reject(line, column, _REPEATED) for line in self._repeated.to_list()])

    def _unique(self, frame: pl.DataFrame) -> pl.DataFrame:
        return (
            frame.filter(~pl.col("line").is_in(self._repeated.implode()))
            if len(self._repeated) and len(frame)
            else frame
        )
