"""The cells of a batch while it is checked, and what is wrong with some of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import polars as pl

from avalist.domain.cards import EXEMPT
from avalist.history.columns import flags, hashed, hashed_cards, text, with_card_number
from avalist.history.paths import ID, Rule
from avalist.history.plan import Plan
from avalist.history.rejects import Reject, shown
from avalist.history.table import Batch

LONG = 1e12
"""Numbers below have too few digits for a card number."""


class Cells:
    """One batch: `ok` tells which rows stand so far, and `rejects` what is wrong with the others.

    `refund` tells which rows are refunds, or chargebacks (`charged_back`), of payments that they name; `skipped` counts
    rows that are no payments, by what they are; `dropped`
    counts cells that are left out, by what is wrong with them: their rows go in without.
    """

    def __init__(self, plan: Plan, hash_key: bytes, batch: Batch) -> None:
        self.plan, self.mapping = plan, plan.mapping
        self.lines = batch.lines
        self.ok = np.ones(len(batch.frame), dtype=np.bool_)
        self.refund = np.zeros(len(batch.frame), dtype=np.bool_)
        self.charged_back = np.zeros(len(batch.frame), dtype=np.bool_)
        self.rejects: list[Reject] = []
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        frame, mapping = batch.frame, self.mapping
        frame = frame.with_columns(hashed(frame[column], hash_key) for column in mapping.hashed)
        self._frame = frame.with_columns(hashed_cards(frame[column], hash_key) for column in mapping.hashed_cards)
        self._texts: dict[str, pl.Series] = {}

    def __len__(self) -> int:
        return len(self.ok)

    def __getitem__(self, column: str) -> pl.Series:
        """Return a column of the file, or a constant."""
        if column.startswith("="):
            return self.every(column[1:], pl.String)
        return self._frame[column]

    def every(self, value: str | bool | None, kind: type[pl.DataType]) -> pl.Series:
        """Return a column that has one value in every row."""
        return pl.repeat(value, len(self), dtype=kind, eager=True)

    def text(self, column: str) -> pl.Series:
        """Return a column as text."""
        if column not in self._texts:
            self._texts[column] = text(self[column])
        return self._texts[column]

    def flag(self, outcome: str) -> pl.Series:
        """Return the column of an outcome as yes and no."""
        column = getattr(self.mapping.outcomes, outcome)
        found = flags(self[column], self.mapping.yes.get(outcome, ()))
        self.refuse_unread(found, column, "not a yes or no: list the values that mean yes under [yes]")
        return found

    def is_small_whole(self, column: str) -> bool:
        """Tell whether cells are whole numbers of so few digits that as text nothing can be wrong with them."""
        if column.startswith("=") or not self._frame[column].dtype.is_integer():
            return False
        return bool((self._frame[column].drop_nulls().cast(pl.Int64, strict=False).abs() < LONG).all())

    def skip(self, other: pl.Series, kinds: pl.Series) -> None:
        """Leave out the rows that are something `other` than payments; `kinds` says what."""
        gone = other.to_numpy() & self.ok
        self.ok &= ~gone
        self.skipped.update(shown(kind) if kind else "(empty)" for kind in kinds.gather(np.flatnonzero(gone)).to_list())

    def drop(self, cells: pl.Series, bad: pl.Series, reason: str) -> pl.Series:
        """Return cells without those that are `bad`; they are counted."""
        if bad.any():
            self.dropped[reason] += int((bad & pl.Series(self.ok)).sum())
        return cells.set(bad, None)

    # --- what is wrong ----------------------------------------------------------------------------------------------

    def refuse(self, bad: pl.Series | npt.NDArray[np.bool_], column: str, reason: str) -> None:
        """Reject the rows that are `bad` and stood so far."""
        fresh = (bad.fill_null(False).to_numpy() if isinstance(bad, pl.Series) else bad) & self.ok
        if not fresh.any():
            return
        self.ok &= ~fresh
        cells = self.text(column).gather(np.flatnonzero(fresh)).fill_null("")
        values = cells.to_list() if column not in self.mapping.hashed else [""] * len(cells)
        self.rejects += [
            Reject(line, column, reason, shown(value))
            for line, value in zip(self.lines[fresh].tolist(), values, strict=True)
        ]

    def refuse_unread(self, parsed: pl.Series, column: str, reason: str, *, needed: bool = False) -> None:
        """Reject the rows where a cell that is not empty could not be read; where `needed`, also the empty ones."""
        if not parsed.null_count():
            return
        empty = self.text(column).is_null() if self[column].dtype == pl.String else self[column].is_null()
        if needed:
            self.refuse(empty, column, "the cell is empty")
        self.refuse(parsed.is_null() & ~empty, column, reason)

    def refuse_text(self, cells: pl.Series, column: str, rule: Rule, path: str, longest: int = 0) -> None:
        """Reject the rows whose text breaks a rule."""
        longest = longest or rule.longest
        self.refuse(cells.str.len_bytes() > longest * 4, column, f"longer than {longest} characters")
        if bool((cells.str.len_bytes() > longest).any()):
            self.refuse(cells.str.len_chars() > longest, column, f"longer than {longest} characters")
        if rule.pattern:
            reason = (
                "it holds control or unseen characters"
                if rule.pattern == ID.pattern
                else f"not of the form {rule.pattern}"
            )
            self.refuse(~cells.str.contains(rule.pattern), column, reason)
        self.refuse_cards(cells, column, path)

    def refuse_cards(self, cells: pl.Series, column: str, path: str) -> None:
        """Reject the rows with a card number in them."""
        if not path.endswith(EXEMPT):
            self.refuse(
                with_card_number(cells), column, "a card number stands in the payload: list the column under hashed"
            )
