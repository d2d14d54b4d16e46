"""Checked columns become events of the wire, in the order in which they were known."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from avalist.domain.events import (
    IMPUTED,
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    Label,
    Payment,
    Refund,
    WireEvent,
)
from avalist.history.outcomes import AUTH, CAPTURE, CHARGEBACK, CHARGED_BACK, REFUND, WARNING
from avalist.history.paths import Part
from avalist.history.plan import Plan

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_HELD = 100_000
_AT_ONCE = 1
"""Rank of payments and what they bring; what was due from earlier payments comes before, at rank 0."""
_ORDER = ("at", "rank", "line", "kind")
_BARE: dict[int, tuple[str, type[Capture | EarlyFraudWarning | Chargeback]]] = {
    CAPTURE: ("capture", Capture), WARNING: ("efw", EarlyFraudWarning), CHARGEBACK: ("chargeback", Chargeback),
}  # fmt: skip


class Told(NamedTuple):
    """Events, and the line that each stands on."""

    lines: list[int]
    events: list[WireEvent]


class Assembler:
    """Makes events of checked columns. Parts of payments that come again, such as a customer, are made once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made: dict[str, dict[tuple[Any, ...], Any]] = {name: {} for name in plan.parts}
        self._custom = [f.path for f in plan.fields if f.path.startswith("custom.")]

    def told(self, payments: pl.DataFrame, outcomes: pl.DataFrame) -> Told:
        """Return the events by time; at one instant first what was due from earlier payments, then by line and kind."""
        events: list[WireEvent] = [*self._payments(payments), *_outcomes(outcomes)]
        keys = [_key(payments.with_columns(rank=_AT_ONCE, kind=0)), _key(outcomes)]
        columns = {name: np.concatenate([key[name] for key in keys]) for name in _ORDER}
        order = np.lexsort([columns[name] for name in reversed(_ORDER)])
        return Told(columns["line"][order].tolist(), [events[place] for place in order.tolist()])

    def _payments(self, frame: pl.DataFrame) -> Iterable[Payment]:
        if not len(frame):
            return ()
        ids, at = frame["payment_id"].to_list(), _times(frame["at"])
        columns: dict[str, Iterable[Any]] = {
            "event_id": map("pay:".__add__, ids),
            "payment_id": ids,
            "occurred_at": at,
            "received_at": at,
            **{name: frame[name].to_list() for name in ("amount_minor", "currency", "captured")},
            **{name: self._part(part, frame) for name, part in self._plan.parts.items()},
        }
        if "cart" in columns:
            columns["cart"] = [(item,) if item else () for item in columns["cart"]]
        if "ip" in frame.columns:
            columns["ip"] = frame["ip"].to_list()
        if self._custom:
            columns["custom"] = _custom(frame.select(self._custom))
        return map(_maker(tuple(columns)), *columns.values())

    def _part(self, part: Part, frame: pl.DataFrame) -> list[Any]:
        """Return a part of every payment; None where it is empty or lacks what it cannot be without."""
        fields = {f.path.partition(".")[2]: f.path for f in self._plan.fields if f.path.startswith(f"{part.name}.")}
        columns = {name: _values(frame[path]) for name, path in fields.items()}
        rows = list(zip(*columns.values(), strict=True))
        made = self._made[part.name]
        if len(made) > _HELD:
            made.clear()
        for row in set(rows) - made.keys():
            given = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            made[row] = part.kind(**given) if given and given.keys() >= set(part.needed) else None
        return [made[row] for row in rows]


@functools.cache
def _maker(fields: tuple[str, ...]) -> Callable[..., Payment]:
    """Return what makes a payment of these fields, in this order: to name the others too would cost three times as
    much.
    """
    given = ", ".join(f"{field}={field}" for field in fields)
    return cast(Callable[..., Payment], eval(f"lambda {', '.join(fields)}: make({given})", {"make": Payment}))


def _key(frame: pl.DataFrame) -> dict[str, Any]:
    empty = np.zeros(0, dtype=np.int64)
    return {name: frame[name].to_numpy() if len(frame) else empty for name in _ORDER}


def _custom(frame: pl.DataFrame) -> list[dict[str, Any]]:
    given = frame.rename(lambda path: path.removeprefix("custom."))
    rows: list[dict[str, Any]] = given.to_struct().to_list()
    if not any(column.null_count() for column in given.iter_columns()):
        return rows
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _values(column: pl.Series) -> list[Any]:
    return column.to_list() if column.dtype != pl.Datetime else _times(column.cast(pl.Int64))


def _times(at: pl.Series) -> list[Any]:
    """Return microseconds since 1970 as times in UTC; null is None."""
    deltas = (
        at.to_numpy().astype("timedelta64[us]").tolist()
        if not at.null_count()
        else at.cast(pl.Duration("us")).to_list()
    )
    return [delta if delta is None else _EPOCH + delta for delta in deltas]


def _outcomes(frame: pl.DataFrame) -> Iterable[WireEvent]:
    if not len(frame):
        return
    columns = frame.select("kind", "payment_id", "line", "amount_minor", "approved", "issuer_code").iter_rows()
    for (kind, id, line, amount_minor, approved, code), at in zip(columns, _times(frame["at"]), strict=True):
        when: dict[str, Any] = {"occurred_at": at, "received_at": at, "payment_id": id}
        if kind in _BARE:
            name, type = _BARE[kind]
            yield type(event_id=f"{name}:{id}", **when)
        elif kind == REFUND:  # one payment may have several
            yield Refund(event_id=f"refund:{line}:{id}", amount_minor=amount_minor, **when)
        elif kind == CHARGED_BACK:
            yield Chargeback(event_id=f"chargeback:{line}:{id}", **when)
        elif kind == AUTH:
            yield AuthorisationResult(event_id=f"auth:{id}", approved=approved, issuer_code=code, **when)
        else:
            yield Label(event_id=f"label:{id}", fraud=True, source=IMPUTED, **when)
