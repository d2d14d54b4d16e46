"""Rebuild: a merchant's log merged with more history by known time, as a new generation of the whole log.

The merchant's events keep their content and their order and get a fresh ``seq`` among those of the file; outcomes are
joined with their payments again, for a file may tell of a payment what came before. Decisions and fallbacks go along
as they were: they are the first answers, given under the history of their generation, and nothing decides them again.
Records of other merchants are copied.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from avalist.app.backfill import backfill_from
from avalist.app.merchant import Merchant, created_by, decode_event_core
from avalist.app.tables import LoadTables, no_tables
from avalist.app.take import Carried, Known, New, Taker, encode
from avalist.app.there import Difference, There
from avalist.domain.core import EventCore, GenerationStarted
from avalist.domain.errors import AvalistError, BadInput, NotFound, Unavailable
from avalist.domain.events import Payment, WireEvent, known_at, to_ms
from avalist.domain.records import Record, RecordKind
from avalist.enrich.seal import Secret
from avalist.history.rejects import Reject
from avalist.models.score import Model
from avalist.ports.log import Log

_BATCH: Final = 4096
_SYNC_EVERY: Final = 32_768
"""Records; what is not synced yet lies in memory."""

Told = tuple[int, WireEvent]
"""An event of the file, and its line."""


class Merged(msgspec.Struct, kw_only=True):
    """What was merged: `carried` inputs and `decisions` of the old generation, `added` events of the file.

    Of those, `payments` are payments; `there` more were there already, and `refused` were not taken.
    """

    carried: int = 0
    decisions: int = 0
    added: int = 0
    payments: int = 0
    there: int = 0
    refused: int = 0


class _Group(NamedTuple):
    """An input of the old generation and the answers that follow it; `event` where it is one."""

    at_ms: int
    event: Carried | None
    records: list[Record]


class _Line(NamedTuple):
    """An event of the file."""

    at_ms: int
    event: WireEvent
    number: int


class Rebuild:
    """Writes the next generation of a log: `old` is only read, `new` is empty.

    `refuse` is told of each line of the file that contradicts what is there, or does not fit.
    """

    def __init__(
        self, old: Log, new: Log, merchant: str, generation: int, secret: Secret, refuse: Callable[[Reject], None],
        load_tables: LoadTables = no_tables,
    ) -> None:  # fmt: skip
        self._old, self._new = old, new
        self._id, self._generation = merchant, generation
        self._taker = Taker(new, secret, load_tables)
        self._refuse = refuse
        self._refused: dict[str, int] = {}
        self._unsynced = 0
        self.done = Merged()

    def run(self, told: Iterable[Told], there: There, progress: Callable[[int], None] = lambda merged: None) -> Merged:
        """Merge the file's events, in known-time order, into the log; return what became of them.

        `progress` is told how many inputs and events are merged. Raises ``NotFound`` if the merchant is not in the log.
        """
        groups = self._groups()
        self._merchant = self._created(next(groups))
        streams: list[Iterator[_Group | _Line]] = [_timed(groups), self._lines(told, there)]
        merged = heapq.merge(*streams, key=attrgetter("at_ms"))
        while batch := list(islice(merged, _BATCH)):
            self._write(batch)
            progress(self.done.carried + self.done.added)
        return self.done

    def finish(self, before: int, file: str, sha256: str, at_ms: int) -> None:
        """Write the event that ends the merged history and says what it is made of; all is durable then."""
        done, at_ms = self.done, max(at_ms, self._merchant.at_ms)
        started = GenerationStarted(
            self._generation, before, file, sha256, done.carried, done.decisions, done.added, done.there, done.refused
        )
        self._put([Record(self._id, 0, RecordKind.CONTROL, at_ms, encode(started))], [])
        self._new.sync()

    # --- what is read -------------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[_Group]:
        """Yield the merchant's inputs in their order; the records of others are copied as they pass."""
        group: list[Record] = []
        for _, record in self._old.read():
            if record.merchant != self._id:
                self._append([record])
                continue
            if group and record.kind in (RecordKind.EVENT, RecordKind.CONTROL):
                yield _group(group)
                group = []
            group.append(record)
        if not group:
            raise NotFound(f"no merchant {self._id!r} in the log")
        yield _group(group)

    def _lines(self, told: Iterable[Told], there: There) -> Iterator[_Line]:
        """Yield the events of the file that are not there yet."""
        for number, event in told:
            found = there.holds(event)
            if isinstance(found, Difference):
                self._reject(event, Reject(number, *found))
            elif getattr(event, "payment_id", "") in self._refused:
                self._reject(event, Reject(number, "payment_id", "its payment in this file was refused"))
            elif found:
                self.done.there += 1
            else:
                yield _Line(to_ms(known_at(event)), event, number)

    def _reject(self, event: WireEvent, reject: Reject) -> None:
        """Refuse an event. What one row tells of a payment is refused with it, as one row."""
        payment_id = getattr(event, "payment_id", "")
        if self._refused.get(payment_id) != reject.line:
            self.done.refused += 1
            self._refuse(reject)
        if isinstance(event, Payment):
            self._refused.setdefault(payment_id, reject.line)

    # --- what is written ----------------------------------------------------------------------------------------

    def _created(self, first: _Group) -> Merchant:
        """Return the merchant of the first record, which says from now on which generation it is."""
        (record,) = first.records
        created = msgspec.structs.replace(created_by(record), generation=self._generation)
        self._taker.admit(self._id, created.schema)
        self._merchant = Merchant(self._id, created, _no_model, backfill_from(self._new.read))
        self._put([msgspec.structs.replace(record, core=encode(created))], [])
        return self._merchant

    def _write(self, batch: Sequence[_Group | _Line]) -> None:
        """Write what was merged, in its order."""
        taken = self._taker.merge(self._merchant, [one.event for one in batch if one.event is not None])
        results, events = iter(taken.results), taken.records()
        records: list[Record] = []
        for one in batch:
            result = next(results) if one.event is not None else None
            if isinstance(result, New):
                records.append(events[result.place])
            if isinstance(one, _Line):
                self._count(one, result)
                continue
            records += one.records
            decisions = sum([record.kind == RecordKind.DECISION for record in one.records])
            self.done.decisions += decisions
            self.done.carried += len(one.records) - decisions + (one.event is not None)
        self._put(records, taken.cores)

    def _count(self, line: _Line, result: AvalistError | Known | New | None) -> None:
        if isinstance(result, New):
            self.done.added += 1
            self.done.payments += isinstance(line.event, Payment)
        elif isinstance(result, AvalistError):
            field, reason = (
                ("payment_id", str(result)) if not isinstance(result, BadInput) else (result.field, result.detail)
            )
            self._reject(line.event, Reject(line.number, field, reason))
        else:
            self.done.there += 1

    def _put(self, records: Sequence[Record], cores: Sequence[EventCore]) -> None:
        """Append the merchant's records, each with its ``seq``, and fold them; `cores` are those of the events."""
        merchant, events, numbered = self._merchant, iter(cores), []
        seq = merchant.seq
        for record in records:
            seq += record.kind != RecordKind.DECISION
            numbered.append(msgspec.structs.replace(record, seq=seq))
        for record, position in zip(numbered, self._append(numbered), strict=True):
            if record.kind == RecordKind.EVENT:
                merchant.absorb(next(events), record.seq, record.received_at_ms, position)
            elif record.kind != RecordKind.DECISION:
                merchant.fold(record, position)

    def _append(self, records: Sequence[Record]) -> list[int]:
        positions = self._new.append(records)
        self._unsynced += len(records)
        if self._unsynced >= _SYNC_EVERY:
            self._new.sync()
            self._unsynced = 0
        return positions


def _group(records: list[Record]) -> _Group:
    first, *answers = records
    if first.kind != RecordKind.EVENT:
        return _Group(first.received_at_ms, None, records)
    event = Carried(decode_event_core(first.core), first.received_at_ms, first.sealed)
    return _Group(first.received_at_ms, event, answers)


def _timed(groups: Iterable[_Group]) -> Iterator[_Group]:
    """Yield groups by rising time: what operators did has the wall's time, but comes before the event after it."""
    waiting: list[_Group] = []
    for group in groups:
        waiting.append(group)
        if group.event is not None:
            yield from (one._replace(at_ms=min(one.at_ms, group.at_ms)) for one in waiting)
            waiting = []
    yield from waiting


def _no_model(merchant: str, version: str) -> Model:
    raise Unavailable(f"a rebuild decides nothing: it needs no model {version} of {merchant}")
