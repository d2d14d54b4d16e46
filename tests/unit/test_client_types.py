"""The clients keep to the contract: types are fresh, versions agree, nothing of the server is imported."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import avalist_client
from avalist.api.version import CURRENT
from avalist.domain.cards import holds_card_number
from avalist.domain.cards import is_card_number as is_card_number_of_the_service
from avalist_client.cards import is_card_number, refuse_card_numbers
from avalist_client.protocol import _OUTCOMES
from sdk.generate import DOCUMENT, ROOT, TARGET, render

PACKAGE = TARGET.parent


def test_types_are_those_of_the_document() -> None:
    assert render(json.loads(DOCUMENT.read_text())) == TARGET.read_text(), "stale: make sdk"


def test_versions_agree() -> None:
    transport = (ROOT / "sdk/typescript/src/transport.ts").read_text()
    package = json.loads((ROOT / "sdk/typescript/package.json").read_text())
    shown = re.search(r'VERSION = "(.*)";\nexport const CONTRACT = "(.*)"', transport)
    assert shown
    assert avalist_client.CONTRACT == shown[2] == CURRENT
    assert avalist_client.VERSION == shown[1] == package["version"]


def test_outcomes_are_those_of_the_document() -> None:
    document = json.loads(DOCUMENT.read_text())
    assert set(document["components"]["schemas"]["AnyOutcome"]["discriminator"]["mapping"]) == _OUTCOMES


def test_it_imports_only_what_it_declares() -> None:
    declared = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    allowed = {re.split(r"[<>=]", name)[0] for name in declared} | {"avalist_client"} | sys.stdlib_module_names
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, file.name


SEPARATED = st.text("0123456789 -.x", min_size=10, max_size=30)
CARDS = st.sampled_from(["4111111111111111", "378282246310005", "5500 0000 0000 0004", "6011-0009-9013-9424"])


@given(st.one_of(SEPARATED, st.tuples(SEPARATED, CARDS, SEPARATED).map("".join), CARDS))
def test_it_refuses_no_text_that_the_service_takes(text: str) -> None:
    try:
        refuse_card_numbers(json.dumps({"custom": {"note": text}}).encode())
    except avalist_client.CardNumberRefused:
        assert holds_card_number(text)


@pytest.mark.parametrize("number", ["4111111111111111", "378282246310005", "5500000000000004", "6011000990139424"])
def test_cards_of_the_large_schemes_are_known(number: str) -> None:
    assert is_card_number(number)
    assert is_card_number_of_the_service(number)
    with pytest.raises(avalist_client.CardNumberRefused):
        refuse_card_numbers(json.dumps({"a": [{"b": number}]}).encode())


@pytest.mark.parametrize("field", ["phone", "created_at", "card_hash"])
def test_phones_times_and_hashes_are_exempt(field: str) -> None:
    refuse_card_numbers(json.dumps({field: "4111111111111111"}).encode())
