"""The wire schema: what is refused names the field, and nothing escapes as another error."""

from __future__ import annotations

import datetime as dt
import gc
import json
import time
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.api.errors import problem_of
from avalist.app.take import canonical
from avalist.domain.errors import BadInput
from avalist.domain.events import (
    Payment,
    WireEvent,
    decode_event,
    decode_many,
    decode_payment,
    from_ms,
    to_ms,
)
from tests.shop import payment, payment_json


def refusal(body: bytes | dict[str, Any]) -> BadInput:
    with pytest.raises(BadInput) as error:
        decode_event(body if isinstance(body, bytes) else json.dumps(body).encode())
    return error.value


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount_minor": "5"}, "$.amount_minor"),
        ({"amount_minor": 5.5}, "$.amount_minor"),
        ({"amount_minor": -1}, "$.amount_minor"),
        ({"amount_minor": 10**12 + 1}, "$.amount_minor"),
        ({"amount_minor": True}, "$.amount_minor"),
        ({"currency": "eur"}, "$.currency"),
        ({"currency": "EURO"}, "$.currency"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "$.occurred_at"),
        ({"occurred_at": "2026-01-01"}, "$.occurred_at"),
        ({"occurred_at": "10000-01-01T00:00:00Z"}, "$.occurred_at"),
        ({"occurred_at": 1_790_000_000}, "$.occurred_at"),
        ({"sent_at": "2026-02-30T00:00:00Z"}, "$.sent_at"),
        ({"event_id": ""}, "$.event_id"),
        ({"event_id": "x" * 129}, "$.event_id"),
        ({"event_id": "a\nb"}, "$.event_id"),
        ({"payment_id": "a\x00b"}, "$.payment_id"),
        ({"checkpoint": "later"}, "$.checkpoint"),
        ({"version": 2}, "$.version"),
        ({"cart": {}}, "$.cart"),
        ({"cart": [{"kind": "coins"}]}, "$.cart[0].kind"),
        ({"cart": [{"kind": "other", "quantity": 0}]}, "$.cart[0].quantity"),
        ({"cart": [{"kind": "crypto", "asset_quantity": "1e5"}]}, "$.cart[0].asset_quantity"),
        ({"cart": [{"kind": "other"}] * 201}, "$.cart"),
        ({"method": {"kind": "card"}}, "$.method.fingerprint"),
        ({"method": {"kind": "card", "fingerprint": "f", "bin": "12345"}}, "$.method.bin"),
        ({"method": {"kind": "card", "fingerprint": "f", "number": "1"}}, "$.method.number"),
        ({"customer": {"id": 7}}, "$.customer.id"),
        ({"custom": {"y": 1, "x": [1]}}, "$.custom.x"),
        ({"custom": {"x": 2**63}}, "$.custom.x"),
        ({"custom": {"x": -(2**63) - 1}}, "$.custom.x"),
        ({"custom": {"": 1}}, "$.custom"),
        ({"session": {"duration_ms": -1}}, "$.session.duration_ms"),
    ],
)
def test_the_field_that_does_not_fit_is_named(changes: dict[str, Any], field: str) -> None:
    assert refusal(payment_json(**changes)).field == field


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in payment_json().items() if name != field}


@pytest.mark.parametrize("field", ["event_id", "payment_id", "occurred_at", "amount_minor", "currency"])
def test_what_is_missing_is_named(field: str) -> None:
    assert f"`{field}`" in str(refusal(without(field)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"payment"',
        b"{}",
        b'{"type":"payment"',
        b'{"type":"refunds"}',
        b'{"type":7}',
        b"\xff\xfe",
        b'{"type":"payment","event_id":"\xff"}',
        b'{"type":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"payment"}trailing',
        b"\x00",
        "\ufeff{}".encode(),
        b"NaN",
        b"1" * 5000,
        b'{"custom":{"x":1e999}}',
    ],
)
def test_what_is_no_event_is_bad_input(body: bytes) -> None:
    error = refusal(body)
    assert error.field
    assert problem_of(error).status in (400, 422)


def test_malformed_json_is_400_and_a_wrong_field_422() -> None:
    assert problem_of(refusal(b"{")).status == 400
    assert problem_of(refusal(payment_json(amount_minor="5"))).status == 422


@pytest.mark.parametrize(
    ("changes", "expected", "got"),
    [
        ({"amount_minor": "5"}, "int", "str"),
        ({"amount_minor": -1}, "int >= 0", ""),
        ({"currency": None}, "a value", "nothing"),
        ({"amount": 5}, "no such field: perhaps amount_minor", "an unknown field"),
        ({"zzz": 5}, "no such field", "an unknown field"),
        ({"sent_at": "1969-12-31T23:59:59Z"}, "the years 1970 to 2099", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_what_was_expected_and_what_came_stand_apart(changes: dict[str, Any], expected: str, got: str) -> None:
    error = refusal(payment_json(**changes))
    assert (error.expected, error.got) == (expected, got)


def test_a_payment_may_leave_out_its_type() -> None:
    assert decode_payment(json.dumps(payment_json(type=None)).encode()) == payment()


def test_a_field_of_another_event_is_refused() -> None:
    assert "approved" in str(refusal(payment_json(approved=True)))


@pytest.mark.parametrize("kind", get_args(WireEvent), ids=lambda k: k.__struct_config__.tag)
def test_every_event_tells_its_type(kind: type[msgspec.Struct]) -> None:
    required = {
        "event_id": "e", "occurred_at": "2026-01-01T00:00:00Z", "payment_id": "p", "amount_minor": 1, "currency": "EUR",
        "customer": {"id": "ann"}, "approved": True, "fraud": True, "step": "id", "result": "passed",
        "verdict": "approve",
    }  # fmt: skip
    fields = {f.name for f in msgspec.structs.fields(kind) if f.required}
    body = {"type": kind.__struct_config__.tag, **{n: v for n, v in required.items() if n in fields}}
    event = decode_event(json.dumps(body).encode())
    assert (type(event), event.type) == (kind, body["type"])


# --- the digest of a retry -----------------------------------------------------------------------------------------


def test_a_retry_is_the_same_however_it_is_written() -> None:
    whole = payment_json(custom={"a": 1, "b": False, "c": "d"})
    other = dict(reversed(whole.items())) | {
        "custom": dict(reversed(whole["custom"].items())),
        "sent_at": "2026-01-01T00:00:00Z",
        "occurred_at": "2026-09-21T15:13:20.000+02:00",
    }
    first = decode_payment(json.dumps({**whole, "occurred_at": "2026-09-21T15:13:20+02:00"}, indent=3).encode())
    assert canonical(first) == canonical(decode_payment(json.dumps(other).encode()))


@pytest.mark.parametrize("body", [b"{", b"", b"\xff"])
def test_what_is_no_json_is_told_what_was_expected(body: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        decode_payment(body)
    assert (refused.value.field, refused.value.expected) == ("$", "one JSON value in UTF-8")


@given(st.sampled_from(["amount_minor", "payment_id", "ip", "custom", "occurred_at"]))
def test_any_other_content_is_another(field: str) -> None:
    changes: dict[str, Any] = {
        "amount_minor": 2501, "payment_id": "p2", "ip": "192.0.2.8", "custom": {"a": 1},
        "occurred_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    assert canonical(payment(1, **{field: changes[field]})) != canonical(payment())


# --- instants ------------------------------------------------------------------------------------------------------


@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.timezones()))
def test_an_instant_is_exact_to_the_millisecond(instant: dt.datetime) -> None:
    exact = instant.astimezone(dt.UTC)
    assert from_ms(to_ms(instant)) == exact.replace(microsecond=exact.microsecond // 1000 * 1000)


def test_the_decoded_instant_keeps_its_zone_out_of_the_count() -> None:
    east, utc = (
        decode_payment(json.dumps(payment_json(occurred_at=t)).encode())
        for t in ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z")
    )
    assert isinstance(east, Payment)
    assert to_ms(east.occurred_at) == to_ms(utc.occurred_at)


@pytest.mark.parametrize("escape", ["\\/", "\\u00e9"])
def test_an_escape_costs_little_and_leaves_no_cycles(escape: str) -> None:
    def least_s(name: bytes) -> float:
        """Return the least processor time of many."""
        times = []
        for _ in range(200):
            start = time.thread_time()
            decode_event(body.replace(b'"X"', name))
            times.append(time.thread_time() - start)
        return min(times)

    body = msgspec.json.encode(payment_json(customer={"id": "ann", "name": "X"}))
    plain_s = least_s(b'"X"')
    escaped_s = least_s(f'"{escape}"'.encode())
    gc.collect()
    assert escaped_s < 100 * plain_s  # the types are read once, not each time
    for _ in range(200):
        decode_event(body.replace(b'"X"', f'"{escape}"'.encode()))
    assert gc.collect() == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"currency": "eur"}, "ISO 4217, three capital letters, such as EUR"),
        ({"currency": "EU"}, "ISO 4217, three capital letters, such as EUR"),
        ({"occurred_at": "25.11.2026"}, "RFC 3339 with a zone, such as 2026-11-25T09:30:00Z"),
        ({"occurred_at": 5}, "RFC 3339 with a zone, such as 2026-11-25T09:30:00Z"),
        ({"occurred_at": "2026-11-25T09:30:00"}, "RFC 3339 with a zone, such as 2026-11-25T09:30:00Z"),
        ({"checkpoint": "now"}, "post_auth or pre_auth or rescore"),
        ({"method": {"kind": "cash"}}, "bank or card or crypto_address or wallet"),
        ({"cart": [{"kind": "x"}]}, "crypto or game_currency or gift_card or other or prepaid_top_up"),
        ({"method": {"kind": "card", "fingerprint": "f", "expiry": "4/29"}}, "year and month, such as 2029-04"),
        ({"amount_minor": "5"}, "int"),
    ],
)  # fmt: skip
def test_what_was_expected_is_told_with_an_example_or_its_choices(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadInput) as error:
        payment(**changes)
    assert error.value.expected == expected


@pytest.mark.parametrize("ip", ["abc", "8.8.4", "8.8.4.4:80", "256.1.1.1", "fe80::1%eth0", " 8.8.4.4"])
def test_an_ip_that_is_none_is_refused(ip: str) -> None:
    with pytest.raises(BadInput) as error:
        payment(ip=ip)
    assert (error.value.field, problem_of(error.value).status) == ("$.ip", 422)


@pytest.mark.parametrize("ip", ["8.8.4.4", "2001:db8::1", "::ffff:8.8.4.4", ""])
def test_an_ip_of_either_family_is_taken(ip: str) -> None:
    assert payment(ip=ip).ip == ip


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200b", "\ufeff", "\u0085", "\u061c"])
def test_an_id_with_a_character_that_turns_or_hides_text_is_refused(character: str, escaped: bool) -> None:
    whole = payment_json(payment_id=f"or{character}der", customer={"id": "ann"})
    body = json.dumps(whole, ensure_ascii=escaped).encode()
    with pytest.raises(BadInput) as error:
        decode_event(body)
    assert (error.value.field, "\\u" in error.value.got or "\\x" in error.value.got) == ("$.payment_id", True)


def test_ids_in_any_script_and_such_characters_elsewhere_are_taken() -> None:
    assert payment(payment_id="bestellung-ä-注文-é", customer={"id": "ann", "name": "A\u200fB"}).payment_id


@pytest.mark.parametrize(("field", "value"), [("bin", "411111\\n"), ("last4", "1111\\n"), ("fingerprint", "a\\u007fb")])
def test_a_control_character_in_a_patterned_field_is_refused(field: str, value: str) -> None:
    card = {"kind": "card", "fingerprint": "f", field: "VALUE"}
    body = msgspec.json.encode(payment_json(method=card)).replace(b"VALUE", value.encode())
    with pytest.raises(BadInput):
        decode_event(body)


GOOD = json.dumps({"type": "login", "event_id": "l", "occurred_at": "2026-01-01T00:00:00Z", "customer": {"id": "a"}})


def _all(decode: Callable[[list[bytes]], list[WireEvent]], lines: list[bytes]) -> list[WireEvent] | str:
    try:
        return decode(lines)
    except BadInput as error:
        return f"{error.field} {error.detail}"


@given(
    st.lists(
        st.sampled_from(
            [
                GOOD,
                GOOD.replace('"a"', '"\\u0001"'),
                GOOD.replace('"a"', '"b\u200b"'),
                GOOD.replace("2026", "1969"),
                GOOD.replace('"id": "a"', '"id": "a", "created_at": "2100-01-01T00:00:00Z"'),
                GOOD.replace("{", '{"ip": "8.8.4.4.4", ', 1),
                GOOD.replace("{", '{"ip": "8.8.4.4", ', 1),
                GOOD + GOOD,
                GOOD[:-1],
                "}",
                "{",
                "[]",
            ]
        ),
        max_size=4,
    )
)
def test_many_lines_decode_as_each_does(lines: list[str]) -> None:
    bodies = [line.encode() for line in lines]
    assert _all(decode_many, bodies) == _all(lambda some: [decode_event(one) for one in some], bodies)
