"""The follower: folds the same log behind the decider, in a process of its own. It writes decisions as documents."""

from __future__ import annotations

import msgspec

from avalist.app.lookup import Places, index_keys, places_of
from avalist.app.merchant import decode_control, decode_event_core, decode_fallback, plan_of
from avalist.app.stored import DECISIONS, FOLDED, StoredDecision, document_id, stored_decision
from avalist.app.writer import decode_decision
from avalist.domain.core import DecisionCore, EventCore, MerchantCreated
from avalist.domain.decisions import Decision
from avalist.domain.records import Record, RecordKind
from avalist.ports.documents import Documents
from avalist.ports.log import Log

_BATCH = 2000

Row = tuple[str, str, str, bytes]
Entry = tuple[str, str, str, int, str]


class Follower:
    """Folds the log into documents, exactly once: the position is stored with each batch.

    Call :meth:`advance` again and again; `position` tells how far it is.
    """

    def __init__(self, log: Log, documents: Documents) -> None:
        self._log = log
        self._documents = documents
        self._columns: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, Places] = {}
        self._event = EventCore("", "", b"", "", "", b"")
        self._rows: dict[tuple[str, str], bytes] = {}
        self._entries: list[Entry] = []
        self.position = documents.mark(FOLDED)
        if self.position > log.end:  # the log was replaced: the documents belong to another one
            self.position = 0
        for _, record in log.read(0, self.position):
            if record.kind == RecordKind.CONTROL:
                self._control(record)

    @property
    def behind_bytes(self) -> int:
        """Return how much durable log is not yet folded."""
        return max(self._log.durable_end - self.position, 0)

    def advance(self) -> int:
        """Fold what became durable, at most one batch; return the number of documents written."""
        position, stop = self.position, self._log.durable_end
        for position, record in self._log.read(self.position, stop):
            if len(self._rows) >= _BATCH and record.kind != RecordKind.DECISION:
                stop = position
                break
            self._fold(record)
        rows: list[Row] = [(merchant, DECISIONS, id, body) for (merchant, id), body in self._rows.items()]
        if stop > self.position:
            self._documents.put_many(rows, keys=self._entries, mark=(FOLDED, stop))
            self.position = stop
        self._rows, self._entries = {}, []
        return len(rows)

    def _fold(self, record: Record) -> None:
        if record.kind == RecordKind.CONTROL:
            self._control(record)
        elif record.kind == RecordKind.EVENT:
            self._event = decode_event_core(record.core)
        elif record.kind == RecordKind.DECISION:
            self._decided(record.merchant, decode_decision(record.core))
        elif record.kind == RecordKind.FALLBACK:
            self._fell_back(record.merchant, decode_fallback(record.core).answer)

    def _control(self, record: Record) -> None:
        control = decode_control(record.core)
        if isinstance(control, MerchantCreated):
            self._columns[record.merchant] = plan_of(control).columns
            self._places[record.merchant] = places_of(control.schema)

    def _decided(self, merchant: str, decided: DecisionCore) -> None:
        """Store a decision with its event, which stands right before it."""
        if self._event.event_id == decided.decision.event_id:
            self._keep(merchant, stored_decision(self._columns[merchant], self._event, decided))
            self._index(merchant, decided.decision)

    def _fell_back(self, merchant: str, answer: Decision) -> None:
        """Store a fallback as the answer: over the decision that came too late, or with the event right before it."""
        id = document_id(answer)
        body = self._rows.get((merchant, id)) or self._documents.get(merchant, DECISIONS, id)
        stored = msgspec.json.decode(body, type=StoredDecision) if body else None
        if stored is not None and stored.decision.event_id == answer.event_id:
            self._keep(merchant, msgspec.structs.replace(stored, decision=answer))
        else:
            self._decided(merchant, DecisionCore(answer, b""))

    def _keep(self, merchant: str, stored: StoredDecision) -> None:
        self._rows[merchant, document_id(stored.decision)] = msgspec.json.encode(stored)

    def _index(self, merchant: str, decision: Decision) -> None:
        keys = index_keys(self._places[merchant], self._event.row)
        id, seq = document_id(decision), decision.seq
        self._entries += [(merchant, DECISIONS, key, seq, id) for key in keys]
