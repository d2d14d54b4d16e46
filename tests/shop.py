"""What tests share: a small merchant, its payments, a clock that stands still, a shop without HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from avalist.app.administer import ActivateModel, CreateMerchant, IssueKey
from avalist.app.writer import Answer
from avalist.bootstrap import Installation, build, keep_model, open_follower
from avalist.config import Settings
from avalist.domain.events import Payment, WireEvent, decode_event, from_ms
from avalist.domain.keys import KeyKind
from avalist.domain.schema import CategoryDecl, EntityDecl, NumberDecl, Schema
from avalist.follow import Follower
from avalist.models.artefact import Artefact

T0_MS = 1_790_000_000_000
DAY_MS = 86_400_000
CARD_NUMBER = "4111111111111111"

SCHEMA = Schema(
    base_currency="EUR",
    entities=(
        EntityDecl("account", "customer.id"),
        EntityDecl("card", "method.fingerprint"),
        EntityDecl("ip24", "ip24"),
    ),
    numbers=(NumberDecl("lat", "custom.lat", 3),),
    categories=(CategoryDecl("country", "billing.country"),),
    capture="explicit",
    rates={"JPY": 0.006},
)


class FakeClock:
    """A clock that moves when it is told to; `ahead_ms` is by how much somebody set it wrong."""

    def __init__(self, now_ms: int = T0_MS) -> None:
        self.ms = now_ms
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return self.ms + self.ahead_ms

    def steady_ms(self) -> int:
        return self.ms


def iso(ms: int) -> str:
    return from_ms(ms).isoformat()


def payment_json(n: int | str = 1, **changes: Any) -> dict[str, Any]:
    """Return a payment's JSON; the values None leave a field out."""
    whole: dict[str, Any] = {
        "type": "payment", "event_id": f"e{n}", "payment_id": f"p{n}", "occurred_at": iso(T0_MS), "amount_minor": 2500,
        "currency": "EUR", "customer": {"id": "ann", "email": "ann@example.com"}, "ip": "192.0.2.7",
        "method": {"kind": "card", "fingerprint": "card-1", "bin": "411111"},
    }  # fmt: skip
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def payment(n: int | str = 1, **changes: Any) -> Payment:
    event = decode_event(msgspec.json.encode(payment_json(n, **changes)))
    assert isinstance(event, Payment)
    return event


def event(type: str, id: str, **fields: Any) -> WireEvent:
    return decode_event(msgspec.json.encode({"type": type, "event_id": id, "occurred_at": iso(T0_MS), **fields}))


class Shop:
    """One installation with merchants, driven without HTTP."""

    def __init__(self, installation: Installation, clock: FakeClock) -> None:
        self.installation = installation
        self.clock = clock
        self.writer = installation.writer

    def create(self, merchant: str = "shop", schema: Schema = SCHEMA) -> None:
        self.installation.administration.carry_out(CreateMerchant(merchant, schema, prior=False), self.clock.ms)

    def key(self, merchant: str = "shop", kind: KeyKind = "live") -> str:
        issued = self.installation.administration.carry_out(IssueKey(merchant, kind), self.clock.ms)
        return str(issued["key"])

    def activate(self, artefact: Artefact, merchant: str = "shop") -> None:
        keep_model(self.installation.blobs, merchant, artefact)
        self.installation.administration.carry_out(
            ActivateModel(merchant, artefact.version, artefact.plan_hash), self.clock.ms
        )

    def follower(self) -> Follower:
        here = self.installation
        return open_follower(here.settings, here.log, here.documents, here.blobs)

    def decide(self, n: int | str = 1, merchant: str = "shop", **changes: Any) -> Answer:
        return self.writer.decide(merchant, payment(n, **changes), self.clock.ms)

    def record(self, event: WireEvent, merchant: str = "shop") -> int:
        return self.writer.record(merchant, event, self.clock.ms)

    def features(self, n: int | str = 1, checkpoint: str = "pre_auth", merchant: str = "shop") -> dict[str, float]:
        """Return the columns that a decision saw."""
        _, decided = self.writer.lookup(merchant, f"p{n}", checkpoint)
        columns = self.writer.merchant(merchant).plan.columns
        return dict(zip(columns, np.frombuffer(decided.features, "<f4").tolist(), strict=True))


@contextmanager
def opened(folder: Path, clock: FakeClock | None = None, log: str = "file:") -> Iterator[Shop]:
    """Open a shop on a folder; its log, documents and blobs survive."""
    clock = clock or FakeClock()
    with build(Settings(data=folder, log=log), clock=clock) as installation:
        yield Shop(installation, clock)
