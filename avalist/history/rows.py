"""Rows of a file, a batch at a time, become columns of checked payments and of what became of them.

What the wire would refuse is refused here, by column, with the line and the reason; what passes needs no second check.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import polars as pl

from avalist.domain.delay import DelayLaw
from avalist.history.cells import Cells
from avalist.history.columns import LATEST_US
from avalist.history.outcomes import outcomes_of
from avalist.history.payments import payments_of
from avalist.history.plan import Plan
from avalist.history.rejects import Reject
from avalist.history.table import Batch


class Checked(NamedTuple):
    """Columns of payments, and of outcomes."""

    payments: pl.DataFrame
    outcomes: pl.DataFrame


class Rows:
    """Checks batches. `rejects` fills with the rows that do not pass; `left_out` counts payments known too late.

    `skipped` counts rows that are no payments, by what they are, and `dropped` cells that are left out.
    """

    def __init__(self, plan: Plan, hash_key: bytes, until_us: int | None = None) -> None:
        self._plan, self._key = plan, hash_key
        self._until_us = LATEST_US if until_us is None else until_us
        self._law = DelayLaw(*plan.schema.report_delay_d)
        self.rejects: list[Reject] = []
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.left_out = 0

    def check(self, batch: Batch) -> Checked:
        """Return what passes of a batch."""
        cells = Cells(self._plan, self._key, batch)
        payments = payments_of(cells)
        outcomes = list(outcomes_of(cells, payments, self._law))
        known = cells.ok & (payments["at"].fill_null(0) < self._until_us).to_numpy()
        paid = known & ~cells.refund
        self.left_out += int((cells.ok & ~cells.refund).sum() - paid.sum())
        self.rejects += cells.rejects
        self.skipped += cells.skipped
        self.dropped += cells.dropped
        kept = [frame.filter(pl.Series(known[rows])) for frame, rows in outcomes]
        due = pl.concat(kept, how="vertical_relaxed") if kept else pl.DataFrame()
        return Checked(payments.filter(pl.Series(paid)), due.filter(pl.col("at") < self._until_us) if len(due) else due)
