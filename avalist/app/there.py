"""What a merchant's log holds already, found by ids: a file that overlaps with it must say the same."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from avalist.app.index import NONE, IdIndex, hash_ids
from avalist.app.merchant import decode_event_core
from avalist.app.take import effect, same_content
from avalist.domain.core import EventCore
from avalist.domain.events import AuthorisationResult, IdentityEvent, Payment, WireEvent, from_ms, known_at, to_ms
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import AT, KIND, unpack_row
from avalist.domain.schema import DAY_MS
from avalist.ports.log import Log

_APART_MS: Final = DAY_MS
"""Two sources may date the same thing a day apart: a shop by its clock, an acquirer by its books."""


class Difference(NamedTuple):
    """In what an event of a file differs from what is there in its place."""

    column: str
    reason: str
    value: str = ""


class There:
    """The events of one merchant in a log, in about 150 bytes of memory an event.

    `by_content`: the events that are asked about have made-up ids, as those of a file of rows do.
    """

    def __init__(self, log: Log, *, by_content: bool) -> None:
        self._log, self._by_content = log, by_content
        self._index = IdIndex()
        self.events = 0

    def take(self, record: Record, position: int) -> None:
        """Take one record of the merchant."""
        if record.kind != RecordKind.EVENT:
            return
        core = decode_event_core(record.core)
        self.events += 1
        names = [_event(core.event_id)]
        if core.payment_id:
            names.append(_slot(core.payment_id, core.checkpoint or _told(core)))
        self._index.put(hash_ids(names), [position] * len(names))

    def knows_payment(self, payment_id: str) -> bool:
        """Tell whether a payment is there, at whatever time."""
        return any(self._at(_slot(payment_id, checkpoint)) != NONE for checkpoint in ("pre_auth", "post_auth"))

    def holds(self, event: WireEvent) -> bool | Difference:
        """Tell whether an event is there already, or in what it differs from what is there in its place.

        Under its own id it must be there with the same content. Under another id, a payment is the same if it came at
        the same checkpoint with the same amount within a day; an outcome whose id is made up, if it says the same
        within a day.
        """
        same = self._core(_event(event.event_id))
        if same is not None:
            other = Difference("event_id", "it is there already, with other content")
            return _says(event, same.digest) or _difference(event, same) or other
        if isinstance(event, Payment):
            return self._holds_payment(event)
        if isinstance(event, IdentityEvent) or not self._by_content:
            return False
        known = self._core(_slot(event.payment_id, _kind(event.type, effect(event)[1], _approved(event))))
        return known is not None and abs(unpack_row(known.row)[AT] - to_ms(known_at(event))) <= _APART_MS

    def _holds_payment(self, event: Payment) -> bool | Difference:
        known = None if event.checkpoint == "rescore" else self._core(_slot(event.payment_id, event.checkpoint))
        return known is not None and (_difference(event, known) or True)

    def _core(self, name: str) -> EventCore | None:
        position = self._at(name)
        return None if position == NONE else decode_event_core(self._log.get(position).core)

    def _at(self, name: str) -> int:
        return int(self._index.get(hash_ids([name]))[0])


def _says(event: WireEvent, digest: bytes) -> bool:
    """Tell whether an event has the content of a digest; one that came live brought no time of arrival."""
    return any(same_content(one, digest) for one in (event, msgspec.structs.replace(event, received_at=None)))


def _event(event_id: str) -> str:
    return f"event\x00{event_id}"


def _slot(payment_id: str, what: str) -> str:
    return f"{what}\x00{payment_id}"


def _told(core: EventCore) -> str:
    """Return what an outcome says, but for its time."""
    kind = unpack_row(core.row)[KIND]
    return _kind(core.type, core.label, kind if kind in (FoldKind.AUTH_APPROVED, FoldKind.AUTH_DECLINED) else None)


def _kind(type: str, label: bool | None, auth: int | None) -> str:
    return f"{type} {label} {auth}"


def _approved(event: WireEvent) -> int | None:
    if not isinstance(event, AuthorisationResult):
        return None
    return int(FoldKind.AUTH_APPROVED if event.approved else FoldKind.AUTH_DECLINED)


def _difference(event: WireEvent, known: EventCore) -> Difference | None:
    """Return in what a payment differs from the one that is there: amount, currency, or day."""
    facts = known.facts
    if not isinstance(event, Payment) or facts is None or event.payment_id != known.payment_id:
        return None
    if event.currency != facts.currency:
        return Difference("currency", "the payment is there already, in another currency", facts.currency)
    if event.amount_minor != facts.amount_minor:
        amount = f"{facts.amount_minor} minor units"
        return Difference("amount_minor", "the payment is there already, of another amount", amount)
    if abs(facts.occurred_at_ms - to_ms(event.occurred_at)) > _APART_MS:
        day = from_ms(facts.occurred_at_ms).date().isoformat()
        return Difference("occurred_at", "the payment is there already, of another day", day)
    return None
