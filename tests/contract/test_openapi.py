"""The OpenAPI document is fresh, true and stable: what it promises is kept, and what was promised is not broken."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from avalist.api.openapi import document, rendered
from avalist.api.operations import OPERATIONS, Operation
from avalist.api.version import CURRENT, KNOWN
from avalist.app.administer import decode_request, decode_tables
from avalist.app.webhook_office import decode_webhook_request
from avalist.domain.decisions import Decision, WarningCode
from avalist.domain.events import decode_event, decode_payment, decode_session
from avalist.domain.keys import ALL_SCOPES
from avalist.domain.schema import DIGITAL_GOODS
from tests.contract.breaking import Json, breaking
from tests.gateway import Gateway

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "docs/reference/openapi.json"
PROMISED = ROOT / f"tests/golden/openapi/{CURRENT}.json"


def test_the_checked_in_document_is_the_codes() -> None:
    assert CHECKED_IN.read_bytes() == rendered(), "run: make openapi"


def test_it_is_served(gateway: Gateway) -> None:
    answer = gateway.run(gateway.client.get("/openapi.json"))
    assert (answer.headers["content-type"], answer.content) == ("application/json", rendered())


def test_nothing_that_this_version_promised_is_broken() -> None:
    broken = breaking(json.loads(PROMISED.read_bytes()), document())
    assert not broken, "a breaking change needs a new version: see docs/reference/api.md#versions"


def test_every_version_has_its_promise() -> None:
    assert {path.stem for path in PROMISED.parent.glob("*.json")} == set(KNOWN)


def test_every_reference_resolves_and_every_operation_tells_all_it_answers() -> None:
    whole = document()
    for reference in set(_references(whole)):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in whole["components"][kind], reference
    for operation in (op for path in whole["paths"].values() for op in path.values()):
        assert {"200", "400"} <= set(operation["responses"])
        assert ("401" in operation["responses"]) == bool(operation["security"])


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [r for inner in value.values() for r in _references(inner)]
    return [r for inner in value for r in _references(inner)] if isinstance(value, list) else []


# --- breaking changes are seen ---------------------------------------------------------------------------------------

DECIDE = ("paths", "/v1/decisions", "post")
SCHEMAS = ("components", "schemas")
CHANGES: list[tuple[str, tuple[str, ...], Any]] = [
    ("GET /healthz: removed", ("paths", "/healthz"), None),
    ("POST /v1/decisions: needs another scope", (*DECIDE, "x-scope"), "events:write"),
    ("POST /v1/decisions: status 409 removed", (*DECIDE, "responses", "409"), None),
    ("POST /v1/decisions request.ip: removed", (*SCHEMAS, "DecisionRequest", "properties", "ip"), None),
    ("request.customer(Customer).email(string): maxLength is 9, was 512",
     (*SCHEMAS, "Customer", "properties", "email", "anyOf"), [{"type": "string", "maxLength": 9}, {"type": "null"}]),
    ("request.customer(Customer).email: null no longer taken",
     (*SCHEMAS, "Customer", "properties", "email"), {"type": "string", "maxLength": 512}),
    ("request.customer(Customer).email: is required", (*SCHEMAS, "Customer", "required"), ["email"]),
    ("request.checkpoint: 'rescore' no longer taken",
     (*SCHEMAS, "DecisionRequest", "properties", "checkpoint", "enum"), ["post_auth", "pre_auth"]),
    ("request.amount_minor: integer no longer taken",
     (*SCHEMAS, "DecisionRequest", "properties", "amount_minor", "type"), "string"),
    ("POST /v1/decisions 200.action: 'hold' may come now",
     (*SCHEMAS, "Action", "enum"), ["approve", "challenge", "decline", "hold", "not_reviewed", "review"]),
    ("POST /v1/decisions 200.seq: may be absent", (*SCHEMAS, "Decision", "required"), ["payment_id", "action"]),
    ("POST /v1/decisions 200.durable: removed", (*SCHEMAS, "Decision", "properties", "durable"), None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "path", "value"), CHANGES, ids=[said for said, *_ in CHANGES])
def test_a_breaking_change_is_seen(said: str, path: tuple[str, ...], value: Any) -> None:
    assert any(said in one for one in breaking(document(), changed(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*SCHEMAS, "Customer", "properties", "nickname"), {"type": "string"}),
        ((*SCHEMAS, "Decision", "properties", "advice"), {"type": "string"}),
        ((*SCHEMAS, "Customer", "properties", "email", "anyOf"), [{"type": "string"}, {"type": "null"}]),
        ((*SCHEMAS, "WarningCode", "enum"), [*WarningCode, "moon_full"]),
        (("paths", "/v1/new"), {"get": {}}),
        ((*DECIDE, "responses", "418"), {}),
    ],
)
def test_what_only_adds_breaks_nothing(path: tuple[str, ...], value: Any) -> None:
    assert breaking(document(), changed(path, value)) == []


def changed(path: tuple[str, ...], value: Any) -> Json:
    """Return the document with a value in another place; None removes it."""
    whole = copy.deepcopy(document())
    place = whole
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return whole


# --- examples --------------------------------------------------------------------------------------------------------

REQUESTS = [(op, name) for op in OPERATIONS for name in op.requests]
ANSWERS = [(op, name) for op in OPERATIONS for name in op.answers]


@pytest.mark.parametrize(("op", "name"), REQUESTS, ids=[f"{op.id}-{name}" for op, name in REQUESTS])
def test_an_example_of_a_request_decodes(op: Operation, name: str) -> None:
    decode: Any = {
        "decide": decode_payment,
        "record_sessions": decode_session,
        "administer": decode_request,
        "set_tables": decode_tables,
        "administer_webhooks": decode_webhook_request,
    }.get(op.id, decode_event)
    example = op.requests[name]
    if op.id == "look_up":
        msgspec.convert(example, op.request)
        return
    for body in example if isinstance(example, list) else [example]:
        decode(msgspec.json.encode(body))


@pytest.mark.parametrize(("op", "name"), ANSWERS, ids=[f"{op.id}-{name}" for op, name in ANSWERS])
def test_an_example_of_an_answer_decodes_and_is_whole(op: Operation, name: str) -> None:
    example: Any = op.answers[name]
    kinds = op.answer if isinstance(op.answer, tuple) else (op.answer,)
    assert any(set(example) <= set(kind.__struct_fields__) and _decodes(example, kind) for kind in kinds)
    if op.answer is Decision:
        assert set(example) == set(Decision.__struct_fields__)


def _decodes(example: Any, kind: Any) -> bool:
    msgspec.json.decode(msgspec.json.encode(example), type=kind)
    return True


def test_examples_are_answered_as_they_say(gateway: Gateway) -> None:
    gateway.shop.create("goods", DIGITAL_GOODS)
    key = gateway.shop.key("goods", "sandbox")
    for op in OPERATIONS:
        if op.scope and op.method == "POST":
            for name, body in op.requests.items():
                answer = gateway.post(op.path, body, key=key)
                assert answer.status_code == 200, (op.id, name, answer.text)
                assert answer.json().get("errors", []) == []
                assert set(required(op)) <= set(answer.json())


def required(op: Operation) -> list[str]:
    """Return the fields that an operation's answer always has."""
    schema = document()["paths"][op.path][op.method.lower()]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    fields: list[str] = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["required"]
    return fields


def test_answers_promise_all_their_fields_and_requests_only_what_they_need() -> None:
    schemas = document()["components"]["schemas"]
    assert set(schemas["Decision"]["required"]) == set(Decision.__struct_fields__)
    assert schemas["Customer"].get("required", []) == []
    assert schemas["Payee"]["required"] == ["id"]
    assert set(schemas["Problem"]["required"]) == {"type", "title", "status", "detail"}


# --- the table is what is served -------------------------------------------------------------------------------------


def test_every_scope_is_needed_somewhere() -> None:
    assert {op.scope for op in OPERATIONS if op.scope} == set(ALL_SCOPES)


@pytest.mark.parametrize("op", OPERATIONS, ids=[op.id for op in OPERATIONS])
def test_every_operation_is_there_and_guarded(gateway: Gateway, op: Operation) -> None:
    answer = gateway.run(gateway.client.request(op.method, op.path.replace("{payment_id}", "p1"), content=b"{}"))
    assert answer.status_code == (200 if op.access == "public" else 401)
    assert answer.headers["avalist-version"] == CURRENT
