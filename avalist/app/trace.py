"""One payment's features with the events that they came from, found in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.app.dataset import collect
from avalist.app.merchant import created_by, decode_event_core
from avalist.app.writer import decode_decision
from avalist.domain.core import DecisionCore, EventCore, MerchantCreated
from avalist.domain.errors import NotFound
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, VALUES, T, keys_at, unpack_row
from avalist.domain.schema import Schema
from avalist.features.compiler import LABELS
from avalist.features.declare import ALL, Feature
from avalist.features.plan import Plan

Records = Callable[[], Iterable[tuple[int, Record]]]
"""Reads a merchant's records from the beginning."""


class Earlier(NamedTuple):
    """An event before the payment that shares one of its keys."""

    type: str
    payment_id: str
    packed: bytes

    @property
    def row(self) -> tuple[int, ...]:
        """Return its fold row."""
        return unpack_row(self.packed)

    @property
    def at_ms(self) -> int:
        """Return when it came in."""
        return self.row[AT]

    @property
    def amount_minor(self) -> int | None:
        """Return its amount in base currency."""
        amount = self.row[VALUES]
        return None if amount == MISSING else amount


@dataclass(frozen=True, eq=False)
class Trace:
    """A payment's first decision: what it saw, and what it saw it from.

    `replayed` float32 [columns] is read again from the log, `logged` stands in it, or is None where nothing was decided
    in this generation. `earlier` events are in order of arrival.
    """

    created: MerchantCreated
    plan: Plan
    core: EventCore
    seq: int
    replayed: npt.NDArray[np.float32]
    logged: npt.NDArray[np.float32] | None
    decided: DecisionCore | None
    earlier: list[Earlier]

    @property
    def row(self) -> tuple[int, ...]:
        """Return the payment's fold row."""
        return unpack_row(self.core.row)

    def different(self) -> list[int]:
        """Return the places of columns whose logged value is not the replayed one, bit by bit."""
        if self.logged is None:
            return []
        return np.flatnonzero(self.logged.view(np.uint32) != self.replayed.view(np.uint32)).tolist()

    def events_of(self, entity: str) -> list[Earlier]:
        """Return the earlier events that name the same key of an entity; none where the payment lacks it."""
        places = _places(self.created.schema, entity)
        mine = _keys(self.row, places)
        if 0 in mine:
            return []
        return [one for one in self.earlier if _keys(one.row, places) == mine]

    def events_in(self, feature: Feature) -> list[Earlier]:
        """Return the earlier events inside a feature's window, of the kinds that it counts."""
        at_ms, step = self.row[AT], feature.step_ms
        if not feature.window_ms:
            return self.events_of(feature.entity) if feature.entity else []
        low = (at_ms - feature.lag_ms - feature.window_ms) // step * step
        high = (at_ms - feature.lag_ms) // step * step if feature.lag_ms else at_ms + 1
        inside = [one for one in self.events_of(feature.entity) if low <= one.row[T] < high]
        if feature.aggregate in LABELS:
            return [one for one in inside if one.row[CAPTURED_DELTA] or one.row[FRAUD_DELTA]]
        counted = [one for one in inside if feature.kinds >> one.row[KIND] & 1 and feature.counts(one.row[VALUES])]
        return counted[len(counted) - min(feature.latest or len(counted), len(counted)) :]


def trace(records: Records, merchant: str, payment_id: str, entity: str | None = None) -> Trace:
    """Find a payment's first event in the log, and replay all before it.

    `earlier` holds the events that share a key of `entity` with it, or of any that the schema calls an entity; it takes
    some hundred bytes of memory for each. Raises ``NotFound`` if there is no such merchant or payment.
    """
    target = _find(records(), merchant, payment_id)
    schema, row = target.created.schema, unpack_row(target.core.row)
    entities = [d.name for d in schema.entities] if entity is None else [entity]
    wanted = [places for places in (_places(schema, name) for name in entities) if 0 not in _keys(row, places)]
    earlier: list[Earlier] = []

    def again() -> Iterator[tuple[int, Record]]:
        earlier.clear()
        return _watched(records(), target.seq, row, wanted, earlier)

    data = collect(again, merchant)
    return Trace(target.created, data.plan, target.core, target.seq, data.x[-1], target.logged, target.decided, earlier)


class _Target(NamedTuple):
    created: MerchantCreated
    core: EventCore
    seq: int
    decided: DecisionCore | None

    @property
    def logged(self) -> npt.NDArray[np.float32] | None:
        if self.decided is None or self.decided.decision.generation != self.created.generation:
            return None
        return np.frombuffer(self.decided.features, "<f4")


def _find(records: Iterable[tuple[int, Record]], merchant: str, payment_id: str) -> _Target:
    """Return a payment's first event, and its decision, which stands before the merchant's next input."""
    created: MerchantCreated | None = None
    found: _Target | None = None
    for _, record in records:
        if record.merchant != merchant:
            continue
        if found is not None:
            answered = record.kind == RecordKind.DECISION and record.seq == found.seq
            return found._replace(decided=decode_decision(record.core)) if answered else found
        elif created is None:
            created = created_by(record)
        elif record.kind == RecordKind.EVENT:
            core = decode_event_core(record.core)
            if core.payment_id == payment_id and core.checkpoint:
                found = _Target(created, core, record.seq, None)
    if found is not None:
        return found
    if created is None:
        raise NotFound(f"no merchant {merchant!r} in the log")
    raise NotFound(f"no payment {payment_id[:64]!r} of {merchant} in the log: give the id that your shop gave it")


def _watched(
    records: Iterable[tuple[int, Record]],
    stop: int,
    target: tuple[int, ...],
    wanted: list[list[int]],
    earlier: list[Earlier],
) -> Iterator[tuple[int, Record]]:
    """Yield the inputs up to the target's; note the events before it whose keys at `wanted` places are its own."""
    mine = [(places, _keys(target, places)) for places in wanted]
    for position, record in records:
        if record.seq > stop:
            return
        if record.kind == RecordKind.EVENT and record.seq < stop:
            core = decode_event_core(record.core)
            row = unpack_row(core.row)
            if row[KIND] != FoldKind.READ_ONLY and any(_keys(row, places) == keys for places, keys in mine):
                earlier.append(Earlier(core.type, core.payment_id, core.row))
        yield position, record


def _keys(row: tuple[int, ...], places: list[int]) -> list[int]:
    return [row[place] for place in places]


def _places(schema: Schema, entity: str) -> list[int]:
    """Return where an entity's keys stand in a fold row; nowhere for the whole shop, which every event belongs to."""
    names = [d.name for d in schema.entities] + [d.name for d in schema.categories]
    return [keys_at(schema) + names.index(part) for part in entity.split("+") if part != ALL]
