"""Warnings of the data: what the plan would use and is not there, and what cannot be right."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.app.replay import replay
from avalist.domain.decisions import WarningCode
from avalist.domain.schema import DIGITAL_GOODS
from avalist.domain.warnings import FEWEST_PAYMENTS, MEANINGS
from avalist.enrich.quality import is_public
from tests.shop import DAY_MS, T0_MS, Shop, iso

WHOLE: dict[str, Any] = {
    "ip": "8.8.4.4", "device": {"id": "d1", "user_agent": "x"}, "billing": {"country": "DE"}, "payee": {"id": "bob"},
    "customer": {"id": "ann", "email": "a@x.io", "created_at": iso(T0_MS)}, "cart": [{"kind": "other", "sku": "s"}],
    "session": {"duration_ms": 1, "pages": 1, "key_presses": 1, "pointer_moves": 1, "pastes": 0},
    "custom": {"lat": 1.5},
}  # fmt: skip
ANN = WHOLE["customer"]
KNOWN = {"created_at": ANN["created_at"]}


@pytest.fixture
def goods(shop: Shop) -> Shop:
    shop.create("goods", DIGITAL_GOODS)
    return shop


def warned(shop: Shop, n: int = 1, merchant: str = "goods", **changes: Any) -> list[str]:
    """Return the warnings of a payment; without a model each answer says so first."""
    first, *rest = shop.decide(n, merchant, **{**WHOLE, **changes}).decision.warnings
    assert first == "no_active_model"
    return [str(code) for code in rest]


def test_a_whole_payment_warns_of_nothing(goods: Shop) -> None:
    assert warned(goods) == []


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"customer": None}, ["customer_missing", "email_missing", "fields_missing"]),
        ({"customer": {"id": "ann", **KNOWN}}, ["email_missing"]),
        ({"customer": {"email": "a@x.io", **KNOWN}}, []),
        ({"customer": {"phone": "5", **KNOWN}}, ["customer_missing", "email_missing"]),
        ({"customer": {**ANN, "email": "ann"}}, ["email_malformed"]),
        ({"method": None}, ["method_missing", "fields_missing"]),
        ({"method": {"kind": "card", "fingerprint": "c"}}, ["bin_missing"]),
        ({"method": {"kind": "wallet", "provider": "w", "account": "a"}}, []),
        ({"device": None}, ["device_missing"]),
        ({"device": {"user_agent": "x"}}, ["device_missing"]),
        ({"ip": None}, ["ip_missing"]),
        ({"ip": "10.1.2.3"}, ["ip_not_public"]),
        ({"ip": "::1"}, ["ip_not_public"]),
        ({"ip": "2a00:1450:4001::1"}, []),
        ({"customer": {**ANN, "created_at": iso(T0_MS + 300_001)}}, ["created_after_occurred"]),
        ({"occurred_at": iso(T0_MS + 300_001)}, ["occurred_in_future"]),
        ({"occurred_at": iso(T0_MS + 300_000)}, []),
        ({"occurred_at": iso(T0_MS - DAY_MS - 1), "customer": {**ANN, "created_at": iso(0)}}, ["occurred_long_ago"]),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(goods: Shop, changes: dict[str, Any], codes: list[str]) -> None:
    assert warned(goods, **changes) == codes


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, ()),
        ({"custom": None}, ("custom.lat",)),
        ({"custom": {"lat": None, "other": 1}, "billing": {"city": "x"}}, ("custom.lat", "billing.country")),
        ({"custom": {"lat": 0}, "billing": {"country": ""}}, ("billing.country",)),
    ],
)
def test_what_the_schema_declares_and_a_payment_lacks_is_named(
    shop: Shop, changes: dict[str, Any], missing: tuple[str, ...]
) -> None:
    decision = shop.decide(1, **{**WHOLE, **changes}).decision
    assert decision.missing == missing
    assert ("fields_missing" in decision.warnings) == bool(missing)


def test_what_is_missing_is_the_same_when_there_is_a_model_and_in_replay(shop: Shop) -> None:
    core = shop.decide(1, **{**WHOLE, "custom": None}).decision
    found = replay(shop.installation.log, shop.installation.load_model)
    assert (core.missing, found.different) == (("custom.lat",), 0)


def test_what_the_schema_does_not_use_is_not_missed(shop: Shop) -> None:
    assert warned(shop, merchant="shop", customer={"id": "ann"}, device=None, payee=None) == []


def test_the_past_of_a_merchant_makes_amounts_and_currencies_odd(shop: Shop) -> None:
    for n in range(FEWEST_PAYMENTS - 1):
        shop.decide(n, **WHOLE)
    odd: dict[str, Any] = {"amount_minor": 10**8, "currency": "JPY", "merchant": "shop"}
    assert warned(shop, -1, amount_minor=2500, merchant="shop") == []
    assert warned(shop, -2, **odd) == ["currency_new", "amount_unusual"]
    assert warned(shop, -3, **odd) == []


def test_warnings_are_the_same_after_a_restart_and_in_replay(shop: Shop) -> None:
    for n in range(FEWEST_PAYMENTS + 3):
        shop.decide(n, amount_minor=100 * 11 ** max(n - FEWEST_PAYMENTS, 0), ip="10.0.0.1")
    result = replay(shop.installation.log, shop.installation.load_model)
    assert (result.decisions, result.different) == (FEWEST_PAYMENTS + 3, 0)


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(WarningCode)


@given(st.ip_addresses())
def test_a_public_address_is_one_that_the_registries_call_global(ip: IPv4Address | IPv6Address) -> None:
    assert is_public(str(ip)) == ip.is_global
