"""Cells of a batch become columns of what became of its payments, with the time at which each was known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from avalist.domain.delay import DelayLaw
from avalist.history.cells import Cells
from avalist.history.columns import ISO, LATEST_US, date_only, instants, missing, text
from avalist.history.paths import IP

AUTH, CAPTURE, WARNING, CHARGEBACK, LABEL, REFUND, CHARGED_BACK = range(1, 8)
OF_ROWS = (REFUND, CHARGED_BACK)
"""Outcomes that have a row of their own, which names the payment."""
_DAY_US = 86_400 * 10**6
Rows = npt.NDArray[np.int64]


def outcomes_of(cells: Cells, payments: pl.DataFrame, law: DelayLaw) -> Iterator[tuple[pl.DataFrame, Rows]]:
    """Yield outcomes of one kind each, and their rows.

    Columns are ``at`` rank line kind key payment_id amount_minor approved issuer_code.
    """
    return _Outcomes(cells, payments, law).each()


class _Outcomes:
    def __init__(self, cells: Cells, payments: pl.DataFrame, law: DelayLaw) -> None:
        self._c, self._plan, self._mapping = cells, cells.plan, cells.mapping
        self._payments, self._law = payments, law
        self._refund = pl.Series(cells.refund)

    def each(self) -> Iterator[tuple[pl.DataFrame, Rows]]:
        """Yield outcomes of one kind each, and the rows they belong to."""
        o = self._mapping.outcomes
        if o.auth_approved:
            approved = self._c.flag("auth_approved")
            codes = self._c.text(o.issuer_code) if o.issuer_code else self._c.every("", pl.String)
            if o.issuer_code:
                self._c.refuse_text(codes, o.issuer_code, IP, "issuer_code")
            yield self._known(approved.is_not_null(), AUTH, approved=approved, issuer_code=codes.fill_null(""))
        if o.captured and self._plan.explicit:
            yield self._known(self._c.flag("captured").fill_null(False), CAPTURE)
        if o.early_warning_at:
            at = self._reported(o.early_warning_at)
            yield self._known(at.is_not_null(), WARNING, at=at)
        if o.fraud_reported_at:
            at = self._reported(o.fraud_reported_at)
            fraud = self._c.flag("fraud").fill_null(False) if o.fraud else True
            yield self._known(at.is_not_null() & fraud, CHARGEBACK, at=at)
        elif o.fraud:
            fraud = self._c.flag("fraud").fill_null(False) & pl.Series(self._c.ok) & ~self._refund
            rows = np.flatnonzero(fraud.to_numpy())
            delays = [self._drawn_us(id) for id in self._payments["payment_id"].gather(rows)]
            drawn = self._payments["at"].scatter(
                rows, self._payments["at"].gather(rows) + pl.Series(delays, dtype=pl.Int64)
            )
            yield self._known(fraud, LABEL, at=drawn)
        if self._c.refund.any():
            charged_back = pl.Series(self._c.charged_back)
            yield self._known(self._refund & ~charged_back, REFUND)
            yield self._known(charged_back, CHARGED_BACK)

    def _reported(self, column: str) -> pl.Series:
        """Return when something was reported: a day without a time ends before it is known."""
        format = self._mapping.formats.get(column, ISO)
        at = instants(missing(self._c[column]), format, self._mapping.timezone)
        self._c.refuse(at.is_null() & text(missing(self._c[column])).is_not_null(), column, f"not a time ({format})")
        self._c.refuse(~at.is_between(0, LATEST_US), column, "not a time from 1970 to 2100")
        return at + date_only(self._c[column], format).cast(pl.Int64) * (_DAY_US - 1)

    def _known(
        self, happened: pl.Series, kind: int, at: pl.Series | None = None, **more: pl.Series
    ) -> tuple[pl.DataFrame, Rows]:
        whose = self._refund if kind in OF_ROWS else ~self._refund
        rows = np.flatnonzero((happened & pl.Series(self._c.ok) & whose).to_numpy())
        of = self._payments[rows].select("at", "line", "key", "payment_id", "amount_minor")
        known = of["at"] if at is None else pl.Series(np.maximum(at.gather(rows).to_numpy(), of["at"].to_numpy()))
        rank = (known == of["at"]).cast(pl.Int8)
        columns: dict[str, Any] = {
            "at": known,
            "rank": rank,
            "line": of["line"],
            "kind": pl.repeat(kind, len(rows), dtype=pl.Int8, eager=True),
            "key": of["key"],
            "payment_id": of["payment_id"],
            "amount_minor": of["amount_minor"],
            "approved": more["approved"].gather(rows)
            if more
            else pl.repeat(None, len(rows), dtype=pl.Boolean, eager=True),
            "issuer_code": more["issuer_code"].gather(rows)
            if more
            else pl.repeat("", len(rows), dtype=pl.String, eager=True),
        }
        return pl.DataFrame({name: column.alias(name) for name, column in columns.items()}), rows

    def _drawn_us(self, payment_id: str) -> int:
        """Return the drawn delay of a fraud report."""
        return dt.timedelta(days=self._law.draw_d(payment_id)) // dt.timedelta(microseconds=1)
