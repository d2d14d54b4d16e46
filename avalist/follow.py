"""The follower: folds the same log behind the decider, in a process of its own. It writes decisions as documents."""

from __future__ import annotations

import msgspec

from avalist.app.merchant import decode_control, decode_event_core, decode_fallback, plan_of
from avalist.app.stored import stored_decision
from avalist.app.writer import decode_decision
from avalist.domain.core import DecisionCore, EventCore, MerchantCreated
from avalist.domain.records import Record, RecordKind
from avalist.ports.documents import Documents
from avalist.ports.log import Log

MARK = "follower"
DECISIONS = "decisions"
_BATCH = 2000

Row = tuple[str, str, str, bytes]


class Follower:
    """Folds the log into documents, exactly once: the position is stored with each batch.

    Call :meth:`advance` again and again; `position` tells how far it is.
    """

    def __init__(self, log: Log, documents: Documents) -> None:
        self._log = log
        self._documents = documents
        self._columns: dict[str, tuple[str, ...]] = {}
        self._event: tuple[int, EventCore] = (0, EventCore("", "", b"", "", "", b""))
        self.position = documents.mark(MARK)
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
        rows: list[Row] = []
        position, stop = self.position, self._log.durable_end
        for position, record in self._log.read(self.position, stop):
            if len(rows) >= _BATCH and record.kind != RecordKind.DECISION:
                stop = position
                break
            rows.extend(self._documents_of(record))
        if stop > self.position:
            self._documents.put_many(rows, mark=(MARK, stop))
            self.position = stop
        return len(rows)

    def _documents_of(self, record: Record) -> list[Row]:
        if record.kind == RecordKind.CONTROL:
            self._control(record)
        elif record.kind == RecordKind.EVENT:
            self._event = (record.seq, decode_event_core(record.core))
        elif record.kind == RecordKind.DECISION and self._event[0] == record.seq:
            return [self._decision(record.merchant, self._event[1], decode_decision(record.core))]
        elif record.kind == RecordKind.FALLBACK:
            answer = decode_fallback(record.core).answer
            core = EventCore("", answer.event_id, b"", answer.payment_id, answer.checkpoint, b"")
            return [self._decision(record.merchant, core, DecisionCore(answer, b""))]
        return []

    def _control(self, record: Record) -> None:
        control = decode_control(record.core)
        if isinstance(control, MerchantCreated):
            self._columns[record.merchant] = plan_of(control).columns

    def _decision(self, merchant: str, core: EventCore, decided: DecisionCore) -> Row:
        stored = stored_decision(self._columns[merchant], core, decided)
        return merchant, DECISIONS, f"{core.payment_id}/{core.checkpoint}", msgspec.json.encode(stored)
