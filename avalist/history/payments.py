"""Cells of a batch become columns of payments; what the wire would refuse is refused here, by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from avalist.domain.money import EXPONENT, MAX_MINOR, minor_from_text
from avalist.domain.row import LARGEST_NUMBER
from avalist.history.cells import LONG, Cells
from avalist.history.columns import ISO, LATEST_US, flags, instants, ip_of_number, missing, no_ip, numbers, text
from avalist.history.paths import ID, IP
from avalist.history.plan import Field

_EARLIEST_US = -2_208_988_800 * 10**6


def payments_of(cells: Cells) -> pl.DataFrame:
    """Return a payment a row (``at`` line key payment_id amount_minor currency captured and a column a field).

    Rows that do not pass are rejected, and hold nothing of use.
    """
    return _Payments(cells).frame()


class _Payments:
    def __init__(self, cells: Cells) -> None:
        self._c, self._plan, self._mapping = cells, cells.plan, cells.mapping

    def frame(self) -> pl.DataFrame:
        self._row_types()
        at = self._time()
        currency = self._currency()
        amount = self._amount(currency)
        ids = self._ids()
        columns = {
            "at": at,
            "line": pl.Series(self._c.lines),
            "key": ids.hash(seed=0).reinterpret(signed=True),
            "payment_id": ids,
            "amount_minor": amount,
            "currency": currency,
            "captured": self._captured(),
            **{field.path: self._field(field) for field in self._plan.fields},
        }
        return pl.DataFrame({name: column.alias(name) for name, column in columns.items()})

    def _row_types(self) -> None:
        """Tell payments from refunds and chargebacks, and leave out what is none of these."""
        if not self._mapping.row_type:
            return
        kinds = self._c.text(self._mapping.row_type)
        paid, refund, charged_back = (
            flags(kinds, self._mapping.yes.get(kind, ("",))).fill_null(False)
            for kind in ("payment", "refund", "chargeback")
        )
        self._c.charged_back = charged_back.to_numpy()
        self._c.refund |= (refund | charged_back).to_numpy()
        self._c.skip(~(paid | refund | charged_back), kinds)

    def _further_items(self, times: Sequence[str]) -> None:
        """Leave out rows with neither a time nor an amount: some shops write one for each further item of an order."""
        columns = [c for c in (*times, self._mapping.amount or self._mapping.amount_minor) if not c.startswith("=")]
        empty = pl.Series(np.logical_and.reduce([self._c.text(column).is_null().to_numpy() for column in columns]))
        self._c.skip(empty, self._c.every("no time and no amount", pl.String))

    def _time(self) -> pl.Series:
        columns = self._mapping.time_columns
        cells = self._c[columns[0]]
        if len(columns) > 1:
            if cells.dtype == pl.Datetime:
                cells = cells.cast(pl.Date)
            cells = pl.select(pl.concat_str([text(cells), *map(self._c.text, columns[1:])], separator=" ")).to_series()
        format = self._mapping.formats.get(columns[0], ISO)
        at = instants(cells, format, self._mapping.timezone)
        if at.null_count():
            self._further_items(columns)
        self._c.refuse_unread(at, columns[0], f"not a time ({format})", needed=True)
        self._c.refuse(at.is_null(), columns[-1], f"not a time ({format})")
        self._c.refuse(~at.is_between(0, LATEST_US), columns[0], "not a time from 1970 to 2100")
        return at

    def _ids(self) -> pl.Series:
        columns = self._mapping.id_columns
        if not columns:
            return pl.Series("payment_id", [f"line-{n}" for n in self._c.lines.tolist()], dtype=pl.String)
        for column in columns:
            self._c.refuse_unread(self._c.text(column), column, "the cell is empty", needed=True)
        ids = pl.select(pl.concat_str([self._c.text(c) for c in columns], separator="/")).to_series()
        if len(columns) > 1 or not self._c.is_small_whole(columns[0]):
            self._c.refuse_text(ids, columns[0], ID, "payment_id", longest=128 - len("chargeback:"))
        return self._named(ids)

    def _named(self, ids: pl.Series) -> pl.Series:
        """Return the ids, of refunds those of the payments that they name."""
        column = self._mapping.refund_of
        if not column or not self._c.refund.any():
            return ids
        named = self._c.text(column)
        return named.zip_with(pl.Series(self._c.refund) & named.is_not_null(), ids)

    def _currency(self) -> pl.Series:
        column = self._mapping.currency
        schema = self._plan.schema
        if column == f"={schema.base_currency}":
            return self._c[column]
        codes = self._c.text(column).str.to_uppercase()
        self._c.refuse_unread(codes, column, "the cell is empty", needed=True)
        self._c.refuse(~codes.is_in(list(EXPONENT)), column, "not an ISO 4217 currency in use")
        rated = [schema.base_currency, *schema.rates]
        self._c.refuse(~codes.is_in(rated), column, f"no rate to {schema.base_currency} in [schema.settings.rates]")
        return codes

    def _amount(self, currency: pl.Series) -> pl.Series:
        column = self._mapping.amount or self._mapping.amount_minor
        cells = self._c[column]
        found = numbers(cells, self._mapping.decimal_mark)
        found = found.set(~found.is_finite(), None)
        self._c.refuse_unread(found, column, "not an amount", needed=True)
        if self._mapping.negative_amounts == "flip":
            found = -found
        if self._mapping.negative_amounts == "reject":
            self._c.refuse(found < 0, column, "a negative amount is no payment (negative_amounts)")
        self._c.refund |= (found < 0).fill_null(False).to_numpy()
        found = found.abs()
        exponents = self._exponents(currency)
        if self._mapping.amount_minor:
            self._c.refuse(found != found.floor(), column, "minor units are whole numbers")
            scaled = found
        else:
            scaled = found * 10.0**exponents
        minor = scaled.round(mode="half_to_even")
        unsure = ((scaled - minor).abs() > 1e-9 * (scaled.abs() + 1)).fill_null(False) & pl.Series(self._c.ok)
        self._c.refuse(minor.fill_null(0) > MAX_MINOR, column, "the amount is too large")
        whole = minor.set(minor > MAX_MINOR, None).cast(pl.Int64)
        if unsure.any():
            at = np.flatnonzero(unsure.to_numpy())
            exact = [minor_from_text(repr(x), c) for x, c in zip(found.gather(at), currency.gather(at), strict=True)]
            whole = whole.scatter(at, exact)
        self._c.refuse(self._base(whole, currency, exponents) > MAX_MINOR, column, "the amount is too large")
        return whole

    def _exponents(self, currency: pl.Series) -> pl.Series | int:
        if self._mapping.currency.startswith("="):
            return EXPONENT.get(self._mapping.currency[1:], 0)
        return currency.replace_strict(EXPONENT, default=0, return_dtype=pl.Int64)

    def _base(self, minor: pl.Series, currency: pl.Series, exponents: pl.Series | int) -> pl.Series:
        schema = self._plan.schema
        if not schema.rates:
            return minor
        rates = {schema.base_currency: 1.0, **schema.rates}
        rate = currency.replace_strict(rates, default=1.0, return_dtype=pl.Float64)
        return minor * rate * 10.0 ** (EXPONENT[schema.base_currency] - exponents)

    def _captured(self) -> pl.Series:
        column = self._mapping.outcomes.captured
        if not column:
            return self._c.every(None, pl.Boolean)
        found = self._c.flag("captured")
        return self._c.every(False, pl.Boolean) if self._plan.explicit else found

    def _field(self, field: Field) -> pl.Series:
        column, rule = field.column, field.rule
        if rule.kind == "text":
            cells = self._c.text(column)
            if rule.pattern not in ("", ID.pattern) or not self._c.is_small_whole(column):
                self._c.refuse_text(cells, column, rule, field.path)
            if rule is IP:
                cells = ip_of_number(cells)
                return self._c.drop(cells, no_ip(cells), f"{column}: not an IP address")
            return cells
        if rule.kind == "time":
            at = instants(self._c[column], self._mapping.formats.get(column, ISO), self._mapping.timezone)
            self._c.refuse_unread(at, column, "not a time")
            self._c.refuse(~at.is_between(_EARLIEST_US, LATEST_US), column, "not a time from 1900 to 2100")
            return at.cast(pl.Datetime("us"))
        cells = missing(self._c[column])
        found = numbers(cells, self._mapping.decimal_mark)
        found = found.set(~found.is_finite(), None)
        self._c.refuse(found.is_null() & text(cells).is_not_null(), column, "not a number")
        if rule.kind == "whole":
            self._c.refuse(
                ~found.is_between(rule.low, rule.high), column, f"not a number from {rule.low} to {rule.high}"
            )
            return found.set(~found.is_between(rule.low, rule.high), None).round().cast(pl.Int64)
        self._c.refuse(
            found.abs() * 10 ** self._plan.decimals[field.path] > LARGEST_NUMBER, column, "the number is too large"
        )
        if bool((found.abs() >= LONG).any()):
            self._c.refuse_cards(text(found), column, field.path)
        return found
