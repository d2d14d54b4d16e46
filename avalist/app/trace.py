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
from avalist.features.declare import ALL, Feature
from avalist.features.plan import LABELS, Plan

Records = Callable[[], Iterable[tuple[int, Record]]]
"""Reads a merchant's records from the beginning."""


class Earlier(NamedTuple):
    """An event before the payment that shares one of its keys."""

    core: EventCore
    row: tuple[int, ...]

    @property
    def at_ms(self) -> int:
        """Return when it came in."""
        return self.row[AT]

    @property
    def amount_minor(self) -> int | None:
        """Return its amount in base currency."""
        return None if self.row[VALUES] == MISSING else self.row[VALUES]


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
        places = self._places(entity)
        mine = [self.row[place] for place in places]
        if 0 in mine:
            return []
        return [one for one in self.earlier if [one.row[place] for place in places] == mine]

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
        return [one for one in inside if feature.kinds >> one.row[KIND] & 1]

    def _places(self, entity: str) -> list[int]:
        schema = self.created.schema
        names = [d.name for d in schema.entities] + [d.name for d in schema.categories]
        return [self.plan.keys_at + names.index(part) for part in entity.split("+") if part != ALL]


def trace(records: Records, merchant: str, payment_id: str) -> Trace:
    """Find a payment's first event in the log, and replay all before it.

    `earlier` leaves out events that share no key with it: of the whole shop it shows those alone that do. Raises
    ``NotFound`` if there is no such merchant or payment.
    """
    target = _find(records(), merchant, payment_id)
    earlier: list[Earlier] = []
    data = collect(_watched(records(), target, earlier), merchant)
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
    records: Iterable[tuple[int, Record]], target: _Target, earlier: list[Earlier]
) -> Iterator[tuple[int, Record]]:
    """Yield the inputs up to the target's; note the events before it that share a key."""
    first = keys_at(target.created.schema)
    keys = [(place, key) for place, key in enumerate(unpack_row(target.core.row)) if place >= first and key]
    for position, record in records:
        if record.seq > target.seq:
            return
        if record.kind == RecordKind.EVENT and record.seq < target.seq:
            core = decode_event_core(record.core)
            row = unpack_row(core.row)
            if row[KIND] != FoldKind.READ_ONLY and any(row[place] == key for place, key in keys):
                earlier.append(Earlier(core, row))
        yield position, record
