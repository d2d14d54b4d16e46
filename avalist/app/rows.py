"""Rows of a file, a batch at a time, become columns of checked payments and of what became of them.

What the wire would refuse is refused here, by column, with the line and the reason; what passes needs no second check.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from avalist.app.columns import ISO, date_only, flags, hashed, instants, missing, numbers, text, with_card_number
from avalist.app.mapping import Mapping, number_source
from avalist.app.paths import CUSTOM, ID, IP, Part, Rule, part_of, rule_of
from avalist.app.profile import shown
from avalist.app.tables import Batch, Reject, Table
from avalist.domain.cards import EXEMPT, holds_card_number
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms
from avalist.domain.money import EXPONENT, MAX_MINOR, minor_from_text
from avalist.domain.schema import Schema

AUTH, CAPTURE, WARNING, CHARGEBACK, LABEL = range(1, 6)
DUE, AT_ONCE = 0, 1
"""Ranks of events of one instant: what was due from earlier payments comes before the payments and what they bring."""

_DAY_US = 86_400 * 10**6
_EARLIEST_US = -2_208_988_800 * 10**6
_LATEST_US = 4_102_444_800 * 10**6
_LARGEST = 2.0**62
_LONG = 1e12


class Checked(NamedTuple):
    """Payments (``at`` line key payment_id amount_minor currency captured and a column a field) and outcomes."""

    payments: pl.DataFrame
    outcomes: pl.DataFrame


class Survey(NamedTuple):
    """What a first look through a file found. `left_out` payments were known too late."""

    payments: int
    outcomes: int
    left_out: int
    rejected: int
    read: int


class Field(NamedTuple):
    """A column on its way to a path of the event."""

    path: str
    column: str
    rule: Rule


class Plan:
    """What a mapping and a schema make of each column. Raises ``BadInput`` if they do not hold together."""

    def __init__(self, mapping: Mapping, schema: Schema) -> None:
        self.mapping, self.schema = mapping, schema
        self.explicit = schema.capture == "explicit"
        scaled = {
            str(source["source"]): int(str(source["decimals"]))
            for source in map(number_source, mapping.schema.numbers.values())
        }
        self.decimals = {**scaled, **{d.source: d.decimals for d in schema.numbers}}
        self.kinds = {name: self._constant(f"{name}.kind") for name in ("method", "cart")}
        self.parts: dict[str, Part] = {}
        self.fields = [
            self._field(path, column)
            for path, column in mapping.fields.items()
            if path not in ("method.kind", "cart.kind")
        ]
        if not mapping.amount and not mapping.amount_minor:
            raise BadInput("no column of amounts", field="amount", expected="a column, or a constant such as =5.00")
        for part in self.parts.values():
            missing = [f for f in part.needed if f"{part.name}.{f}" not in mapping.fields and part.name != "customer"]
            if missing:
                raise BadInput(
                    f"map {part.name}.{missing[0]} too: a payment's {part.name} needs it", field=f"fields.{part.name}"
                )

    def _constant(self, path: str) -> str:
        value = self.mapping.fields.get(path, "")
        if value and not value.startswith("="):
            raise BadInput(
                "the kind is the same for all rows", field=f"fields.{path}", expected="such as =card", got=value
            )
        return value[1:]

    def _field(self, path: str, column: str) -> Field:
        head, _, tail = path.partition(".")
        if path == "ip":
            return Field(path, column, IP)
        if head == "custom":
            if not 1 <= len(tail) <= 64 or holds_card_number(tail):
                raise BadInput(
                    "not a name", field="fields", expected="custom.name of at most 64 letters", got=path[:32]
                )
            return Field(path, column, Rule("number") if path in self.decimals else CUSTOM)
        part = self.parts.setdefault(head, part_of(head, self.kinds.get(head, "")))
        return Field(path, column, rule_of(part, tail))

    def check_columns(self, table: Table) -> None:
        """Raise ``BadInput`` if the mapping names a column that the file lacks."""
        for column, key in self.mapping.columns().items():
            if column not in table.names:
                expected = ", ".join(table.names[:40])
                raise BadInput("the file has no such column", field=key, expected=expected, got=column)


class Rows:
    """Checks batches. `rejects` fills with the rows that do not pass; `left_out` counts payments known too late."""

    def __init__(self, plan: Plan, hash_key: bytes, until_us: int | None = None) -> None:
        self.plan, self._key = plan, hash_key
        self._until_us = _LATEST_US if until_us is None else until_us
        self._law = DelayLaw(*plan.schema.report_delay_d)
        self.rejects: list[Reject] = []
        self.left_out = 0

    def check(self, batch: Batch) -> Checked:
        """Return what passes of a batch."""
        return _Batch(self, batch).checked()

    def drawn_us(self, payment_id: str) -> int:
        """Return the drawn delay of a fraud report."""
        return dt.timedelta(days=self._law.draw_d(payment_id)) // dt.timedelta(microseconds=1)

    @property
    def hash_key(self) -> bytes:
        """Return the key of the hashes of hashed columns."""
        return self._key

    @property
    def until_us(self) -> int:
        """Return the instant from which on nothing is known."""
        return self._until_us


class _Batch:
    """One batch while it is checked: `ok` tells which rows stand so far."""

    def __init__(self, rows: Rows, batch: Batch) -> None:
        self.rows, self.plan, self.mapping = rows, rows.plan, rows.plan.mapping
        self.lines = batch.lines
        self.frame = batch.frame.with_columns(hashed(batch.frame[c], rows.hash_key) for c in self.mapping.hashed)
        self.ok = np.ones(len(self.frame), dtype=np.bool_)
        self._texts: dict[str, pl.Series] = {}

    def checked(self) -> Checked:
        at = self._time()
        ids = self._ids()
        currency = self._currency()
        columns = {
            "at": at,
            "line": pl.Series(self.lines),
            "key": ids.hash(seed=0).reinterpret(signed=True),
            "payment_id": ids,
            "amount_minor": self._amount(currency),
            "currency": currency,
            "captured": self._captured(),
            **{field.path: self._field(field) for field in self.plan.fields},
        }
        payments = pl.DataFrame({name: column.alias(name) for name, column in columns.items()})
        outcomes = list(self._outcomes(payments))
        known = self.ok & (at.fill_null(0) < self.rows.until_us).to_numpy()
        self.rows.left_out += int(self.ok.sum() - known.sum())
        kept = [frame.filter(pl.Series(known[rows])) for frame, rows in outcomes]
        due = pl.concat(kept, how="vertical_relaxed") if kept else pl.DataFrame()
        return Checked(
            payments.filter(pl.Series(known)), due.filter(pl.col("at") < self.rows.until_us) if len(due) else due
        )

    # --- cells ------------------------------------------------------------------------------------------------------

    def _cells(self, column: str) -> pl.Series:
        if column.startswith("="):
            return pl.repeat(column[1:], len(self.frame), dtype=pl.String, eager=True)
        return self.frame[column]

    def _text(self, column: str) -> pl.Series:
        if column not in self._texts:
            self._texts[column] = text(self._cells(column))
        return self._texts[column]

    def _refuse(self, bad: pl.Series | npt.NDArray[np.bool_], column: str, reason: str) -> None:
        """Reject the rows that are `bad` and stood so far."""
        fresh = (bad.fill_null(False).to_numpy() if isinstance(bad, pl.Series) else bad) & self.ok
        if not fresh.any():
            return
        self.ok &= ~fresh
        cells = self._text(column).gather(np.flatnonzero(fresh)).fill_null("")
        values = cells.to_list() if column not in self.mapping.hashed else [""] * len(cells)
        self.rows.rejects += [
            Reject(line, column, reason, shown(value))
            for line, value in zip(self.lines[fresh].tolist(), values, strict=True)
        ]

    def _refuse_unread(self, parsed: pl.Series, column: str, reason: str, *, needed: bool = False) -> None:
        if not parsed.null_count():
            return
        empty = (
            self._text(column).is_null() if self._cells(column).dtype == pl.String else self._cells(column).is_null()
        )
        if needed:
            self._refuse(empty, column, "the cell is empty")
        self._refuse(parsed.is_null() & ~empty, column, reason)

    # --- a payment --------------------------------------------------------------------------------------------------

    def _time(self) -> pl.Series:
        columns = self.mapping.time_columns
        cells = self._cells(columns[0])
        if len(columns) > 1:
            if cells.dtype == pl.Datetime:
                cells = cells.cast(pl.Date)
            cells = pl.select(pl.concat_str([text(cells), *map(self._text, columns[1:])], separator=" ")).to_series()
        format = self.mapping.formats.get(columns[0], ISO)
        at = instants(cells, format, self.mapping.timezone)
        self._refuse_unread(at, columns[0], f"not a time ({format})", needed=True)
        self._refuse(at.is_null(), columns[-1], f"not a time ({format})")
        self._refuse(~at.is_between(0, _LATEST_US), columns[0], "not a time from 1970 to 2100")
        return at

    def _ids(self) -> pl.Series:
        columns = self.mapping.id_columns
        if not columns:
            return pl.Series("payment_id", [f"line-{n}" for n in self.lines.tolist()], dtype=pl.String)
        for column in columns:
            self._refuse_unread(self._text(column), column, "the cell is empty", needed=True)
        ids = pl.select(pl.concat_str([self._text(c) for c in columns], separator="/")).to_series()
        if len(columns) > 1 or not self._is_small_whole(columns[0]):
            self._refuse_text(ids, columns[0], ID, "payment_id", longest=128 - len("chargeback:"))
        return ids

    def _currency(self) -> pl.Series:
        column = self.mapping.currency
        schema = self.plan.schema
        if column == f"={schema.base_currency}":
            return self._cells(column)
        codes = self._text(column).str.to_uppercase()
        self._refuse_unread(codes, column, "the cell is empty", needed=True)
        self._refuse(~codes.is_in(list(EXPONENT)), column, "not an ISO 4217 currency in use")
        rated = [schema.base_currency, *schema.rates]
        self._refuse(~codes.is_in(rated), column, f"no rate to {schema.base_currency} in [schema.settings.rates]")
        return codes

    def _amount(self, currency: pl.Series) -> pl.Series:
        column = self.mapping.amount or self.mapping.amount_minor
        cells = self._cells(column)
        found = numbers(cells, self.mapping.decimal_mark)
        found = found.set(~found.is_finite(), None)
        self._refuse_unread(found, column, "not an amount", needed=True)
        if self.mapping.negative_amounts == "flip":
            found = -found
        self._refuse(found < 0, column, "a negative amount is no payment (negative_amounts)")
        exponents = self._exponents(currency)
        if self.mapping.amount_minor:
            self._refuse(found != found.floor(), column, "minor units are whole numbers")
            scaled = found
        else:
            scaled = found * 10.0**exponents
        minor = scaled.round(mode="half_to_even")
        unsure = ((scaled - minor).abs() > 1e-9 * (scaled.abs() + 1)).fill_null(False) & pl.Series(self.ok)
        self._refuse(minor.fill_null(0) > MAX_MINOR, column, "the amount is too large")
        whole = minor.set(minor > MAX_MINOR, None).cast(pl.Int64)
        if unsure.any():
            at = np.flatnonzero(unsure.to_numpy())
            exact = [minor_from_text(repr(x), c) for x, c in zip(found.gather(at), currency.gather(at), strict=True)]
            whole = whole.scatter(at, exact)
        self._refuse(self._base(whole, currency, exponents) > MAX_MINOR, column, "the amount is too large")
        return whole

    def _exponents(self, currency: pl.Series) -> pl.Series | int:
        if self.mapping.currency.startswith("="):
            return EXPONENT.get(self.mapping.currency[1:], 0)
        return currency.replace_strict(EXPONENT, default=0, return_dtype=pl.Int64)

    def _base(self, minor: pl.Series, currency: pl.Series, exponents: pl.Series | int) -> pl.Series:
        schema = self.plan.schema
        if not schema.rates:
            return minor
        rates = {schema.base_currency: 1.0, **schema.rates}
        rate = currency.replace_strict(rates, default=1.0, return_dtype=pl.Float64)
        return minor * rate * 10.0 ** (EXPONENT[schema.base_currency] - exponents)

    def _captured(self) -> pl.Series:
        column = self.mapping.outcomes.captured
        if not column:
            return pl.repeat(None, len(self.frame), dtype=pl.Boolean, eager=True)
        found = self._flag("captured")
        return pl.repeat(False, len(self.frame), dtype=pl.Boolean, eager=True) if self.plan.explicit else found

    def _flag(self, outcome: str) -> pl.Series:
        column = getattr(self.mapping.outcomes, outcome)
        found = flags(self._cells(column), self.mapping.yes.get(outcome, ()))
        self._refuse_unread(found, column, "not a yes or no: list the values that mean yes under [yes]")
        return found

    # --- its fields -------------------------------------------------------------------------------------------------

    def _field(self, field: Field) -> pl.Series:
        column, rule = field.column, field.rule
        if rule.kind == "text":
            cells = self._text(column)
            if rule.pattern not in ("", ID.pattern) or not self._is_small_whole(column):
                self._refuse_text(cells, column, rule, field.path)
            return cells
        if rule.kind == "time":
            at = instants(self._cells(column), self.mapping.formats.get(column, ISO), self.mapping.timezone)
            self._refuse_unread(at, column, "not a time")
            self._refuse(~at.is_between(_EARLIEST_US, _LATEST_US), column, "not a time from 1900 to 2100")
            return at.cast(pl.Datetime("us"))
        cells = missing(self._cells(column))
        found = numbers(cells, self.mapping.decimal_mark)
        found = found.set(~found.is_finite(), None)
        self._refuse(found.is_null() & text(cells).is_not_null(), column, "not a number")
        if rule.kind == "whole":
            self._refuse(~found.is_between(rule.low, rule.high), column, f"not a number from {rule.low} to {rule.high}")
            return found.set(~found.is_between(rule.low, rule.high), None).round().cast(pl.Int64)
        self._refuse(found.abs() * 10 ** self.plan.decimals[field.path] > _LARGEST, column, "the number is too large")
        if bool((found.abs() >= _LONG).any()):
            self._refuse_cards(text(found), column, field.path)
        return found

    def _refuse_text(self, cells: pl.Series, column: str, rule: Rule, path: str, longest: int = 0) -> None:
        longest = longest or rule.longest
        self._refuse(cells.str.len_bytes() > longest * 4, column, f"longer than {longest} characters")
        if bool((cells.str.len_bytes() > longest).any()):
            self._refuse(cells.str.len_chars() > longest, column, f"longer than {longest} characters")
        if rule.pattern:
            reason = "it holds control characters" if rule.pattern == ID.pattern else f"not of the form {rule.pattern}"
            self._refuse(~cells.str.contains(rule.pattern), column, reason)
        self._refuse_cards(cells, column, path)

    def _is_small_whole(self, column: str) -> bool:
        """Tell whether cells are whole numbers of so few digits that as text nothing can be wrong with them."""
        if column.startswith("=") or not self.frame[column].dtype.is_integer():
            return False
        return bool((self.frame[column].drop_nulls().cast(pl.Int64, strict=False).abs() < _LONG).all())

    def _refuse_cards(self, cells: pl.Series, column: str, path: str) -> None:
        if not path.endswith(EXEMPT):
            self._refuse(
                with_card_number(cells), column, "a card number stands in the payload: list the column under hashed"
            )

    # --- what became of it ------------------------------------------------------------------------------------------

    def _outcomes(self, payments: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, npt.NDArray[np.int64]]]:
        """Yield outcomes of one kind each, and the rows they belong to."""
        o = self.mapping.outcomes
        if o.auth_approved:
            approved = self._flag("auth_approved")
            codes = (
                self._text(o.issuer_code)
                if o.issuer_code
                else pl.repeat("", len(payments), dtype=pl.String, eager=True)
            )
            if o.issuer_code:
                self._refuse_text(codes, o.issuer_code, IP, "issuer_code")
            yield self._known(
                payments, approved.is_not_null(), AUTH, approved=approved, issuer_code=codes.fill_null("")
            )
        if o.captured and self.plan.explicit:
            yield self._known(payments, self._flag("captured").fill_null(False), CAPTURE)
        if o.early_warning_at:
            at = self._reported(o.early_warning_at)
            yield self._known(payments, at.is_not_null(), WARNING, at=at)
        if o.fraud_reported_at:
            at = self._reported(o.fraud_reported_at)
            yield self._known(payments, at.is_not_null(), CHARGEBACK, at=at)
        elif o.fraud:
            fraud = self._flag("fraud").fill_null(False) & pl.Series(self.ok)
            rows = np.flatnonzero(fraud.to_numpy())
            delays = [self.rows.drawn_us(id) for id in payments["payment_id"].gather(rows)]
            drawn = payments["at"].scatter(rows, payments["at"].gather(rows) + pl.Series(delays, dtype=pl.Int64))
            yield self._known(payments, fraud, LABEL, at=drawn)

    def _reported(self, column: str) -> pl.Series:
        """Return when something was reported: a day without a time ends before it is known."""
        format = self.mapping.formats.get(column, ISO)
        at = instants(missing(self._cells(column)), format, self.mapping.timezone)
        self._refuse(at.is_null() & text(missing(self._cells(column))).is_not_null(), column, f"not a time ({format})")
        self._refuse(~at.is_between(0, _LATEST_US), column, "not a time from 1970 to 2100")
        return at + date_only(self._cells(column), format).cast(pl.Int64) * (_DAY_US - 1)

    def _known(
        self, payments: pl.DataFrame, happened: pl.Series, kind: int, at: pl.Series | None = None, **more: pl.Series
    ) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
        rows = np.flatnonzero((happened & pl.Series(self.ok)).to_numpy())
        of = payments[rows].select("at", "line", "key", "payment_id")
        known = of["at"] if at is None else pl.Series(np.maximum(at.gather(rows).to_numpy(), of["at"].to_numpy()))
        rank = (known == of["at"]).cast(pl.Int8)
        columns: dict[str, Any] = {
            "at": known,
            "rank": rank,
            "line": of["line"],
            "kind": pl.repeat(kind, len(rows), dtype=pl.Int8, eager=True),
            "key": of["key"],
            "payment_id": of["payment_id"],
            "approved": more["approved"].gather(rows)
            if more
            else pl.repeat(None, len(rows), dtype=pl.Boolean, eager=True),
            "issuer_code": more["issuer_code"].gather(rows)
            if more
            else pl.repeat("", len(rows), dtype=pl.String, eager=True),
        }
        return pl.DataFrame({name: column.alias(name) for name, column in columns.items()}), rows


def until_text(until_us: int) -> str:
    """Return an instant as people read it."""
    return from_ms(until_us // 1000).isoformat()
