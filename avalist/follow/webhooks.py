"""The fold that notices what webhooks tell: each message once, with an id that does not depend on when it is read."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from hashlib import blake2b
from typing import Any, Final

import msgspec

from avalist.app.merchant import decode_control, decode_event_core, decode_fallback
from avalist.app.stored import folded
from avalist.app.waves import ALERTS, Alert
from avalist.app.webhooks import Entry, Row, Webhooks
from avalist.app.writer import decode_decision
from avalist.domain.core import EventCore, FallbackCore, ModelActivated
from avalist.domain.decisions import Decision, WarningCode
from avalist.domain.events import from_ms
from avalist.domain.records import FoldKind, Record, RecordKind
from avalist.domain.row import KIND, unpack_row
from avalist.domain.webhooks import Message, Topic, body_of
from avalist.follow.place import Place
from avalist.ports.documents import Documents

WEBHOOK_MARK: Final = "webhooks/1"
_STATE: Final = "webhook_state"
_ID: Final = "state"
_OUTCOMES: Final = (FoldKind.OUTCOME, FoldKind.AUTH_APPROVED, FoldKind.AUTH_DECLINED)
_SEQS: Final = 1 << 20
_ALERTS: Final = 200
"""The newest alerts, in which waves are looked for that nobody was told of."""
_HELD: Final = 10_000
"""Decisions that are remembered, to tell a late one from the fallback that was answered."""


class _State(msgspec.Struct, kw_only=True):
    """What is to be known of a merchant's past: when it was last in a wave, the waves that were told, and the models
    that were active.
    """

    wave_ms: int = 0
    waves: list[str] = []
    models: list[str] = []


class WebhookFold:
    """Queues messages for the merchants that have webhooks; the position is stored with each batch.

    A webhook that was just added is told what comes after the batch in which it is seen.
    """

    def __init__(self, webhooks: Webhooks, documents: Documents, end: int, generation: int = 1, part: str = "") -> None:
        self._webhooks = webhooks
        self._documents = documents
        self._generation = generation
        self._place = Place(documents, folded(generation, WEBHOOK_MARK) + part, end)
        self._known = {*webhooks.merchants()}
        self._states: dict[str, _State] = {}
        self._touched: set[str] = set()
        self._messages: defaultdict[str, list[Message]] = defaultdict(list)
        self._warned: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._last_ms: dict[str, int] = {}
        self._decided: OrderedDict[tuple[str, str], Decision] = OrderedDict()

    @property
    def position(self) -> int:
        """Return how far it is."""
        return self._place.position

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        if record.kind == RecordKind.CONTROL:
            control = decode_control(record.core)
            if isinstance(control, ModelActivated):
                self._activated(record, control.version)
        elif record.merchant not in self._known:
            return
        elif record.kind == RecordKind.EVENT:
            self._event(record, decode_event_core(record.core))
        elif record.kind == RecordKind.DECISION:
            self._decision(record, decode_decision(record.core).decision)
        else:
            self._fallback(record, decode_fallback(record.core))

    def keep(self, stop: int) -> int:
        """Store the messages for those who want them; return how many."""
        for merchant in self._warned:
            self._waves(merchant)
        rows: list[Row] = []
        entries: list[Entry] = []
        for merchant, messages in self._messages.items():
            told = self._webhooks.queue(merchant, messages)
            rows += told[0]
            entries += told[1]
        count = len(rows)
        rows += [(m, _STATE, _ID, msgspec.json.encode(self._states[m])) for m in sorted(self._touched)]
        self._place.put(rows, stop, keys=entries)
        self._messages.clear()
        self._warned.clear()
        self._touched.clear()
        self._known = {*self._webhooks.merchants()}
        return count

    def _event(self, record: Record, core: EventCore) -> None:
        if unpack_row(core.row)[KIND] in _OUTCOMES:
            data = {"payment_id": core.payment_id, "event_id": core.event_id, "outcome": core.type, "fraud": core.label}
            self._tell(record, "outcome.recorded", f"payment/{core.payment_id}", data)

    def _activated(self, record: Record, version: str) -> None:
        state = self._state(record.merchant)
        topic: Topic = "model.rolled_back" if version in state.models else "model.activated"
        before = state.models[-1] if state.models else None
        self._tell(record, topic, "model", {"version": version, "before": before})
        state.models = [*(one for one in state.models if one != version), version]
        self._touched.add(record.merchant)

    def _decision(self, record: Record, decision: Decision) -> None:
        key = record.merchant, decision.event_id
        fallen = self._decided.pop(key, None)
        if fallen is not None:
            self._revised(record, decision, fallen)
        else:
            self._remember(key, decision)
        if WarningCode.WAVE in decision.warnings:
            self._warned[record.merchant][decision.payment_id] = decision.event_id
            self._last_ms[record.merchant] = record.received_at_ms

    def _fallback(self, record: Record, fallback: FallbackCore) -> None:
        key = record.merchant, fallback.event_id
        decided = self._decided.pop(key, None)
        if decided is not None:
            self._revised(record, decided, fallback.answer)
        else:
            self._remember(key, fallback.answer)

    def _remember(self, key: tuple[str, str], decision: Decision) -> None:
        self._decided[key] = decision
        if len(self._decided) > _HELD:
            self._decided.popitem(last=False)

    def _revised(self, record: Record, decision: Decision, answered: Decision) -> None:
        """Tell of a decision that came too late: the fallback stands, this is advice."""
        data = {
            "payment_id": decision.payment_id, "event_id": decision.event_id, "checkpoint": decision.checkpoint,
            "answered": answered.action, "advised": decision.advised_action or decision.action,
            "p_fraud": decision.p_fraud, "risk_score": decision.risk_score,
        }  # fmt: skip
        self._tell(record, "decision.revised", f"payment/{decision.payment_id}", data)

    def _waves(self, merchant: str) -> None:
        """Tell of the waves that were opened since payments of the merchant were last in one."""
        state, warned = self._state(merchant), self._warned[merchant]
        found = self._documents.find(merchant, ALERTS, limit=_ALERTS)
        alerts = [msgspec.json.decode(body, type=Alert) for _, body in found]
        for alert in sorted(alerts, key=lambda one: (one.at_ms, one.wave)):
            if alert.type == "wave.opened" and alert.at_ms >= state.wave_ms and alert.wave not in state.waves:
                data = {
                    "wave": alert.wave, "payment_id": alert.wave, "event_id": warned.get(alert.wave),
                    "payments": alert.payments, "amount_minor": alert.amount_minor, "currency": alert.currency,
                    "words": alert.words,
                }  # fmt: skip
                number = int.from_bytes(blake2b(alert.wave.encode(), digest_size=6).digest())
                self._queue(merchant, number, alert.at_ms, "wave.alert", f"wave/{alert.wave}", data)
                state.waves = [*state.waves, alert.wave][-_ALERTS:]
        state.wave_ms = self._last_ms[merchant]
        self._touched.add(merchant)

    def _tell(self, record: Record, topic: Topic, subject: str, data: dict[str, Any]) -> None:
        self._queue(record.merchant, record.seq, record.received_at_ms, topic, subject, data)

    def _queue(self, merchant: str, number: int, at_ms: int, topic: Topic, subject: str, data: dict[str, Any]) -> None:
        """Put a message among those to be stored; `number` and topic name it for ever."""
        if merchant in self._known:
            id = f"msg_{merchant}_{self._generation}_{number}_{topic}"
            body = body_of(id, topic, merchant, from_ms(at_ms).isoformat(), data)
            order = at_ms * _SEQS + number % _SEQS  # grows with the merchant's log, over generations too
            message = Message(id=id, topic=topic, subject=subject, at_ms=at_ms, order=order, body=body)
            self._messages[merchant].append(message)

    def _state(self, merchant: str) -> _State:
        if merchant not in self._states:
            body = self._documents.get(merchant, _STATE, _ID)
            self._states[merchant] = msgspec.json.decode(body, type=_State) if body else _State()
        return self._states[merchant]
