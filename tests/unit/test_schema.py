"""What a merchant may declare; whatever is refused names its field, whatever passes compiles and decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.domain.errors import BadInput
from avalist.domain.events import bad_body
from avalist.domain.row import unpack_row
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.enrich.intake import Intake
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from tests.shop import payment

BASE: dict[str, Any] = {
    "base_currency": "EUR",
    "entities": [{"name": "account", "source": "customer.id"}, {"name": "ip", "source": "ip"}],
}


def schema(**changes: Any) -> Schema:
    try:
        return msgspec.json.decode(msgspec.json.encode({**BASE, **changes}), type=Schema).check()
    except msgspec.ValidationError as error:
        raise bad_body(error) from None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_currency": "XXX"}, "$.currency"),
        ({"entities": []}, "$.entities"),
        ({"entities": BASE["entities"] * 2}, "$.entities"),
        ({"entities": [{"name": "Account", "source": "ip"}]}, "$.entities[0].name"),
        ({"numbers": [{"name": "ip", "source": "items"}]}, "$.entities"),
        ({"numbers": [{"name": "n", "source": "items", "decimals": 7}]}, "$.numbers[0].decimals"),
        ({"pairs": [["account", "card"]]}, "$.pairs"),
        ({"distinct": [["card", "account"]]}, "$.pairs"),
        ({"windows_s": []}, "$.windows_s"),
        ({"windows_s": [600, 3600]}, "$.windows_s"),
        ({"windows_s": [600, 600, 3600]}, "$.windows_s"),
        ({"windows_s": [3600, 600, 86400]}, "$.windows_s"),
        ({"windows_s": [59, 600, 3600]}, "$.windows_s"),
        ({"windows_s": [60, 600, 401 * 86400]}, "$.windows_s"),
        ({"rate_windows_d": [0]}, "$.rate_windows_d"),
        ({"rate_windows_d": [7, 7]}, "$.rate_windows_d"),
        ({"rate_windows_d": [390], "label_delay_d": 14}, "$.windows_s"),
        ({"label_delay_d": -1}, "$.label_delay_d"),
        ({"report_delay_d": [0, 0]}, "$.report_delay_d"),
        ({"report_delay_d": [25, 10]}, "$.report_delay_d"),
        ({"memory_d": 0}, "$.memory_d"),
        ({"rates": {"USD": 0}}, "$.rates.USD"),
        ({"rates": {"USD": 1e300}}, "$.rates.USD"),
        ({"rates": {"XYZ": 1.0}}, "$.currency"),
        ({"capture": "never"}, "$.capture"),
        ({"colour": "red"}, "$.colour"),
        ({"rate_windows_d": (10**400,)}, "$.rate_windows_d"),
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        schema(**changes)
    assert refused.value.field == field


def test_nan_is_no_rate() -> None:
    with pytest.raises(BadInput):
        msgspec.structs.replace(DIGITAL_GOODS, rates={"USD": float("nan")}).check()


@pytest.mark.parametrize(
    "source", ["", "customer", "customer.", "customer.__class__", "method.bin", "custom.", "nothing", "cart.sku"]
)
def test_a_source_that_cannot_exist_is_refused(source: str) -> None:
    declared = schema(entities=[{"name": "x", "source": source}])
    with pytest.raises(BadInput) as refused:
        Intake(declared, b"k" * 32).payment(payment())
    assert (refused.value.field, refused.value.got) == ("$.entities.source", source)


NAMES = st.sampled_from(["account", "card", "merchant", "amount", "hour", "items"])
WINDOWS = st.lists(st.integers(60, 10**7), min_size=3, max_size=6, unique=True).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=3),
    st.lists(NAMES, max_size=2),
    WINDOWS,
    st.lists(st.integers(1, 90), max_size=3),
)
def test_a_schema_that_passes_compiles(
    entities: list[str], numbers: list[str], windows: list[int], days: list[int]
) -> None:
    try:
        declared = schema(
            entities=[{"name": n, "source": "customer.id"} for n in entities],
            numbers=[{"name": n, "source": "items"} for n in numbers],
            windows_s=windows,
            rate_windows_d=days,
        )
        plan = compile_plan(declared, derive(declared))
    except BadInput:
        return
    words = unpack_row(Intake(declared, b"k" * 32).payment(payment())[0])
    assert len(words) == plan.width
    assert len(set(plan.columns)) == len(plan.columns)


def test_where_many_pay_the_size_of_known_frauds_is_told() -> None:
    places = [{"name": "till", "source": "custom.till"}, {"name": "shop", "source": "payee.id"}]
    told = [f.entity for f in derive(schema(entities=[*BASE["entities"], *places])) if f.aggregate == "fraud_mean"]
    assert told == ["till", "shop"]


def test_the_default_schema_makes_sense() -> None:
    assert DIGITAL_GOODS.check() is DIGITAL_GOODS


def test_what_an_account_brings_along_is_set_against_its_life() -> None:
    over = {feature.name: feature.over for feature in derive(DIGITAL_GOODS)}
    assert over["account__since_first_over_age"] == ("account__since_first", "account_age_s")
    for thing in ("card", "device", "ip", "ip24", "email", "payee"):
        since = f"account+{thing}__since_first"
        assert over[f"{since}_over_account"] == (since, "account__since_first")


def test_a_schema_without_accounts_has_no_lives() -> None:
    cards = schema(entities=[{"name": "card", "source": "method.fingerprint"}, {"name": "ip", "source": "ip"}])
    assert not [feature.name for feature in derive(cards) if "_over_account" in feature.name]
