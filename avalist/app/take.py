"""Taking events: what is new becomes a core, joined with what it names; the rest is known already, or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import count, repeat
from typing import NamedTuple, get_args

import msgspec

from avalist.app.flags import CAPTURED, CHECKPOINTS, FRAUD, flags_after
from avalist.app.merchant import Merchant, Named, decode_event_core, named_by
from avalist.app.tables import LoadTables, no_tables
from avalist.app.telling import told_by
from avalist.domain.core import EventCore, EventHead
from avalist.domain.errors import AvalistError, BadInput, ClockWentBack, Conflict, LogFailed, NotFound
from avalist.domain.events import (
    IMPUTED,
    AuthorisationResult,
    Capture,
    Chargeback,
    Custom,
    EarlyFraudWarning,
    IdentityEvent,
    Label,
    OfPayment,
    OutcomeEvent,
    Payment,
    ReviewResult,
    SessionClosed,
    SessionSummary,
    WireEvent,
    from_ms,
    to_ms,
)
from avalist.domain.facts import SessionState
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import head_of, with_head
from avalist.domain.schema import Schema
from avalist.enrich.intake import Intake
from avalist.enrich.seal import Secret, seal_all
from avalist.ports.log import Log

encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(EventHead).decode
_LATEST_MS = 253_402_300_799_999  # the last that ISO 8601 writes in four digits of year
_EVENT = int(RecordKind.EVENT)
_TYPE = {kind: str(kind.__struct_config__.tag) for kind in get_args(WireEvent)}
_NOTHING = hashlib.blake2b(digest_size=16)


class Known(msgspec.Struct, frozen=True, gc=False):
    """An event that stands in the log."""

    position: int


class New(msgspec.Struct, frozen=True, gc=False):
    """An event of this batch, by its place among the new ones."""

    place: int


class Carried(NamedTuple):
    """An event that an earlier generation of the log holds, on its way into the next."""

    core: EventCore
    at_ms: int
    sealed: bytes


class Batch:
    """Events of one merchant on their way into the log, and what they find: the log's events and those before them."""

    def __init__(self, merchant: Merchant, events: Sequence[WireEvent | EventCore]) -> None:
        self.merchant = merchant
        self.at_ms = merchant.at_ms
        self.cores: list[EventCore] = []
        self.sealed: list[bytes] = []
        self.ats: list[int] = []
        self.results: list[AvalistError | Known | New] = []
        self._clear: dict[int, bytes] = {}
        self._fresh: dict[str, int] = {}
        self._sessions: dict[str, EventCore] = {}
        self._touched: dict[str, tuple[int | EventCore, int]] = {}
        self._places: list[int] = []
        self._named = named_by(events)
        self._events, self._payments = merchant.find_named(self._named)

    def event(self, event_id: str) -> Known | New | None:
        """Return where the event that is taken next stands already."""
        known = self._events[len(self.results)]
        if known >= 0:
            return Known(known)
        fresh = self._fresh.get(event_id)
        return None if fresh is None else New(fresh)

    def payment(self, payment_id: str) -> tuple[int | EventCore, int]:
        """Return the first event, or its position (−1: none), and the flags of the payment that is taken next."""
        return self._touched.get(payment_id) or self._payments[len(self.results)]

    def session(self, id: str) -> int | EventCore:
        """Return the event that told of a session last, or its position; −1: none."""
        return self._sessions.get(id) or self.merchant.session_at(id)

    def add(self, core: EventCore, at_ms: int, *, clear: bytes = b"", sealed: bytes = b"") -> New:
        """Add an event; what is `clear` of it is sealed at the end."""
        place = self._fresh[core.event_id] = len(self.cores)
        if core.payment_id:
            first, flags = self.payment(core.payment_id)
            flags = flags_after(flags, core.row, core.checkpoint)
            self._touched[core.payment_id] = core if first == -1 else first, flags
        if core.session is not None:
            self._sessions[core.session.id or ""] = core
        if clear:
            self._clear[place] = clear
        self.cores.append(core)
        self._places.append(len(self.results))
        self.sealed.append(sealed)
        self.ats.append(at_ms)
        self.at_ms = at_ms
        return New(place)

    def seal(self, secret: bytes) -> None:
        """Seal what is clear of the events."""
        ats, names = [self.ats[place] for place in self._clear], [self.cores[place].digest for place in self._clear]
        for place, sealed in zip(self._clear, seal_all(secret, ats, names, list(self._clear.values())), strict=True):
            self.sealed[place] = sealed
        self._clear.clear()

    def named(self) -> Named:
        """Return the hashed ids of the events that are new."""
        return self._named if len(self.cores) == len(self.results) else self._named.some(self._places)

    def records(self) -> list[Record]:
        """Return the events' records."""
        ids, seqs, kinds = repeat(self.merchant.id), count(self.merchant.seq + 1), repeat(_EVENT)
        return list(map(Record, ids, seqs, kinds, self.ats, map(encode, self.cores), self.sealed))


class Taker:
    """Makes batches of events, for every merchant of a log."""

    def __init__(self, log: Log, secret: Secret, load_tables: LoadTables = no_tables) -> None:
        self._log = log
        self._secret = secret
        self._load_tables = load_tables
        self._intakes: dict[str, Intake] = {}

    def admit(self, id: str, schema: Schema) -> None:
        """Get ready for a merchant's events."""
        self._intakes[id] = Intake(schema, self._secret(id))

    def _intake(self, merchant: Merchant) -> Intake:
        """Return the merchant's intake, with the tables that are in force at its ``seq``."""
        intake = self._intakes[merchant.id]
        if intake.asked_for != merchant.tables_version:
            intake.asked_for = merchant.tables_version
            intake.tables = self._load_tables(merchant.tables_version)
        return intake

    def key(self, id: str, value: str) -> int:
        """Return the merchant's keyed hash of a clear value, as it stands in fold rows."""
        return self._intakes[id].key(value)

    def take(self, merchant: Merchant, events: Sequence[WireEvent], ats: Sequence[int], *, asked: bool) -> Batch:
        """Make cores of the events that are new; say of the others where they stand or what is wrong with them.

        `ats` are their arrivals, see :func:`arrival_of`.
        """
        batch, intake = Batch(merchant, events), self._intake(merchant)
        for event, clear, digest, at_ms in zip(events, *_contents(events), ats, strict=True):
            batch.results.append(self._result(batch, intake, event, clear, digest, at_ms, asked))
        batch.seal(self._secret(merchant.id))
        return batch

    def merge(self, merchant: Merchant, events: Sequence[WireEvent | Carried]) -> Batch:
        """Make cores of events, in order of known time; those that are carried over are joined again."""
        batch = Batch(merchant, [event.core if isinstance(event, Carried) else event for event in events])
        intake = self._intake(merchant)
        for event in events:
            if isinstance(event, Carried):
                batch.results.append(batch.add(self._joined_again(batch, event.core), event.at_ms, sealed=event.sealed))
            else:
                (clear,), (digest,) = _contents([event])
                at_ms = arrival_of(event, batch.at_ms)
                batch.results.append(self._result(batch, intake, event, clear, digest, at_ms, asked=False))
        batch.seal(self._secret(merchant.id))
        return batch

    def _result(
        self, batch: Batch, intake: Intake, event: WireEvent, clear: bytes | BadInput, digest: bytes, at_ms: int,
        asked: bool,
    ) -> AvalistError | Known | New:  # fmt: skip
        if isinstance(clear, BadInput):
            return clear
        try:
            return self._taken(batch, intake, event, clear, digest, at_ms, asked)
        except LogFailed:
            raise
        except AvalistError as error:
            return error.alone()

    def _taken(
        self, batch: Batch, intake: Intake, event: WireEvent, clear: bytes, digest: bytes, at_ms: int, asked: bool
    ) -> Known | New:
        known = batch.event(event.event_id)
        if isinstance(event, Payment):
            first, flags = batch.payment(event.payment_id)
            if known is None and flags & CHECKPOINTS[event.checkpoint]:
                known = self._known_by_payment(batch, event)
        if known is not None:
            self._compare(batch, event, digest, known)
            return known
        at_ms = _never_back(batch.at_ms, event, at_ms)
        if isinstance(event, Payment):
            core = self._payment(batch, intake, event, digest, at_ms, asked, _came_before(event, first, flags))
        elif isinstance(event, OfPayment):
            core, clear = self._outcome(batch, event, digest, at_ms), b""
        else:
            core = _identity(intake, event, digest, at_ms)
        return batch.add(core, at_ms, clear=clear)

    def _compare(self, batch: Batch, event: WireEvent, digest: bytes, known: Known | New) -> None:
        """Raise ``Conflict`` if an event has other content than the one that is known by its id."""
        first = batch.cores[known.place] if isinstance(known, New) else self._head_at(known.position)
        if first.digest != digest and not same_content(event, first.digest):
            raise Conflict(
                f"event id {event.event_id[:64]!r} was used before with other content: give each event its own",
                field="$.event_id",
                expected="an id that no other event has, or the same content",
                got=event.event_id[:64],
            )

    def _known_by_payment(self, batch: Batch, event: Payment) -> Known | None:
        """Return where a payment stands whose event id is forgotten: payments are remembered for longer."""
        position = batch.merchant.decided_at(event.payment_id, event.checkpoint)
        return Known(position) if position >= 0 and self._head_at(position).event_id == event.event_id else None

    def _core_at(self, position: int) -> EventCore:
        return decode_event_core(self._log.get(position).core)

    def _head_at(self, position: int) -> EventHead:
        return _decode_head(self._log.get(position).core)

    def _payment(
        self, batch: Batch, intake: Intake, event: Payment, digest: bytes, at_ms: int, asked: bool, again: bool
    ) -> EventCore:
        joined, state = self._with_session(batch, event)
        row, facts = intake.payment(joined, state, at_ms=at_ms, again=again)
        return EventCore(
            _TYPE[Payment], event.event_id, digest, event.payment_id, event.checkpoint, row, facts, None, None, asked
        )

    def _with_session(self, batch: Batch, event: Payment) -> tuple[Payment, SessionState]:
        """Join a payment that only names its session with what was logged of it; say how its session is known."""
        session = event.session
        if session is None:
            return event, "none"
        if session.id is None or session != SessionSummary(id=session.id):
            return event, "given"
        found = batch.session(session.id)
        if found == -1:
            return event, "not_found"
        core = self._core_at(found) if isinstance(found, int) else found
        return msgspec.structs.replace(event, session=core.session), "joined"

    def _outcome(self, batch: Batch, event: OutcomeEvent, digest: bytes, at_ms: int) -> EventCore:
        """Join an outcome with its payment: the payment's keys, amount and time become facts of the outcome."""
        first, flags = batch.payment(event.payment_id)
        if first == -1:
            raise _unknown(event.payment_id, "of this merchant: send it before its outcomes")
        paid, kind = self._row_of(first), FoldKind.OUTCOME
        captured, fraud = effect(event)
        _, _, t_ms, _, _ = head_of(paid)
        deltas = _deltas(flags, captured, fraud)
        if isinstance(event, AuthorisationResult):
            kind = FoldKind.AUTH_APPROVED if event.approved else FoldKind.AUTH_DECLINED
            t_ms = min(to_ms(event.occurred_at), at_ms)
        return EventCore(
            _TYPE[event.__class__], event.event_id, digest, event.payment_id, "",
            with_head(paid, kind, at_ms, t_ms, *deltas), None, fraud, True if deltas[0] else None, False,
            event.source == IMPUTED if isinstance(event, Label) else None,
            verdict=f"{event.verdict} {event.by}" if isinstance(event, ReviewResult) else "", told=told_by(event),
        )  # fmt: skip

    def _row_of(self, first: int | EventCore) -> bytes:
        """Return the row of a payment's first event."""
        return (self._head_at(first) if isinstance(first, int) else first).row

    def _joined_again(self, batch: Batch, core: EventCore) -> EventCore:
        """Return an event as what is known of its payment now makes it; as it was where its payment is forgotten."""
        first, flags = batch.payment(core.payment_id) if core.payment_id else (-1, 0)
        if first == -1:
            return core
        kind, at_ms, t_ms, _, fraud = head_of(core.row)
        if core.checkpoint:
            row = with_head(core.row, FoldKind.READ_ONLY, at_ms, t_ms, 0, fraud)
            return msgspec.structs.replace(core, row=row)
        proves_capture = core.type == "capture" or (core.label is True and core.type != "label")
        paid, deltas = self._row_of(first), _deltas(flags, proves_capture, core.label)
        if kind == FoldKind.OUTCOME:  # an issuer's word has a time of its own
            _, _, t_ms, _, _ = head_of(paid)
        row = with_head(paid, kind, at_ms, t_ms, *deltas)
        return msgspec.structs.replace(core, row=row, captured=True if deltas[0] else None)


def _identity(intake: Intake, event: IdentityEvent, digest: bytes, at_ms: int) -> EventCore:
    row, facts = intake.identity(event, at_ms)
    named = event.session if isinstance(event, SessionClosed) and event.session and event.session.id else None
    return EventCore(
        _TYPE[event.__class__], event.event_id, digest, "", "", row, facts, session=named, told=told_by(event)
    )


def _came_before(event: Payment, first: int | EventCore, flags: int) -> bool:
    """Tell whether the payment came before, at another checkpoint.

    Raises
    ------
    Conflict
        If it came before at this one, under another event id; only ``rescore`` may come again.
    NotFound
        If a payment to rescore is not known.
    """
    rescore = event.checkpoint == "rescore"
    if flags & CHECKPOINTS[event.checkpoint] and not rescore:
        raise Conflict(
            f"payment {event.payment_id[:64]!r} came before at {event.checkpoint} under another event id: "
            "retry with the same event_id, or use checkpoint post_auth or rescore",
            field="$.payment_id",
            expected=f"a payment that did not come at {event.checkpoint} yet",
            got=event.payment_id[:64],
        )
    if rescore and first == -1:
        raise _unknown(event.payment_id, "to rescore: ask at pre_auth first")
    return first != -1


def _unknown(payment_id: str, more: str) -> NotFound:
    expected, got = "a payment that was sent before", payment_id[:64]
    return NotFound(f"no payment {got!r} {more}", field="$.payment_id", expected=expected, got=got)


def _deltas(flags: int, captured: bool, fraud: bool | None) -> tuple[int, int]:
    """Return what an outcome changes of a payment with these flags: captured, and the fraud label."""
    return int(captured and not flags & CAPTURED), 0 if fraud is None else int(fraud) - int(bool(flags & FRAUD))


def effect(event: OutcomeEvent) -> tuple[bool, bool | None]:
    """Return whether the event proves capture, and the fraud label it sets (None: none)."""
    match event:
        case Capture():
            return True, None
        case EarlyFraudWarning():
            return True, True
        case Chargeback(stage="opened", fraud=True):
            return True, True
        case Label(fraud=fraud):
            return False, fraud
        case _:
            return False, None


def arrival_of(event: WireEvent, now_ms: int) -> int:
    """Return when an event arrived: as supplied, or else now."""
    return now_ms if event.received_at is None else to_ms(event.received_at)


def _never_back(last_ms: int, event: WireEvent, at_ms: int) -> int:
    """Return t(d): the supplied arrival, or the writer's clock held from going back before the last arrival."""
    if event.received_at is None:
        return max(at_ms, last_ms)
    if last_ms <= at_ms <= _LATEST_MS:
        return at_ms
    if at_ms > _LATEST_MS:
        raise BadInput(
            "not a time of this world", field="$.received_at", expected=f"to {from_ms(_LATEST_MS).isoformat()}"
        )
    raise ClockWentBack(
        "received_at must not decrease: send events in order of arrival",
        field="$.received_at",
        expected=f"at least {from_ms(last_ms).isoformat()}",
        got=event.received_at.isoformat(),
    )


def canonical(event: WireEvent) -> bytes:
    """Return the event's content less ``sent_at``: equal for a retry, however its JSON was spaced and ordered.

    Raises ``BadInput`` for a time that has no four-digit year in UTC.
    """
    custom: Custom | None = getattr(event, "custom", None)
    if custom and len(custom) > 1:
        event = msgspec.structs.replace(event, custom=dict(sorted(custom.items())))
    return _as_sent(event)


def _as_sent(event: WireEvent) -> bytes:
    try:
        return encode(msgspec.structs.replace(event, sent_at=None) if event.sent_at else event)
    except OverflowError:
        raise BadInput("a time is out of range", field="$", expected="times in the years 1 to 9999, in UTC") from None


def _contents(events: Sequence[WireEvent]) -> tuple[list[bytes | BadInput], list[bytes]]:
    """Return the events' contents, or what is wrong with them, and their digests: all are encoded, then all are hashed,
    each step warm.
    """
    clears = list(map(_clear, events))
    return clears, [b"" if isinstance(clear, BadInput) else _digest(clear) for clear in clears]


def _clear(event: WireEvent) -> bytes | BadInput:
    try:
        return canonical(event)
    except BadInput as error:
        return error.alone()


def digest_of(event: WireEvent) -> bytes:
    """Return the digest of an event's content, as its core keeps it. Raises as :func:`canonical`."""
    return _digest(canonical(event))


def same_content(event: WireEvent, digest: bytes) -> bool:
    """Tell whether an event has the content of a digest; older releases digested `custom` in the order it came in."""
    return digest in (digest_of(event), _digest(_as_sent(event)))


def _digest(clear: bytes) -> bytes:
    hashed = _NOTHING.copy()  # a new one would cost twice as much
    hashed.update(clear)
    return hashed.digest()
