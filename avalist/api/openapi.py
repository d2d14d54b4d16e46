"""The OpenAPI 3.1 document, from the operations' table and the types: ``python -m avalist.api.openapi FILE``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from avalist import __version__
from avalist.api.errors import Problem, problem_of
from avalist.api.examples import PROBLEM
from avalist.api.operations import DECIDE, MOST_EVENTS, OPERATIONS, Operation
from avalist.api.version import CURRENT, DEPRECATED, KNOWN, VERSION_HEADER
from avalist.domain.errors import AvalistError
from avalist.domain.warnings import MEANINGS
from avalist.policy.economics import Policy

Json = dict[str, Any]

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_REF: Final = "#/components/schemas/{name}"
_STRING: Final[Json] = {"type": "string"}
_HEADERS: Final[Json] = {
    VERSION_HEADER: {"description": "The version of the contract that was spoken.", "schema": _STRING},
    "RateLimit-Policy": {"description": "The key's limit: `q` requests in `w` seconds.", "schema": _STRING},
    "RateLimit": {"description": "What is left of it: `r` requests, full again in `t` seconds.", "schema": _STRING},
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "`Bearer`: send a key.", "schema": _STRING},
    "Deprecation": {"description": "Since when the operation is discouraged (RFC 9745).", "schema": _STRING},
    "Sunset": {"description": "From when the operation may be gone (RFC 8594).", "schema": _STRING},
}
_BY_STATUS: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_SPARSE: Final = ("Facts", "Problem")
_ABOUT: Final = (
    "Decides, in real time, whether an online payment should be approved. Amounts are integers in minor units; times "
    "are ISO 8601 with a zone; unknown fields are refused; errors are RFC 9457 problem documents. Send an event again "
    "with the same `event_id` whenever in doubt: it counts once, and gets the first answer."
)


@cache
def document() -> Json:
    """Return the document as JSON values."""
    types = [op.request for op in OPERATIONS if op.request is not None]
    types += [kind for op in OPERATIONS for kind in _kinds(op)]
    types += [p.type for op in OPERATIONS for p in op.parameters]
    schemas, components = msgspec.json.schema_components([*types, Problem, Policy], ref_template=_REF)
    shown = iter(schemas)
    requests = {op.id: next(shown) for op in OPERATIONS if op.request is not None}
    answers = {op.id: _any_of([next(shown) for _ in _kinds(op)]) for op in OPERATIONS}
    parameters = {op.id: [next(shown) for _ in op.parameters] for op in OPERATIONS}
    requests[DECIDE.id] = _ref("DecisionRequest")
    requests["record_sessions"] = _batch(_ref("SessionRequest"))
    for op in OPERATIONS:
        if op.named:
            components[op.named] = {"title": op.named, **requests[op.id]}
            requests[op.id] = _batch(_ref(op.named)) if op.batch else _ref(op.named)
    _complete(components)
    paths: Json = {}
    for op in OPERATIONS:
        shape = _operation(op, requests.get(op.id), answers[op.id], parameters[op.id])
        paths.setdefault(op.path, {})[op.method.lower()] = shape
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Avalist", "version": CURRENT, "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}, "x-release": __version__,
        },
        "servers": [{"url": "http://127.0.0.1:8321", "description": "The default: loopback. Put TLS in front of it."}],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items())), "securitySchemes": _SECURITY, "headers": _HEADERS},
    }  # fmt: skip


def _batch(one: Json) -> Json:
    return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MOST_EVENTS}]}


def _kinds(op: Operation) -> tuple[Any, ...]:
    """Return the types that an operation answers with; none where it answers with text."""
    if isinstance(op.answer, str):
        return ()
    return op.answer if isinstance(op.answer, tuple) else (op.answer,)


def _any_of(schemas: list[Json]) -> Json | None:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else None


_SECURITY: Final[Json] = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key from `avalist merchant key`."},
    "admin": {"type": "http", "scheme": "bearer", "description": "The admin token of the data folder."},
    "metrics": {"type": "http", "scheme": "bearer", "description": "The metrics token of the data folder."},
}


def _complete(components: Json) -> None:
    """Mend what the types cannot say."""
    payment = components["Payment"]
    required = [name for name in payment["required"] if name != "type"]
    components["DecisionRequest"] = {**payment, "title": "DecisionRequest", "required": required}
    session = components["SessionClosed"]
    required = [*(name for name in session["required"] if name != "type"), "session"]
    components["SessionRequest"] = {**session, "title": "SessionRequest", "required": required}
    components["SetPolicy"]["properties"]["policy"] = _ref("Policy")
    components["Problem"]["examples"] = [PROBLEM]
    codes = [f"- `{code}`{f' ({field})' if field else ''}: {says}" for code, (field, says) in MEANINGS.items()]
    components["WarningCode"]["description"] = "\n".join(["More codes may come.", "", *codes])
    components["WarningCode"]["x-open"] = True
    for name, schema in components.items():
        if "properties" in schema and "additionalProperties" not in schema and name not in _SPARSE:
            schema["required"] = [*schema["properties"]]  # answers are whole, defaults included
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])


def _operation(op: Operation, request: Json | None, answer: Json | None, parameters: list[Json]) -> Json:
    shape: Json = {
        "operationId": op.id,
        "summary": op.summary,
        "security": [] if op.access == "public" else [{"key" if op.scope else op.access: []}],
        "parameters": [
            *(
                {
                    "name": p.name, "in": p.place, "required": p.place == "path", "description": p.description,
                    "schema": schema, "example": p.example,
                }
                for p, schema in zip(op.parameters, parameters, strict=True)
            ),
            _VERSION,
        ],
        "responses": {"200": _answer(op, answer), **_problems(op)},
    }  # fmt: skip
    if op.scope:
        shape["x-scope"] = op.scope
    if op.id in DEPRECATED:
        shape["deprecated"] = True
    if request is not None:
        content = {"schema": request, "examples": _examples(op.requests)}
        shape["requestBody"] = {"required": True, "content": {_JSON: content}}
    return shape


_VERSION: Final[Json] = {
    "name": VERSION_HEADER, "in": "header", "required": False, "schema": {"type": "string", "enum": [*KNOWN]},
    "description": "Pins a version of the contract; without it the current one is spoken.", "example": CURRENT,
}  # fmt: skip


def _answer(op: Operation, schema: Json | None) -> Json:
    names = [VERSION_HEADER, *(["RateLimit-Policy", "RateLimit"] if op.scope else [])]
    names += ["Deprecation", "Sunset"] if op.id in DEPRECATED else []
    if schema is None:
        content: Json = {op.answer.partition(";")[0]: {"schema": {} if op.answer == _JSON else _STRING}}
    else:
        content = {_JSON: {"schema": schema, "examples": _examples(op.answers)}}
    return {"description": op.summary, "headers": _headers(*names), "content": content}


def _problems(op: Operation) -> Json:
    by_status: dict[int, list[str]] = {}
    for kind in op.problems:
        for status in statuses(kind):
            by_status.setdefault(status, []).append(problem_of(kind("")).type.partition("#")[2])
    return {
        str(status): {
            "description": "A problem: " + ", ".join(f"`{name}`" for name in sorted(set(names))),
            "headers": _headers(VERSION_HEADER, *_BY_STATUS.get(status, ())),
            "content": {_PROBLEM: {"schema": _ref("Problem")}},
        }
        for status, names in sorted(by_status.items())
    }


def statuses(kind: type[AvalistError]) -> set[int]:
    """Return the statuses that an error may have; a body that is no JSON at all is 400."""
    status = problem_of(kind("")).status
    return {status, 400} if kind.__name__ == "BadInput" else {status}


def _examples(named: Mapping[str, object]) -> Json:
    return {name: {"value": value} for name, value in named.items()}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


@cache
def rendered() -> bytes:
    """Return the document as it is served and checked in."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1) + b"\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(rendered())
