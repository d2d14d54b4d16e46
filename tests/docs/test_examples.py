"""Examples work: JSON and TOML decode as what they are, commands and addresses exist. Python and TypeScript run in
``tests/integration/test_client_examples.py``.
"""

import re
import shlex
from typing import Any

import msgspec
import pytest

from avalist.api.errors import Problem
from avalist.api.wire import Recorded
from avalist.app.administer import decode_request
from avalist.app.lookup import Lookup
from avalist.app.stored import StoredDecision
from avalist.domain.decisions import Decision
from avalist.domain.events import decode_event, decode_payment
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.features.derive import derive
from avalist.features.own import decode_own, with_own
from avalist.history.mapping import decode_mapping
from avalist.policy.economics import decode_policy
from tests.docs.pages import ROOT, Block, blocks, headings, read
from tests.docs.test_reference import COMMANDS, options

SHELL = blocks("bash")
STRUCTS: dict[str, Any] = {"recorded": Recorded, "decision": StoredDecision, "title": Problem, "action": Decision}
ENDPOINTS = {h.split()[1] for h in headings(read("docs/reference/api.md")) if h.startswith(("GET /", "POST /"))}


def check_json(text: str) -> None:
    """Decode an example as the type that its fields tell."""
    fields = msgspec.json.decode(text)
    for mark, struct in STRUCTS.items():
        if mark in fields:
            msgspec.convert(fields, struct, strict=True)
            assert set(fields) <= set(struct.__struct_fields__)
            return
    body = text.encode()
    if "by" in fields:
        msgspec.convert(fields, Lookup)
    elif "do" in fields:
        decode_request(body)
    elif "base_currency" in fields:
        msgspec.json.decode(body, type=Schema).check()
    elif "margin" in fields:
        decode_policy(body)
    elif "type" in fields:
        decode_event(body)
    else:
        decode_payment(body)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_decodes(block: Block) -> None:
    check_json(block.text)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_a_mapping_or_features(block: Block) -> None:
    if "[[feature]]" in block.text:
        with_own(DIGITAL_GOODS, derive(DIGITAL_GOODS), decode_own(block.text))
    else:
        decode_mapping(block.text).merchant_schema()


@pytest.mark.parametrize("path", sorted((ROOT / "docs/mappings").glob("*.toml")), ids=lambda path: path.name)
def test_shipped_mappings_decode(path: Any) -> None:
    decode_mapping(path.read_text()).merchant_schema()


def test_the_handbook_example_is_the_shipped_mapping() -> None:
    shown = next(b.text for b in blocks("toml") if "TX_DATETIME" in b.text)
    assert decode_mapping(shown) == decode_mapping(read("docs/mappings/handbook.toml"))


def command_lines() -> list[tuple[str, list[str]]]:
    lines = [(str(b), line) for b in SHELL for line in b.text.replace("\\\n", "").splitlines()]
    split = [(where, shlex.split(line, comments=True)) for where, line in lines if re.match(r"avalist ", line)]
    return [(where, words) for where, words in split if words]


def test_commands_in_examples_exist() -> None:
    assert len(command_lines()) > 5
    for where, words in command_lines():
        name = " ".join(words[:3] if words[1] in ("merchant", "policy", "features", "reviews") else words[:2])
        assert name in COMMANDS, where
        given = {word for word in words if word.startswith("--")}
        assert given <= options(COMMANDS[name]), where


def test_addresses_in_examples_exist() -> None:
    called = [path for b in SHELL for path in re.findall(r"http://127\.0\.0\.1:8321(/\S+)", b.text)]
    assert len(called) > 2
    assert set(called) <= ENDPOINTS


@pytest.mark.parametrize("block", [b for b in SHELL if "curl" in b.text and " -d '" in b.text], ids=str)
def test_bodies_of_curl_decode(block: Block) -> None:
    found = re.search(r" -d '(.*?)'\n", block.text, re.DOTALL)
    assert found
    sent = msgspec.json.decode(found.group(1))
    for body in sent if isinstance(sent, list) else [sent]:
        check_json(msgspec.json.encode(body).decode())
