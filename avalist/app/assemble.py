"""Checked columns become events of the wire, in the order in which they were known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from avalist.app.paths import Part
from avalist.app.rows import AT_ONCE, AUTH, CAPTURE, CHARGEBACK, WARNING, Plan
from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    Label,
    Payment,
    WireEvent,
)

_ORDER = ("at", "rank", "line", "kind")
_BARE: dict[int, tuple[str, type[Capture | EarlyFraudWarning | Chargeback]]] = {
    CAPTURE: ("capture", Capture), WARNING: ("efw", EarlyFraudWarning), CHARGEBACK: ("chargeback", Chargeback),
}  # fmt: skip


def assemble(plan: Plan, payments: pl.DataFrame, outcomes: pl.DataFrame) -> list[WireEvent]:
    """Return the events by time; at one instant first what was due from earlier payments, then by line and kind."""
    events: list[WireEvent] = [*_payments(plan, payments), *_outcomes(outcomes)]
    keys = [_key(payments.with_columns(rank=AT_ONCE, kind=0)), _key(outcomes)]
    order = np.lexsort([np.concatenate([key[name] for key in keys]) for name in reversed(_ORDER)])
    return [events[place] for place in order.tolist()]


def _key(frame: pl.DataFrame) -> dict[str, Any]:
    empty = np.zeros(0, dtype=np.int64)
    return {name: frame[name].to_numpy() if len(frame) else empty for name in _ORDER}


def _payments(plan: Plan, frame: pl.DataFrame) -> Iterable[Payment]:
    if not len(frame):
        return
    ids, at = frame["payment_id"].to_list(), _times(frame["at"])
    columns: dict[str, Sequence[Any]] = {
        "event_id": ["pay:" + id for id in ids],
        "payment_id": ids,
        "occurred_at": at,
        "received_at": at,
        "amount_minor": frame["amount_minor"].to_list(),
        "currency": frame["currency"].to_list(),
        "captured": frame["captured"].to_list(),
        **_parts(plan, frame),
    }
    names = tuple(columns)
    for row in zip(*columns.values(), strict=True):
        yield Payment(**dict(zip(names, row, strict=True)))


def _parts(plan: Plan, frame: pl.DataFrame) -> dict[str, Sequence[Any]]:
    parts: dict[str, Sequence[Any]] = {}
    for part in plan.parts.values():
        made = _part(
            part, {f.path.partition(".")[2]: f.path for f in plan.fields if f.path.startswith(f"{part.name}.")}, frame
        )
        parts[part.name] = [(one,) if one else () for one in made] if part.name == "cart" else made
    if "ip" in frame.columns:
        parts["ip"] = frame["ip"].to_list()
    custom = [f.path for f in plan.fields if f.path.startswith("custom.")]
    if custom:
        parts["custom"] = _custom([path.removeprefix("custom.") for path in custom], frame.select(custom))
    return parts


def _part(part: Part, paths: dict[str, str], frame: pl.DataFrame) -> list[Any]:
    """Return a part of every payment; None where it is empty or lacks what it cannot be without.

    A customer without an id is known by the e-mail address.
    """
    columns = {name: _values(frame[path]) for name, path in paths.items()}
    if part.name == "customer" and "email" in columns:
        ids = columns.get("id", [None] * len(frame))
        columns["id"] = [id or email for id, email in zip(ids, columns["email"], strict=True)]
    names, needed = tuple(columns), [n for n, name in enumerate(columns) if name in part.needed]
    made: dict[tuple[Any, ...], Any] = {(None,) * len(names): None}
    found = []
    for row in zip(*columns.values(), strict=True):
        one = made.get(row, made)
        if one is made:
            given = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            one = made[row] = None if any(row[n] is None for n in needed) else part.kind(**given)
        found.append(one)
    return found


def _custom(names: list[str], frame: pl.DataFrame) -> list[dict[str, Any]]:
    if len(names) == 1:
        (name,) = names
        return [{name: value} if value is not None else {} for value in frame.to_series()]
    rows = zip(*(column.to_list() for column in frame.iter_columns()), strict=True)
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]


def _values(column: pl.Series) -> Sequence[Any]:
    """Return the values of a field; a field of whole microseconds is one of times."""
    return column.to_list() if column.dtype != pl.Datetime else _times(column.cast(pl.Int64))


def _times(at: pl.Series) -> list[dt.datetime | None]:
    naive: list[dt.datetime | None] = (
        at.to_numpy().astype("datetime64[us]").tolist()
        if not at.null_count()
        else (at.cast(pl.Datetime("us")).to_list())
    )
    return [time and time.replace(tzinfo=dt.UTC) for time in naive]


def _outcomes(frame: pl.DataFrame) -> Iterable[WireEvent]:
    if not len(frame):
        return
    columns = frame.select("kind", "payment_id", "approved", "issuer_code").iter_rows()
    for (kind, id, approved, code), at in zip(columns, _times(frame["at"]), strict=True):
        when: dict[str, Any] = {"occurred_at": at, "received_at": at, "payment_id": id}
        if kind in _BARE:
            name, type = _BARE[kind]
            yield type(event_id=f"{name}:{id}", **when)
        elif kind == AUTH:
            yield AuthorisationResult(event_id=f"auth:{id}", approved=approved, issuer_code=code, **when)
        else:
            yield Label(event_id=f"label:{id}", fraud=True, source="imputed", **when)
