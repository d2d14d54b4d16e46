"""Events taken together are taken as one by one: what stands in the log, byte by byte, and what is wrong with the rest.

Among them are events that come again, contradict each other, name sessions and payments of the same batch or none, and
such as cannot be taken: one of these makes its batch go one by one.
"""

from __future__ import annotations

import datetime as dt
from itertools import accumulate, pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.adapters.memory.log import MemoryLog
from avalist.app.writer import Writer
from avalist.domain.errors import AvalistError
from avalist.domain.events import WireEvent
from avalist.domain.schema import DIGITAL_GOODS, CategoryDecl, EntityDecl, NumberDecl, Schema
from tests.shop import T0_MS, event, iso, payment

SCHEMA = msgspec.structs.replace(
    DIGITAL_GOODS,
    entities=(*DIGITAL_GOODS.entities, EntityDecl("terminal", "custom.terminal"), EntityDecl("session", "session.id")),
    numbers=(*DIGITAL_GOODS.numbers, NumberDecl("typed", "session.typing.hold_ms", 3), NumberDecl("x", "custom.x", 2)),
    categories=(*DIGITAL_GOODS.categories, CategoryDecl("screen", "device_class")),
    rates={"JPY": 0.006},
)
_FEW, _MANY = st.integers(0, 3), st.integers(0, 15)
_TIMES = st.sampled_from([None, None, None, None, 0, 0, 0, 1, 5, -5])
_CUSTOM = st.sampled_from(
    [{}, {}, {}, {}, {"terminal": "t1"}, {"z": 1, "terminal": 7, "a": True}, {"x": 1.005}, {"x": "seven"}, {"x": 1e11}]
)
_SESSIONS = st.sampled_from(
    [
        None, None, None, {"id": "s0"}, {"id": "s1"},
        {"id": "s1", "duration_ms": 4000, "pages": 2, "journey": ["home", "pay"]},
        {"pastes": 1, "tells": ["webdriver"]}, {"id": "s0", "typing": {"hold_ms": 10**10}},
    ]
)  # fmt: skip
_CUSTOMERS = st.sampled_from(
    [
        {"id": "ann", "email": "Ann.Lee+x@gmail.com", "name": "Ann Lee", "created_at": "2025-01-01T00:00:00Z"},
        {"email": "bob@example.com"}, {"id": "eve", "email": "no-address", "phone": "+49 170 1234567"},
        {"id": "ümlaut"},
    ]
)  # fmt: skip
_DEVICES = st.sampled_from([None, {"id": "d1", "user_agent": "Mozilla/5.0 (iPhone)", "timezone": "Europe/Vienna"}])
_METHODS = st.sampled_from(
    [
        None, {"kind": "card", "fingerprint": "c1", "bin": "411111", "issuer_country": "DE"},
        {"kind": "wallet", "provider": "w", "account": "a"},
    ]
)  # fmt: skip
_CARTS = st.sampled_from(
    [
        [], [{"kind": "gift_card", "brand": "b", "unit_amount_minor": 500}],
        [{"kind": "other", "category": "c"}, {"kind": "game_currency", "title": "t", "unit_amount_minor": 9}],
    ]
)  # fmt: skip


def _paid(n: int, of: int, at: int | None, **more: Any) -> WireEvent:
    sent_at = iso(T0_MS + n) if n else None
    return payment(n, payment_id=f"p{of}", received_at=_at(at), sent_at=sent_at, **more)


def _at(late_ms: int | None) -> str | None:
    return None if late_ms is None else iso(T0_MS + late_ms)


PAYMENTS = st.builds(
    _paid, _MANY, _FEW, _TIMES, checkpoint=st.sampled_from(["pre_auth", "pre_auth", "post_auth", "rescore"]),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "EUR", "EUR", "EUR", "JPY", "XXX"]),
    amount_minor=st.sampled_from([100, 10**12]),
    captured=st.sampled_from([None, True]), session=_SESSIONS, customer=st.none() | _CUSTOMERS, device=_DEVICES,
    method=_METHODS, cart=_CARTS, custom=_CUSTOM, ip=st.sampled_from([None, "8.8.4.4", "2001:db8::1"]),
)  # fmt: skip
IDENTITY = st.builds(
    lambda type, n, at, **more: event(type, f"i{n}", received_at=_at(at), **more),
    st.sampled_from(["sign_up", "login", "session"]), _MANY, _TIMES, session=_SESSIONS, customer=_CUSTOMERS,
    device=_DEVICES, custom=_CUSTOM,
)  # fmt: skip
OUTCOMES = st.builds(
    lambda told, n, of, at: event(told[0], f"o{n}", payment_id=f"p{of}", received_at=_at(at), **told[1]),
    st.sampled_from(
        [
            ("authorisation_result", {"approved": True, "avs": "Y"}), ("authorisation_result", {"approved": False}),
            ("capture", {}), ("refund", {"amount_minor": 0}), ("chargeback", {"reason_code": "10.4"}),
            ("chargeback", {"stage": "won"}), ("label", {"fraud": False}), ("early_fraud_warning", {}),
            ("review", {"verdict": "decline", "by": "b"}),
        ]
    ),
    _MANY, _FEW, _TIMES,
)  # fmt: skip
FAR = dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(dt.timedelta(hours=-3)))
"""A time that has five digits of year in UTC: it has no content."""
UNWRITABLE = OUTCOMES.map(lambda event: msgspec.structs.replace(event, occurred_at=FAR))
EVENTS = st.sampled_from([PAYMENTS] * 5 + [IDENTITY] * 4 + [OUTCOMES] * 6 + [UNWRITABLE]).flatmap(lambda kind: kind)
FIRST: list[WireEvent] = [payment(f"first-{n}", payment_id=f"p{n}", session={"id": "s0"}) for n in range(2)]


def _writer(schema: Schema) -> Writer:
    writer = Writer(MemoryLog(), lambda merchant, version: None, lambda merchant: b"s" * 32)  # type: ignore[arg-type, return-value]
    writer.create("shop", schema, T0_MS - 1)
    return writer


def _told(results: list[int | AvalistError]) -> list[object]:
    return [(type(one), str(one)) if isinstance(one, AvalistError) else one for one in results]


@given(
    st.lists(EVENTS, max_size=30), st.lists(st.integers(1, 12), min_size=1), st.sampled_from(["explicit", "assumed"])
)
@settings(max_examples=200)
def test_events_taken_together_are_taken_as_one_by_one(events: list[WireEvent], sizes: list[int], capture: Any) -> None:
    alone, together = (_writer(msgspec.structs.replace(SCHEMA, capture=capture)) for _ in range(2))
    one_by_one = [result for event in events for result in alone.record_many("shop", [event], T0_MS)]
    cuts = [0, *accumulate(sizes), len(events)]
    at_once = [
        result for start, stop in pairwise(cuts) for result in together.record_many("shop", events[start:stop], T0_MS)
    ][: len(events)]
    assert _told(at_once) == _told(one_by_one)
    assert list(together._log.read()) == list(alone._log.read())
    states = [writer.merchants["shop"] for writer in (alone, together)]
    assert len({merchant.at_ms for merchant in states}) == 1
    for merchant in states:
        merchant.settle()
    assert states[0].features.digest() == states[1].features.digest()
    assert (states[0].events.dump() == states[1].events.dump()).all()
