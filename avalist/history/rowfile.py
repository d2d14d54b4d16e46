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
from avalist.history.outcomes import OF_ROWS
from avalist.history.plan import Plan
from avalist.history.rejects import Reject, Rejects
from avalist.history.rows import Checked, Rows
from avalist.history.source import Survey
from avalist.history.spill import RUN_ROWS, Spill
from avalist.history.table import Table

_NEVER_US = 2**63 - 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ALONE = "refunds or chargebacks that name no payment of the file"
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
        self._dropped = pl.Series("line", [], dtype=pl.Int64)

    def survey(self, rejects: Rejects, progress: Callable[[int], None] = lambda rows: None) -> Survey:
        """Read the file through, check every row and sort what passes. Rows that do not pass go to `rejects`."""
        read = 0
        for batch in self._table.batches(list(self._plan.mapping.columns())):
            read += len(batch.frame)
            self._keep(self._rows.check(batch))
            self._hand_over(rejects)
            progress(read)
        self._hand_over(rejects)
        repeated, alone = self._repeated(), self._alone()
        self._dropped = pl.concat([repeated, alone]).sort()
        column = (*self._plan.mapping.id_columns, "")[0]
        rejects.add([Reject(line, column, _REPEATED) for line in repeated.sort().to_list()])
        kept, others = self._payments.rows - len(repeated), self._outcomes.rows - len(alone)
        skipped = {**self._rows.skipped, **({_ALONE: len(alone)} if len(alone) else {})}
        return Survey(
            kept, others, self._rows.left_out, rejects.count, read + rejects.unread, skipped, {**self._rows.dropped}
        )

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
        self._keys.add(checked.payments.select("key", "at", "line", paid=True))
        self._outcomes.add(checked.outcomes)
        if len(checked.outcomes):
            refunds = checked.outcomes.filter(pl.col("kind").is_in(OF_ROWS))
            self._keys.add(refunds.select("key", "at", "line", paid=False))

    def _hand_over(self, rejects: Rejects) -> None:
        rejects.unread += len(self._table.rejects)
        rejects.add([*self._table.rejects, *self._rows.rejects])
        self._table.rejects.clear()
        self._rows.rejects.clear()

    def _repeated(self) -> pl.Series:
        """Return the lines of a payment id but the first known: the writer would refuse them."""
        return self._lines_of(pl.col("paid"), ~pl.col("key").is_first_distinct())

    def _alone(self) -> pl.Series:
        """Return the lines of refunds and chargebacks that no payment stands before."""
        return self._lines_of(~pl.col("paid").cum_max().over("key"))

    def _lines_of(self, *filters: pl.Expr) -> pl.Series:
        found = [self._dropped]
        for range in self._keys.ranges(self._keys.bounds()):
            if len(range):
                rows = range.sort("key", "at", "line")
                for filter in filters:
                    rows = rows.filter(filter)
                found.append(rows["line"])
        return pl.concat(found)

    def _unique(self, frame: pl.DataFrame) -> pl.DataFrame:
        return (
            frame.filter(~pl.col("line").is_in(self._dropped.implode())) if len(self._dropped) and len(frame) else frame
        )
