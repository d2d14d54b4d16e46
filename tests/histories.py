"""Histories to merge: a merchant's events of some weeks, no two at one time, and ways to part them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from avalist.domain.events import Payment, WireEvent, known_at
from tests.shop import T0_MS, event, iso, payment

SPAN_MS = 30 * 86_400_000
OUTCOMES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("authorisation_result", {"approved": True}), ("authorisation_result", {"approved": False}), ("capture", {}),
    ("chargeback", {}), ("early_fraud_warning", {}), ("label", {"fraud": False}), ("refund", {}),
    ("chargeback", {"stage": "won"}),
)  # fmt: skip


def lived(seed: int, payments: int = 120) -> list[WireEvent]:
    """Return payments on few cards and accounts, asked again now and then, what became of them, and logins."""
    draw = random.Random(seed)
    clock = iter(draw.sample(range(T0_MS - SPAN_MS, T0_MS), 6 * payments))
    found: list[WireEvent] = []
    for n in range(payments):
        times = sorted(next(clock) for _ in range(draw.randint(1, 5)))
        who = {"customer": {"id": f"c{n % 7}"}, "method": {"kind": "card", "fingerprint": f"k{draw.randrange(9)}"}}
        more = {**who, "amount_minor": draw.randrange(100, 90_000), "billing": {"country": draw.choice(["FR", "DE"])}}
        found.append(payment(n, occurred_at=iso(times[0]), **more))
        if draw.random() < 0.2 and len(times) > 2:
            at = iso(times.pop(1))
            found.append(payment(n, event_id=f"again-{n}", checkpoint="post_auth", occurred_at=at, **more))
        for k, at_ms in enumerate(times[1:]):
            kind, fields = draw.choice(OUTCOMES)
            found.append(event(kind, f"o{n}-{k}", payment_id=f"p{n}", occurred_at=iso(at_ms), **fields))
        if draw.random() < 0.2:
            found.append(event("login", f"l{n}", occurred_at=iso(next(clock)), customer=who["customer"]))
    return sorted(found, key=known_at)


def parted(events: Iterable[WireEvent], seed: int) -> tuple[list[WireEvent], list[WireEvent]]:
    """Part events at random; an outcome goes into the first part only where its payment does, before it."""
    draw = random.Random(seed)
    first: list[WireEvent] = []
    second: list[WireEvent] = []
    known: set[str] = set()
    for one in events:
        id = getattr(one, "payment_id", "")
        fits = isinstance(one, Payment) or not id or id in known
        mine = first if fits and draw.random() < 0.5 else second
        mine.append(one)
        if mine is first and isinstance(one, Payment):
            known.add(id)
    return first, second


def written(file: Path, events: Iterable[WireEvent]) -> Path:
    """Write events as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\n".join(map(msgspec.json.encode, events)))
    return file
