"""Decisions as documents, with the keys that look-up finds them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from avalist.app.explain import Explainer
from avalist.app.lookup import Places, index_keys, places_of
from avalist.app.merchant import Merchant, decode_event_core, decode_fallback
from avalist.app.reviews import REVIEWS, ReviewCase, asked_for, settled
from avalist.app.stored import DECISIONS, StoredDecision, document_id, folded, numbered, stored_decision
from avalist.app.writer import decode_decision
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import Action, Decision
from avalist.domain.records import Record, RecordKind
from avalist.follow.place import Place
from avalist.ports.documents import Documents

_APPROVALS: Final = 50
"""Approvals of one batch that are explained exactly: a model of 300 trees takes some milliseconds for each."""
Row = tuple[str, str, str, bytes]
Entry = tuple[str, str, str, int, str]


class DecisionDocuments:
    """Writes decisions, exactly once: the position is stored with each batch.

    `merchants` are those of the state, which is folded first; `end` and `generation` are the log's. `part` tells one
    log of several from the others. The `explainer` says more of each decision that is no approval, and of some
    approvals in each batch.
    """

    def __init__(
        self,
        documents: Documents,
        merchants: Mapping[str, Merchant],
        end: int,
        explainer: Explainer,
        generation: int = 1,
        part: str = "",
    ) -> None:
        self._documents = documents
        self._merchants = merchants
        self._explainer = explainer
        self._spare = _APPROVALS
        self._places: dict[str, Places] = {}
        self._event = EventCore("", "", b"", "", "", b"")
        self._rows: dict[tuple[str, str], bytes] = {}
        self._entries: list[Entry] = []
        self._reviews: dict[tuple[str, str], ReviewCase] = {}
        self._at_ms = 0
        self._place = Place(documents, folded(generation) + part, end)

    @property
    def position(self) -> int:
        """Return how far it is."""
        return self._place.position

    def keep(self, stop: int) -> int:
        """Write the documents and how far they are; return how many."""
        rows: list[Row] = [(merchant, DECISIONS, id, body) for (merchant, id), body in self._rows.items()]
        rows += [(merchant, REVIEWS, id, msgspec.json.encode(one)) for (merchant, id), one in self._reviews.items()]
        self._place.put(rows, stop, keys=self._entries)
        self._rows, self._entries, self._reviews, self._spare = {}, [], {}, _APPROVALS
        return len(rows)

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        if record.kind == RecordKind.EVENT:
            self._event, self._at_ms = decode_event_core(record.core), record.received_at_ms
            if self._event.verdict:
                self._settle(record.merchant)
        elif record.kind == RecordKind.DECISION:
            self._decided(record.merchant, decode_decision(record.core))
        elif record.kind == RecordKind.FALLBACK:
            self._fell_back(record.merchant, decode_fallback(record.core).answer)

    def _decided(self, merchant: str, decided: DecisionCore) -> None:
        """Store a decision with its event, which stands right before it."""
        if self._event.event_id == decided.decision.event_id:
            self._keep(merchant, self._explained(self._merchants[merchant], decided))
            self._index(merchant, decided.decision)

    def _explained(self, merchant: Merchant, decided: DecisionCore) -> StoredDecision:
        decision = decided.decision
        model = self._explainer.model(merchant.id, decision.model_version) if decision.reasons else None
        stored = stored_decision(merchant, self._event, decided, None if model is None else model.artefact.typical)
        if Action.APPROVE in (decision.action, decision.advised_action):
            self._spare -= 1
            if self._spare < 0:
                return stored
        return msgspec.structs.replace(stored, explanation=self._explainer.explain(merchant, self._event, decided))

    def _fell_back(self, merchant: str, answer: Decision) -> None:
        """Store a fallback as the answer: over the decision that came too late, or with the event right before it."""
        id = document_id(answer)
        body = self._rows.get((merchant, id)) or self._documents.get(merchant, DECISIONS, id)
        stored = msgspec.json.decode(body, type=StoredDecision) if body else None
        if stored is not None and stored.decision.event_id == answer.event_id:
            answer = numbered(answer, stored.decision.seq)
            self._keep(merchant, msgspec.structs.replace(stored, decision=answer))
        else:
            self._decided(merchant, DecisionCore(answer, b""))

    def _keep(self, merchant: str, stored: StoredDecision) -> None:
        self._rows[merchant, document_id(stored.decision)] = msgspec.json.encode(stored)
        if stored.decision.action is Action.REVIEW:
            currency = self._merchants[merchant].schema.base_currency
            review = asked_for(self._event, stored.decision, self._at_ms, currency)
            self._reviews[merchant, review.payment_id] = review

    def _settle(self, merchant: str) -> None:
        """Store a verdict with the review that it settles; one that nobody asked for settles nothing."""
        id = self._event.payment_id
        body = None if (merchant, id) in self._reviews else self._documents.get(merchant, REVIEWS, id)
        asked = msgspec.json.decode(body, type=ReviewCase) if body else self._reviews.get((merchant, id))
        if asked is not None:
            self._reviews[merchant, id] = settled(asked, self._event, self._at_ms)

    def _index(self, merchant: str, decision: Decision) -> None:
        if merchant not in self._places:
            self._places[merchant] = places_of(self._merchants[merchant].schema)
        keys = index_keys(self._places[merchant], self._event.row)
        id, seq = document_id(decision), decision.seq
        self._entries += [(merchant, DECISIONS, key, seq, id) for key in keys]
