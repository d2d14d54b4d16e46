"""Any JSON value grafted anywhere into a good payment: it is accepted, or refused with a field named."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import count
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from avalist.api.scan import check_body
from avalist.domain.errors import BadInput, Conflict, NotFound
from avalist.domain.events import decode_payment
from tests.fuzz.decoders import check
from tests.shop import CARD_NUMBER, Shop, payment_json

GOOD = payment_json(
    cart=[{"kind": "gift_card", "brand": "b", "face_value_minor": 5, "quantity": 2}], device={"id": "d", "screen": "1"},
    custom={"lat": 1.5, "note": "x"}, billing={"country": "DE"}, session={"duration_ms": 5}, payee={"id": "q"},
    sent_at="2026-01-01T00:00:00Z", checkpoint="pre_auth",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


def graft(path: tuple[Any, ...], value: Any) -> Any:
    whole: Any = {"": deepcopy(GOOD)}
    holder = whole
    for key in ("", *path)[:-1]:
        holder = holder[key]
    holder[("", *path)[-1]] = value
    return whole[""]


ODD = st.sampled_from(
    [
        2**63,
        2**64,
        -(2**63) - 1,
        10**400,
        1e308,
        5e-324,
        -0.0,
        CARD_NUMBER,
        int(CARD_NUMBER),
        float(CARD_NUMBER),
        "",
        "\x00",
        "\U0010ffff",
        "x" * 600,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1",
        "1e5",
    ]
)
NEW_KEYS = st.text(max_size=70) | st.sampled_from(["custom", "received_at", "captured", "kind", CARD_NUMBER])
LEAVES = ODD | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NEW_KEYS, inner, max_size=4), max_leaves=8
)
GRAFTS = st.tuples(st.sampled_from(places(GOOD)), st.none() | NEW_KEYS).map(
    lambda drawn: drawn[0] if drawn[1] is None or not isinstance(at(drawn[0]), dict) else (*drawn[0], drawn[1])
)


def at(path: tuple[Any, ...]) -> Any:
    value: Any = GOOD
    for key in path:
        value = value[key]
    return value


@settings(max_examples=400)
@given(GRAFTS, VALUES, st.booleans())
def test_a_graft_is_decoded_or_refused(path: tuple[Any, ...], value: Any, ascii_only: bool) -> None:
    body = json.dumps(graft(path, value), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for target in (0, 1):
        check(bytes([target]) + body)


def _check_refusal(error: BadInput | Conflict | NotFound) -> None:
    assert not isinstance(error, BadInput) or error.field


def test_a_graft_is_decided_or_leaves_the_writer_as_it_was(shop: Shop) -> None:
    merchant, numbers = shop.writer.merchant("shop"), count()

    @settings(max_examples=150)
    @given(GRAFTS, VALUES)
    @example(("amount_minor",), 5)  # for it may be that none that is drawn is good
    def decide(path: tuple[Any, ...], value: Any) -> None:
        whole, n = graft(path, value), next(numbers)
        for name in {"event_id", "payment_id"} - {*path} if isinstance(whole, dict) and path else ():
            whole[name] = f"{name}{n}"
        body, before = json.dumps(whole).encode(), (merchant.seq, shop.installation.log.end)
        try:
            event = decode_payment(body)
            check_body(body, event)
            shop.writer.decide("shop", event, shop.clock.ms)
        except (BadInput, Conflict, NotFound) as error:
            _check_refusal(error)
            assert (merchant.seq, shop.installation.log.end) == before

    decide()
    assert merchant.seq > 1
