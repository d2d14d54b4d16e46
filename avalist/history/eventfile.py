"""History that is written as our own events, one JSON object a line: it goes in as it is, in known-time order."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from avalist.domain.cards import refuse_card_numbers
from avalist.domain.errors import BadInput
from avalist.domain.events import Payment, WireEvent, decode_event
from avalist.domain.money import EXPONENT, MAX_MINOR, convert_minor
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.history.rejects import Reject, Rejects
from avalist.history.source import Survey
from avalist.history.spill import Spill
from avalist.history.table import Table
from avalist.history.understanding.proposal import ROUGH_RATES

_CHUNK = 8192
_LOOKED_AT = 5000
_US = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Line(NamedTuple):
    at: int
    line: int
    event_id: str
    payment_id: str
    slot: str


class EventHistory:
    """The history that a file of events tells; the interface of ``RowHistory``.

    `known` tells whether the merchant has a payment already, so that a file may hold later outcomes alone.
    """

    def __init__(
        self,
        file: Path,
        schema: Schema,
        folder: Path,
        until: dt.datetime | None = None,
        known: Callable[[str], bool] = lambda payment_id: False,
    ) -> None:
        self._table, self._schema, self._known = Table(file), schema, known
        self._until = until
        self._ids = Spill(folder / "ids", "key")
        self._payments = Spill(folder / "payments", "key")
        self._sorted = Spill(folder / "sorted", "at")
        self._in_order, self._last = True, _EPOCH
        self._left: set[int] = set()

    def survey(self, rejects: Rejects, progress: Callable[[int], None] = lambda rows: None) -> Survey:
        """Read the file through and check every event. Lines that do not pass go to `rejects`."""
        read = late = payments = 0
        lines = self._table.lines()
        while chunk := list(islice(lines, _CHUNK)):
            read += len(chunk)
            sound = [one for n, raw in chunk if (one := self._checked(n, raw, rejects))]
            kept = [one for one in sound if one.line not in self._left]
            late += len(sound) - len(kept)
            payments += sum(one.slot != "" for one in kept)
            self._keep(kept)
            progress(read)
        again = self._repeated()
        self._reject(rejects, again, "event_id", "the event id, or the payment at this checkpoint, came before")
        orphans = self._orphans()
        self._reject(rejects, orphans, "payment_id", "no such payment before this outcome")
        others = self._ids.rows - payments - len(again) - len(orphans)
        return Survey(payments, others, late, rejects.count, read)

    def events(self, since_ms: int = 0) -> Iterator[list[WireEvent]]:
        """Yield the events in known-time order, some thousands at a time; after :meth:`survey`."""
        sound = ((n, raw) for n, raw in self._table.lines() if n not in self._left)
        lines = sound if self._in_order else self._resorted(sound)
        while chunk := list(islice(lines, _CHUNK)):
            yield [_received(decode_event(raw)) for _, raw in chunk]

    # --- checks -----------------------------------------------------------------------------------------------------

    def _checked(self, n: int, raw: bytes, rejects: Rejects) -> _Line | None:
        try:
            event = decode_event(raw)
            refuse_card_numbers(raw, event)
            if isinstance(event, Payment):
                self._check_money(event)
        except BadInput as error:
            self._left.add(n)
            rejects.add([Reject(n, error.field, error.detail)])
            return None
        at = event.received_at or event.occurred_at
        if self._until is not None and at >= self._until:
            self._left.add(n)
        self._in_order = self._in_order and at >= self._last
        self._last = at
        slot = event.checkpoint if isinstance(event, Payment) else ""
        return _Line((at - _EPOCH) // _US, n, event.event_id, getattr(event, "payment_id", ""), slot)

    def _check_money(self, event: Payment) -> None:
        schema = self._schema
        base = convert_minor(event.amount_minor, event.currency, schema.base_currency, schema.rates)
        if base > MAX_MINOR:
            raise BadInput("the amount is too large", field="$.amount_minor")

    def _keep(self, lines: Sequence[_Line]) -> None:
        if not lines:
            return
        frame = pl.DataFrame(dict(zip(_Line._fields, zip(*lines, strict=True), strict=True)))
        self._ids.add(frame.select(_key("event_id"), "at", "line"))
        named = frame.filter(pl.col("payment_id") != "")
        self._payments.add(named.select(_key("payment_id"), "at", "line", "payment_id", "slot"))

    def _repeated(self) -> list[int]:
        """Return the lines of event ids, and of payments at one checkpoint, but the first."""
        lines: list[int] = []
        for range in _ranges(self._ids):
            lines += range.sort("key", "at", "line").filter(~pl.col("key").is_first_distinct())["line"].to_list()
        for range in _ranges(self._payments):
            asked = range.filter(~pl.col("slot").is_in(["", "rescore"])).sort("key", "at", "line")
            lines += asked.filter(~pl.struct("key", "slot").is_first_distinct())["line"].to_list()
        return sorted(set(lines))

    def _orphans(self) -> list[int]:
        """Return the lines of outcomes that no payment stands before."""
        lines: list[int] = []
        for range in _ranges(self._payments):
            seen = range.filter(~pl.col("line").is_in(list(self._left))).sort("key", "at", "line")
            seen = seen.with_columns(after=(pl.col("slot") != "").cum_max().over("key"))
            alone = seen.filter(~pl.col("after")).select("line", "payment_id").iter_rows()
            lines += [line for line, payment_id in alone if not self._known(payment_id)]
        return lines

    def _reject(self, rejects: Rejects, lines: list[int], column: str, reason: str) -> None:
        self._left.update(lines)
        rejects.add([Reject(line, column, reason) for line in sorted(lines)])

    def _resorted(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        lines = iter(lines)
        while chunk := list(islice(lines, _CHUNK)):
            events = [decode_event(raw) for _, raw in chunk]
            at = [((event.received_at or event.occurred_at) - _EPOCH) // _US for event in events]
            numbers, raws = zip(*chunk, strict=True)
            self._sorted.add(pl.DataFrame({"at": at, "line": numbers, "raw": raws}))
        for range in self._sorted.ranges(self._sorted.bounds()):
            if len(range):
                yield from range.sort("at", "line").select("line", "raw").iter_rows()


def _ranges(spill: Spill) -> Iterator[pl.DataFrame]:
    return (range for range in spill.ranges(spill.bounds()) if len(range))


def _key(column: str) -> pl.Expr:
    return pl.col(column).hash(seed=0).reinterpret(signed=True).alias("key")


def _received(event: WireEvent) -> WireEvent:
    if event.received_at is not None:
        return event
    return msgspec.structs.replace(event, received_at=event.occurred_at)


def schema_of_events(file: Path) -> Schema:
    """Return the schema for digital goods in the currency that a file's first payments are mostly in."""
    found = Counter[str]()
    for _, raw in islice(Table(file).lines(), _LOOKED_AT):
        try:
            event = decode_event(raw)
        except BadInput:
            continue
        if isinstance(event, Payment) and event.currency in EXPONENT:
            found[event.currency] += 1
    if not found:
        return DIGITAL_GOODS
    base = found.most_common(1)[0][0]
    rates = {c: ROUGH_RATES[c] / ROUGH_RATES[base] for c in found if c != base and {c, base} <= ROUGH_RATES.keys()}
    return msgspec.structs.replace(DIGITAL_GOODS, base_currency=base, rates=rates)
