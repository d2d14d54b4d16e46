"""Card numbers are refused wherever they hide, and what only looks like one passes (I8)."""

from __future__ import annotations

import json
import re
import time
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avalist.domain.cards import (
    LEADS,
    doubtful,
    find_card_number,
    holds_card_number,
    is_card_number,
    refuse_card_numbers,
)
from avalist.domain.errors import BadInput, CardNumberRefused
from avalist.domain.events import decode_event, decode_payment
from tests.shop import CARD_NUMBER, payment_json

# Test numbers that the schemes publish.
NUMBERS = {
    "visa": CARD_NUMBER, "visa 13": "4222222222222", "mastercard": "5555555555554444", "two-series": "2223003122003222",
    "amex": "378282246310005", "discover": "6011111111111117", "jcb": "3530111333300000", "diners": "30569309025904",
    "diners 14": "38520000023237", "unionpay 19": "6205500000000000004", "maestro": "6759649826438453",
    "mir": "2200000000000004",
}  # fmt: skip


def refused(**changes: Any) -> str:
    """Return the field that a payment is refused for, or nothing."""
    return refused_body(json.dumps(payment_json(**changes)).encode())


def refused_body(body: bytes) -> str:
    try:
        refuse_card_numbers(body, decode_payment(body))
    except CardNumberRefused as error:
        assert doubtful([b"{}", body]) == {1} or decode_payment(body).custom
        return error.field
    return ""


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_number_of_each_scheme_is_known(number: str) -> None:
    assert holds_card_number(number)
    assert not any(holds_card_number(number[:-1] + d) for d in "0123456789" if d != number[-1])


@pytest.mark.parametrize(
    "digits",
    [
        "9111111111111116",
        "1111111111111117",
        "411111111111116",
        "41111111111111111111",
        "2220990000000007",
        "2721000000000004",
        "340000000000000009",
    ],
)
def test_another_issuer_or_length_is_no_card(digits: str) -> None:
    assert not holds_card_number(digits)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111 1111-11111111",
        "card: 4111111111111111.",
        "(4111111111111111)",
        "x_4111111111111111_x",
        "4111111111111111,4111111111111111",
        "4111111111111111 123",
        "4111 1111 1111 1111 12/25",
        "12 4111111111111111",
        "378282246310005 1234",
        "4111111111111111.0",
        "4111111111111111.",
        "1 2 3 4111111111111111 4",
        "4111 - 1111 - 1111 - 1111",
        "4111\u00a01111\u20111111\u20131111",
        "4111\t1111\n1111 1111",
        "\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11",
        "\u0664\u0661\u0661\u0661 1111 1111 1111",
        "4111\u200b1111\u200d1111\ufeff1111",
    ],
)
def test_a_number_among_other_text_is_found(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "A4111111111111111",
        "4111111111111111B",
        "4111    1111 1111 1111",
        "0.4111111111111111",
        "4111111111111111.5",
        "44111111111111111",
        "4111/1111/1111/1111",
        "tok_4f111111111111111",
        "",
        "4",
        "-" * 40,
        "1 2 3 4 5 6",
        "deadbeef4111111111111111deadbeef",
    ],
)
def test_a_part_of_something_else_is_no_card(text: str) -> None:
    assert not holds_card_number(text)


def test_the_offset_is_of_the_number() -> None:
    assert find_card_number(b"order 77: 4111 1111 1111 1111 123") == 10


# --- against slow references ---------------------------------------------------------------------------------------


def luhn(digits: str) -> bool:
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d // 10 + d % 10 for d in doubled) % 10 == 0


@given(st.text("0123456789", min_size=13, max_size=19))
def test_luhn_by_the_book(digits: str) -> None:
    visa = "4" + digits[1:16].ljust(15, "0")
    assert is_card_number(visa) == luhn(visa)


def holds_slowly(text: str) -> bool:
    """Try every substring that begins and ends beside no digit, letter or decimal part."""
    for start in range(len(text)):
        for stop in range(start + 13, min(start + 38, len(text)) + 1):
            part = text[start:stop]
            if (
                re.fullmatch(r"[0-9]+([ -]{1,3}[0-9]+)*", part)
                and not re.match(r"[0-9A-Za-z.]", text[start - 1 : start])
                and not re.match(r"[0-9A-Za-z]|\.0*[1-9]", text[stop:])
                and 13 <= len(re.sub("[ -]", "", part)) <= 19
                and is_card_number(re.sub("[ -]", "", part))
            ):
                return True
    return False


NOISE = st.text("0123456789 -.aZ/", max_size=8)
CARDISH = st.builds(
    lambda number, cuts, sign: "".join(d + (sign if i in cuts else "") for i, d in enumerate(number)),
    st.sampled_from(sorted(NUMBERS.values())),
    st.sets(st.integers(0, 17), max_size=4),
    st.sampled_from(["", " ", "-", "  ", ".", "a"]),
)


@given(NOISE, CARDISH, NOISE)
@example("", "4111111111111111", " 12")
@example("1-", "4111111111111111", ".00")
def test_finding_equals_the_slow_reference(before: str, middle: str, after: str) -> None:
    text = before + middle + after
    assert holds_card_number(text) == holds_slowly(text)


def slow_refusal(value: Any, exempt: bool = False) -> bool:
    """Search a decoded body without any trick."""
    if isinstance(value, dict):
        return any(
            holds_slowly(k) or slow_refusal(v, k.endswith(("phone", "imei", "hash", "time", "_at", "_ms")))
            for k, v in value.items()
        )
    if isinstance(value, list):
        return any(slow_refusal(v) for v in value)
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return not exempt and holds_slowly(str(value))


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


TEXTS = st.one_of(st.text(max_size=20), st.builds(lambda a, b, c: a + b + c, NOISE, CARDISH, NOISE))
CELLS = st.one_of(
    TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(),
    st.sampled_from([int(n) for n in NUMBERS.values()]), st.sampled_from([float(n) for n in NUMBERS.values()]),
)  # fmt: skip
KEYS = st.one_of(st.text("abc_", min_size=1, max_size=8), st.sampled_from(["phone", "sent_at", "a_ms", CARD_NUMBER]))


@settings(max_examples=300)
@given(st.dictionaries(KEYS, CELLS, max_size=4), TEXTS, st.booleans())
def test_the_quick_look_never_misses(custom: dict[str, Any], name: str, ascii_only: bool) -> None:
    whole = payment_json(custom=custom, customer={"id": "ann", "name": name, "phone": name})
    body = json.dumps(whole, ensure_ascii=ascii_only).encode("utf-8", "replace")
    try:
        decode_payment(body)
    except BadInput:  # Hypothesis likes lone surrogates
        return
    assert bool(refused_body(body)) == slow_refusal({**json.loads(body), "type": ""})


# --- where it hides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"custom": {"note": CARD_NUMBER}}, "$.custom.note"),
        ({"custom": {"n": int(CARD_NUMBER)}}, "$.custom.n"),
        ({"custom": {"n": float(CARD_NUMBER)}}, "$.custom.n"),
        ({"custom": {f"k {CARD_NUMBER}": 1}}, "$.custom"),
        ({"payment_id": CARD_NUMBER}, "$.payment_id"),
        ({"event_id": CARD_NUMBER}, "$.event_id"),
        ({"cart": [{"kind": "other"}, {"kind": "other", "sku": CARD_NUMBER}]}, "$.cart[1].sku"),
        ({"method": {"kind": "card", "fingerprint": "4111 1111 1111 1111"}}, "$.method.fingerprint"),
        ({"billing": {"line2": "no. 4111-1111-1111-1111!"}}, "$.billing.line2"),
    ],
)
def test_the_field_is_named_and_the_number_is_not(changes: dict[str, Any], field: str) -> None:
    assert refused(**changes) == field


@pytest.mark.parametrize(
    "number", ["4.111111111111111e15", "4111111111111111.0", "41111111111111110e-1", "4111111111111.111E+3"]
)
def test_a_number_in_exponent_form_is_found(number: str) -> None:
    body = json.dumps(payment_json(custom={"n": 1.5})).replace("1.5", number)
    assert refused_body(body.encode()) == "$.custom.n"


@pytest.mark.parametrize("place", ["customer", "custom", "key"])
def test_an_escaped_number_is_found(place: str) -> None:
    hiding: dict[str, Any] = {
        "customer": {"customer": {"id": "ann", "name": "HERE"}},
        "custom": {"custom": {"note": "HERE"}},
        "key": {"custom": {"HERE": 1}},
    }
    body = json.dumps(payment_json(**hiding[place])).replace("HERE", escaped(CARD_NUMBER))
    assert refused_body(body.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"customer": {"id": "ann", "phone": CARD_NUMBER}},
        {"cart": [{"kind": "prepaid_top_up", "phone": CARD_NUMBER}]},
        {
            "custom": {
                "imei": CARD_NUMBER,
                "device_hash": CARD_NUMBER,
                "login_time": CARD_NUMBER,
                "seen_at": CARD_NUMBER,
            }
        },
        {"custom": {"t_ms": int(CARD_NUMBER)}},
        {"method": {"kind": "card", "fingerprint": "tok_4111111111111111x", "bin": "411111", "last4": "1111"}},
        {"custom": {"lat": 4111111111111111.5}},
        {"ip": "41.111.111.111"},
    ],
)
def test_phones_imeis_times_hashes_and_parts_pass(changes: dict[str, Any]) -> None:
    assert refused(**changes) == ""


def test_the_number_twice_under_one_name_is_left_to_the_check_of_keys() -> None:
    body = json.dumps(payment_json(custom={"a": 1})).replace('"a": 1', f'"a": "{CARD_NUMBER}", "a": "x"').encode()
    assert refused_body(body) == ""
    assert CARD_NUMBER not in repr(decode_payment(body))


@pytest.mark.parametrize("field", ["checkpoint", "type", CARD_NUMBER])
def test_a_body_that_does_not_decode_does_not_repeat_the_number(field: str) -> None:
    with pytest.raises(BadInput) as error:
        decode_event(json.dumps(payment_json(**{field: CARD_NUMBER})).encode())
    said = (str(error.value), error.value.field, error.value.expected, error.value.got)
    assert CARD_NUMBER not in "".join(said)


def test_honest_16_digit_ids_pass_but_for_one_in_25() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{n:016d}" for n in rng.integers(0, 10**16, 20_000)]
    share = sum(map(holds_card_number, ids)) / len(ids)
    assert 0.01 < share < 1 / 25  # Luhn alone would refuse a tenth


def test_a_block_of_bodies_is_looked_through_at_once() -> None:
    bodies = [
        json.dumps(payment_json(ip=ip)).encode() for ip in ("192.0.2.1", CARD_NUMBER, "192.0.2.2", "４" * 16, "a")
    ]
    assert doubtful(bodies) == {1, 3}


def test_uuids_pass() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (100_000, 2), dtype=np.uint64).tolist()
    ids = (f"{a:016x}{b:016x}" for a, b in words)
    uuids = [f"{i[:8]}-{i[8:12]}-4{i[13:16]}-{'89ab'[int(i[16], 16) % 4]}{i[17:20]}-{i[20:]}" for i in ids]
    assert sum(map(holds_card_number, uuids)) < 10


@pytest.mark.parametrize("group", [b"4 ", b"50 ", b"4-", b"4111 1111 1111 1112 "])
def test_looking_takes_time_in_line_with_the_size(group: bytes) -> None:
    def seconds(size: int) -> float:
        body = group * (size // len(group))
        start = time.thread_time()
        find_card_number(body)
        return time.thread_time() - start

    assert min(seconds(80_000) for _ in range(3)) < 60 * min(seconds(8_000) for _ in range(5))


def test_every_foreign_digit_space_and_dash_begins_with_a_known_byte() -> None:
    chars = [chr(code) for code in range(0x80, 0x11_0000) if not 0xD800 <= code < 0xE000]
    odd = [c for c in chars if c.isdigit() or unicodedata.category(c) in ("Zs", "Pd")]
    assert {c.encode()[0] for c in odd} <= {*LEADS}
    assert all(holds_card_number(f"{c}111111111111111") for c in odd if c.isdigit() and unicodedata.digit(c) == 4)
