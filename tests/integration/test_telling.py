"""What an outcome, a KYC step and a change of a profile say is read back from the log, and from the archive."""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.adapters.memory.log import MemoryLog
from avalist.app.archive import Archive
from avalist.app.merchant import decode_event_core
from avalist.app.telling import iso_text, told_by
from avalist.domain.core import EventCore
from avalist.domain.events import OutcomeEvent, WireEvent, decode_event
from tests.integration.test_archive import archive
from tests.shop import T0_MS, Shop, event, iso

OF_ALL = {"event_id", "occurred_at", "sent_at", "received_at", "version", "payment_id"}
OUTCOMES: dict[str, dict[str, Any]] = {
    "authorisation_result": {
        "approved": False, "issuer_code": "05", "avs": "Y", "cvv": "N", "three_d_secure": "attempted",
    },
    "capture": {"amount_minor": 0},
    "void": {},
    "refund": {"amount_minor": 2400},
    "early_fraud_warning": {"scheme": "visa", "reason_code": "2"},
    "chargeback": {"stage": "lost", "fraud": False, "reason_code": "10.4", "amount_minor": 2500},
    "label": {"fraud": False, "source": "bureau"},
    "review": {"verdict": "approve", "by": "eve"},
}  # fmt: skip
IDENTITY: dict[str, dict[str, Any]] = {
    "kyc_step": {"step": "passport", "result": "pending"},
    "profile_change": {"changed": ["email", "phone"]},
}


def kept(shop: Shop, wanted: WireEvent) -> EventCore:
    """Record an event; return its core from the archive, having checked that the log has the same."""
    shop.decide(1)
    position = shop.record(wanted)
    here = shop.installation
    assert isinstance(here.log, MemoryLog)
    archive(shop)
    archived = Archive(here.blobs, here.log).get(position)
    assert archived == msgspec.structs.replace(here.log.get(position), sealed=b"")
    return decode_event_core(archived.core)


def test_every_field_of_every_outcome_is_sent_here() -> None:
    fields = {kind.__struct_config__.tag: {*kind.__struct_fields__} - OF_ALL for kind in get_args(OutcomeEvent)}
    assert {type: {*said} for type, said in OUTCOMES.items()} == fields


@pytest.mark.parametrize("type", OUTCOMES)
def test_an_outcome_is_read_back_whole(shop: Shop, type: str) -> None:
    sent = event(type, "o1", payment_id="p1", occurred_at=iso(T0_MS - 5000), **OUTCOMES[type])
    core = kept(shop, sent)
    again = {"type": core.type, "event_id": core.event_id, "payment_id": core.payment_id, **core.told}
    assert decode_event(msgspec.json.encode(again)) == sent


@pytest.mark.parametrize("type", IDENTITY)
def test_what_an_identity_event_says_is_kept_and_not_of_whom(shop: Shop, type: str) -> None:
    core = kept(shop, event(type, "i1", customer={"id": "ann", "email": "a@b.c"}, ip="192.0.2.7", **IDENTITY[type]))
    assert msgspec.json.decode(msgspec.json.encode(core.told)) == IDENTITY[type]


@pytest.mark.parametrize("type", ["sign_up", "login", "session"])
def test_other_events_say_nothing_more(type: str) -> None:
    assert told_by(event(type, "i1", customer={"id": "ann"}, custom={"a": "b"})) == {}


def test_a_core_of_before_decodes() -> None:
    before = msgspec.msgpack.decode(msgspec.msgpack.encode(EventCore("capture", "e", b"", "p", "", b"row")))[:-1]
    assert decode_event_core(msgspec.msgpack.encode(before)).told == {}


ZONES = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC) | ZONES))
def test_a_time_is_written_in_iso_format(at: dt.datetime) -> None:
    assert iso_text(at) == at.isoformat()
