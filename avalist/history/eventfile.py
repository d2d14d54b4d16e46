"""History that is written as our own events, one JSON object a line: it goes in as it is, in known-time order."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from avalist.domain.cards import doubtful, refuse_card_numbers
from avalist.domain.errors import BadInput
from avalist.domain.events import Payment, WireEvent, decode_again, decode_event, decode_many
from avalist.domain.money import EXPONENT, MAX_MINOR, convert_minor
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.history.columns import LATEST_US
from avalist.history.rejects import Reject, Rejects
from avalist.history.source import Survey
from avalist.history.spill import I64, RUN_ROWS, Spill
from avalist.history.table import Lines, Table
from avalist.history.understanding.proposal import ROUGH_RATES

_LOOKED_AT = 5000
_TOGETHER = 128
"""Lines that are checked at once: where one is bad, each of them is checked alone."""
_WIDE = 8
"""A line is as large as so many rows of ids."""
_EPOCH, _MICROSECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)


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
        run_rows: int = RUN_ROWS,
    ) -> None:
        self._table, self._schema, self._known = Table(file), schema, known
        self._until_us = LATEST_US if until is None else (until - _EPOCH) // _MICROSECOND
        self._times = folder / "times"
        self._ids = Spill(folder / "ids", "key", run_rows)
        self._payments = Spill(folder / "payments", "key", run_rows)
        self._sorted = Spill(folder / "sorted", "at", max(run_rows // _WIDE, 1))
        self._in_order, self._last_us = True, 0
        self._left: set[int] = set()

    def survey(self, rejects: Rejects, progress: Callable[[int], None] = lambda rows: None) -> Survey:
        """Read the file through and check every event. Lines that do not pass go to `rejects`."""
        read = late = payments = 0
        with self._times.open("wb") as times:
            for lines in self._table.lines():
                frame = _columns(self._checked(lines, rejects))
                times.write(_by_line(lines, frame).tobytes())
                kept = self._in_time(frame)
                late += len(frame) - len(kept)
                payments += int((kept["slot"] != "").sum())
                self._keep(kept)
                read += len(lines.numbers)
                progress(read)
        again = self._repeated()
        self._reject(rejects, again, "event_id", "the event id, or the payment at this checkpoint, came before")
        orphans = self._orphans(again)
        self._reject(rejects, orphans, "payment_id", "no such payment before this outcome")
        others = self._ids.rows - payments - len(again) - len(orphans)
        return Survey(payments, others, late, rejects.count, read, {}, {})

    def events(self, since_ms: int = 0) -> Iterator[list[WireEvent]]:
        """Yield the events in known-time order, some thousands at a time; after :meth:`survey`."""
        return (list(map(_received, decode_again(some.raws))) for some in self._kept_lines() if some.raws)

    def numbered(self) -> Iterator[tuple[int, WireEvent]]:
        """Yield the events in known-time order, each with its line; after :meth:`survey`."""
        for some in self._kept_lines():
            yield from zip(some.numbers, map(_received, decode_again(some.raws)), strict=True)

    # --- checks -----------------------------------------------------------------------------------------------------

    def _checked(self, lines: Lines, rejects: Rejects) -> list[tuple[int, WireEvent]]:
        """Return the events of the lines that hold one, with the line's number."""
        sound: list[tuple[int, WireEvent]] = []
        refused: list[Reject] = []
        for start in range(0, len(lines.raws), _TOGETHER):
            numbers, raws = lines.numbers[start : start + _TOGETHER], lines.raws[start : start + _TOGETHER]
            try:
                sound += zip(numbers, self._events_of(raws), strict=True)
            except BadInput:  # of which line?
                for n, raw in zip(numbers, raws, strict=True):
                    try:
                        sound += zip((n,), self._events_of((raw,)), strict=True)
                    except BadInput as error:
                        refused.append(Reject(n, error.field, error.detail))
        self._left.update(reject.line for reject in refused)
        rejects.add(refused)
        return sound

    def _events_of(self, raws: Sequence[bytes]) -> list[WireEvent]:
        """Return the events that lines hold. Raises ``BadInput`` if one holds none that can be taken."""
        suspects, events = doubtful(raws), decode_many(raws)
        for place in suspects.union([n for n, event in enumerate(events) if getattr(event, "custom", None)]):
            refuse_card_numbers(raws[place], events[place])
        for event in events:
            if isinstance(event, Payment) and event.currency != self._schema.base_currency:
                self._check_money(event)
        return events

    def _check_money(self, event: Payment) -> None:
        """Raise ``BadInput`` for an amount in another currency that the schema cannot convert."""
        schema = self._schema
        base = convert_minor(event.amount_minor, event.currency, schema.base_currency, schema.rates)
        if base > MAX_MINOR:
            raise BadInput("the amount is too large", field="$.amount_minor")

    def _in_time(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Leave out what was known too late, and see whether the events stand in order."""
        at = frame["at"].to_numpy()
        if len(at):
            self._in_order = self._in_order and bool((np.diff(at, prepend=self._last_us) >= 0).all())
            self._last_us = int(at[-1])
        self._left.update(frame["line"].filter(frame["at"] >= self._until_us).to_list())
        return frame.filter(pl.col("at") < self._until_us)

    def _keep(self, frame: pl.DataFrame) -> None:
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

    def _orphans(self, again: list[int]) -> list[int]:
        """Return the lines of outcomes that no payment stands before, those that came `again` aside."""
        lines: list[int] = []
        for range in _ranges(self._payments):
            seen = range.filter(~pl.col("line").is_in(again)).sort("key", "at", "line")
            seen = seen.with_columns(after=(pl.col("slot") != "").cum_max().over("key"))
            alone = seen.filter(~pl.col("after")).select("line", "payment_id").iter_rows()
            lines += [line for line, payment_id in alone if not self._known(payment_id)]
        return lines

    def _reject(self, rejects: Rejects, lines: list[int], column: str, reason: str) -> None:
        self._left.update(lines)
        rejects.add([Reject(line, column, reason) for line in sorted(lines)])

    # --- events, again ----------------------------------------------------------------------------------------------

    def _kept_lines(self) -> Iterator[Lines]:
        return self._lines() if self._in_order else self._sorted_lines()

    def _lines(self) -> Iterator[Lines]:
        for lines in self._table.lines():
            if self._left.isdisjoint(lines.numbers):
                yield lines
                continue
            kept = [n not in self._left for n in lines.numbers]
            yield Lines(list(compress(lines.numbers, kept)), list(compress(lines.raws, kept)))

    def _sorted_lines(self) -> Iterator[Lines]:
        with self._times.open("rb") as times:
            for lines in self._table.lines():
                at = np.frombuffer(times.read(8 * len(lines.numbers)), dtype=np.int64)
                frame = pl.DataFrame({"at": at, "line": lines.numbers, "raw": lines.raws})
                self._sorted.add(frame.filter([n not in self._left for n in lines.numbers]))
        for range in _ranges(self._sorted):
            ordered = range.sort("at", "line")
            yield Lines(ordered["line"].to_list(), ordered["raw"].to_list())


def _columns(sound: list[tuple[int, WireEvent]]) -> pl.DataFrame:
    """Return ``at`` (µs since 1970) line event_id payment_id and ``slot``, a payment's checkpoint, of events."""
    events = [event for _, event in sound]
    since_us = [((event.received_at or event.occurred_at) - _EPOCH) // _MICROSECOND for event in events]
    return pl.DataFrame(
        {
            "at": pl.Series(since_us, dtype=pl.Int64),
            "line": pl.Series([n for n, _ in sound], dtype=pl.Int64),
            "event_id": pl.Series([event.event_id for event in events], dtype=pl.String),
            "payment_id": pl.Series([getattr(event, "payment_id", "") for event in events], dtype=pl.String),
            "slot": pl.Series([getattr(event, "checkpoint", "") for event in events], dtype=pl.String),
        }
    )


def _by_line(lines: Lines, frame: pl.DataFrame) -> I64:
    """Return ``at`` of every line, 0 where it holds no event."""
    at = np.zeros(len(lines.numbers), dtype=np.int64)
    at[np.searchsorted(np.array(lines.numbers), frame["line"].to_numpy())] = frame["at"].to_numpy()
    return at


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
    for raw in next(Table(file).lines()).raws[:_LOOKED_AT]:
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
