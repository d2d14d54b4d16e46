"""Two versions beside one another: each reads what the other writes, as far as it knows it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from avalist.app import asked as a
from avalist.app.merchant import decode_control, decode_event_core
from avalist.app.parts import proof_of
from avalist.app.profile import decode_profile, encode_profile, profile_of
from avalist.domain.core import EventCore, ModeSet
from avalist.domain.errors import BadInput, LogCorrupt
from avalist.domain.records import Record, RecordKind, decode_record, encode_record
from tests.cluster.altered import with_a_field_more
from tests.shop import Shop

RECORD = Record("shop", 1, RecordKind.EVENT, 0, b"core", b"sealed")


class Newer(Record, frozen=True, array_like=True, gc=False):
    """A record of the next version."""

    added: str = ""


def newer(value: Any, encode: Any = msgspec.msgpack.encode) -> bytes:
    return with_a_field_more(encode)(value)


def test_a_record_is_read_without_what_the_next_version_adds() -> None:
    assert decode_record(newer(RECORD, encode_record), 0) == RECORD


def test_the_next_version_reads_this_ones_record_and_knows_it_again() -> None:
    read = msgspec.msgpack.decode(encode_record(RECORD), type=Newer)
    assert proof_of(read) == proof_of(RECORD)
    assert proof_of(RECORD).hex()[:16] == "26e902a0e138b566"


@pytest.mark.parametrize("control", [ModeSet("off")])
def test_a_core_is_read_without_what_the_next_version_adds(control: ModeSet) -> None:
    core = EventCore("payment", "e1", b"", "p1", "pre_auth", b"row", asked=True)
    assert decode_event_core(newer(core)) == core
    assert decode_control(newer(control)) == control


def test_a_control_event_that_is_not_known_is_named_and_nothing_is_guessed() -> None:
    with pytest.raises(LogCorrupt, match="a newer version wrote it"):
        decode_control(msgspec.msgpack.encode({"type": "of_tomorrow"}))


def test_messages_are_read_without_what_the_next_version_adds(shop: Shop) -> None:
    question, reply = a.Decide(b"r", "shop", 1, b"part"), a.Recorded(b"r", ())
    assert a.decode_asked(newer(question)) == question
    assert a.decode_reply(newer(reply)) == reply
    profile = profile_of(shop.writer.merchant("shop"), [], 1)
    assert decode_profile(newer(profile, encode_profile)) == profile


def test_a_message_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadInput, match="no message of this version"):
        a.decode_asked(msgspec.msgpack.encode(["of_tomorrow", b"r"]))
