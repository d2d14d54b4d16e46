"""Look-up: a merchant's decisions by what it knows in clear text, hashed on the way (architecture §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal

import msgspec

from avalist.app.explain import Explanation
from avalist.app.merchant import decode_event_core, decode_fallback
from avalist.app.stored import DECISIONS, StoredDecision, document_id, folded, numbered, stored_decision
from avalist.app.writer import Writer, decode_decision
from avalist.domain.core import EventCore
from avalist.domain.decisions import Decision
from avalist.domain.errors import BadInput, NotFound, Unavailable
from avalist.domain.facts import Facts
from avalist.domain.records import Record, RecordKind
from avalist.domain.row import keys_at, unpack_row
from avalist.domain.schema import Schema
from avalist.enrich.shapes import normal_email
from avalist.ports.documents import Documents
from avalist.ports.log import Log

_SOURCES: Final = {
    "customer_id": "customer.id",
    "email": "email",
    "fingerprint": "method.fingerprint",
    "ip": "ip",
    "device_id": "device.id",
}
_BATCH: Final = 100
_MOST_BEHIND: Final = 1 << 22
"""Bytes of log that one look-up may read beyond the documents: reading shares the processor with decisions."""
BEHIND: Final = "the documents are behind the log, as after a burst or an upgrade: look up again in a moment"
_WORD: Final = 2**64 - 1

By = Literal["payment_id", "customer_id", "email", "fingerprint", "ip", "device_id"]


class Lookup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which decisions are wanted: those on payments with this `value`, in clear text; it is hashed and not kept.

    `before` is the ``next`` of an earlier answer: it continues where that one ended.
    """

    by: By
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


class FoundDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was found, and the facts it was made from; its features are at ``GET /v1/decisions/{id}``."""

    decision: Decision
    facts: Facts | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions found, newest first. `next` continues the list; None where it ends."""

    decisions: tuple[FoundDecision, ...]
    next: int | None = None


Tail = Callable[[str], Iterator[Record]]
Places = tuple[tuple[str, int], ...]
"""What decisions can be found by, each with the place of its key in the fold row."""


def places_of(schema: Schema) -> Places:
    """Return what the decisions of a schema can be found by: the entities it declares, of those that look-up knows."""
    declared = {entity.source: place for place, entity in enumerate(schema.entities)}
    return tuple((by, keys_at(schema) + declared[source]) for by, source in _SOURCES.items() if source in declared)


def index_keys(places: Places, row: bytes) -> list[str]:
    """Return the index keys of an event's fold row."""
    words = unpack_row(row)
    return [_index_key(by, words[place]) for by, place in places if words[place]]


def _index_key(by: str, word: int) -> str:
    return f"{by}:{word & _WORD:016x}"


def logged(writer: Writer, merchant: str, payment_id: str, checkpoint: str, since: int = 0) -> StoredDecision:
    """Return a decision of the last 400 days, from the log at `since` or later; on the deciding thread.

    Raises ``NotFound``.
    """
    core, decided = writer.lookup(merchant, payment_id, checkpoint, since)
    here = writer.merchant(merchant)
    model = here.model if here.model_version == decided.decision.model_version else None
    return stored_decision(here, core, decided, None if model is None else model.artefact.typical)


class Archive:
    """Reads decisions back: from the documents, and from the end of the log that is not folded into them yet."""

    def __init__(self, log: Log, documents: Documents, writer: Writer, generation: int = 1) -> None:
        self._log = log
        self._mark = folded(generation)
        self._documents = documents
        self._writer = writer

    def recent(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision:
        """Return a decision of the last 400 days, from the log; on the deciding thread. Raises ``NotFound``."""
        return logged(self._writer, merchant, payment_id, checkpoint)

    def explanation(self, merchant: str, decision: Decision) -> Explanation | None:
        """Return what the follower made of a decision by now; not on the deciding thread."""
        try:
            stored = self.stored(merchant, decision.payment_id, decision.checkpoint)
        except Unavailable:  # the decision itself is there
            return None
        return stored.explanation if stored is not None and stored.decision.event_id == decision.event_id else None

    def stored(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision | None:
        """Return a decision from the documents; not on the deciding thread."""
        stored = self._documents.get(merchant, DECISIONS, f"{payment_id}/{checkpoint}")
        return None if stored is None else msgspec.json.decode(stored, type=StoredDecision)

    def key(self, merchant: str, wanted: Lookup) -> str:
        """Return the index key of what is wanted. Raises ``BadInput`` if the schema does not declare such an entity."""
        known = dict(places_of(self._schema(merchant)))
        if wanted.by not in known:
            raise BadInput(
                f"the merchant's schema declares no entity with the source {_SOURCES[wanted.by]!r}, so decisions are "
                "not indexed by it",
                field="$.by",
                expected=" or ".join(["payment_id", *known]),
                got=wanted.by,
            )
        value = normal_email(wanted.value) if wanted.by == "email" else wanted.value
        return _index_key(wanted.by, self._key(merchant, value))

    def _schema(self, merchant: str) -> Schema:
        return self._writer.merchant(merchant).schema

    def _key(self, merchant: str, value: str) -> int:
        return self._writer.key(merchant, value)

    def find(self, merchant: str, key: str, wanted: Lookup) -> Found:
        """Return the decisions under an index key, newest first; not on the deciding thread.

        Raises ``Unavailable`` while the documents are too far behind the log.
        """
        found, fallen = self._recent(merchant, key)
        enough = wanted.limit + 1 + len(found)
        for seq, body in self._stored(merchant, key, wanted.before):
            stored = msgspec.json.decode(body, type=FoundDecision)
            if stored.decision.seq == seq:  # else a rescore came later, under its own entry
                decision = numbered(fallen.get(stored.decision.event_id, stored.decision), seq)
                found.setdefault(document_id(decision), FoundDecision(decision=decision, facts=stored.facts))
            if len(found) >= enough:
                break
        return page_of([*found.values()], wanted)

    def _stored(self, merchant: str, key: str, before: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield every entry of a key below `before`, the highest first."""
        while batch := list(self._documents.find_by(merchant, DECISIONS, key, before=before, limit=_BATCH)):
            yield from batch
            before = batch[-1][0]

    def _recent(self, merchant: str, key: str) -> tuple[dict[str, FoundDecision], dict[str, Decision]]:
        """Return what the documents lack: the decisions under the key, and every fallback by its event's id."""
        places = places_of(self._schema(merchant))
        found: dict[str, FoundDecision] = {}
        fallen: dict[str, Decision] = {}
        event: EventCore | None = None
        for record in self._tail(merchant):
            if record.kind == RecordKind.EVENT:
                event = decode_event_core(record.core)
            decision = _decision_of(record)
            if decision is None:
                continue
            id = document_id(decision)
            if record.kind == RecordKind.FALLBACK:
                fallen[decision.event_id] = decision
            if event and event.event_id == decision.event_id and key in index_keys(places, event.row):
                found[id] = FoundDecision(decision=decision, facts=event.facts)
            elif id in found and found[id].decision.event_id == decision.event_id:
                decision = numbered(decision, found[id].decision.seq)
                found[id] = msgspec.structs.replace(found[id], decision=decision)
        return found, fallen

    def _tail(self, merchant: str) -> Iterator[Record]:
        """Yield a merchant's records that are not folded into the documents yet. Raises ``Unavailable``."""
        begin = self._documents.mark(self._mark)
        begin = begin if begin <= self._log.end else 0  # else the log was replaced
        if self._log.end - begin > _MOST_BEHIND:
            raise Unavailable(BEHIND)
        return (record for _, record in self._log.read(begin) if record.merchant == merchant)


class FarArchive(Archive):
    """Reads decisions back beside the log, which is another process's.

    `schema_of` and `key_of` say of a merchant what the writer would; `tail` yields its records that are not folded into
    the documents yet.
    """

    def __init__(
        self, documents: Documents, schema_of: Callable[[str], Schema], key_of: Callable[[str, str], int], tail: Tail
    ) -> None:
        self._documents = documents
        self._schema_of, self._key_of, self._read_tail = schema_of, key_of, tail

    def recent(self, merchant: str, payment_id: str, checkpoint: str) -> StoredDecision:
        """Raise ``NotFound``: what the follower has not folded yet is not known here."""
        raise NotFound(f"no decision on payment {payment_id[:64]!r} at {checkpoint}")

    def _schema(self, merchant: str) -> Schema:
        return self._schema_of(merchant)

    def _key(self, merchant: str, value: str) -> int:
        return self._key_of(merchant, value)

    def _tail(self, merchant: str) -> Iterator[Record]:
        return self._read_tail(merchant)


def _decision_of(record: Record) -> Decision | None:
    if record.kind == RecordKind.DECISION:
        return decode_decision(record.core).decision
    return decode_fallback(record.core).answer if record.kind == RecordKind.FALLBACK else None


def page_of(found: list[FoundDecision], wanted: Lookup) -> Found:
    """Return the page that is wanted of what was found."""
    newest = sorted(found, key=lambda one: one.decision.seq, reverse=True)
    shown = [one for one in newest if wanted.before is None or one.decision.seq < wanted.before]
    page, more = shown[: wanted.limit], len(shown) > wanted.limit
    return Found(decisions=tuple(page), next=page[-1].decision.seq if more else None)
