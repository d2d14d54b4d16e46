"""Write the Python client's types from the OpenAPI document: ``python sdk/generate.py``.

What a caller sends becomes a ``TypedDict``, so that a payment is written as a plain dict and checked all the same; what
the service answers becomes a frozen ``msgspec.Struct``. `event_id` and `occurred_at` may be left out of what is sent:
the client fills them in. Types of no operation of the client are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/reference/openapi.json"
TARGET = ROOT / "sdk/python/avalist_client/types.py"

_OPERATIONS = ("decide", "get_decision", "look_up", "record_events", "record_outcomes")
_FILLED_IN = {"event_id", "occurred_at"}
_NAMES = {"boolean": "bool", "integer": "int", "number": "float", "null": "None"}
_NAMED = {"AnyEvent": "Event", "AnyOutcome": "Outcome"}
_HEAD = '''"""What is sent and what is answered. Written by ``sdk/generate.py`` from the OpenAPI document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

import msgspec
'''

Schema = dict[str, Any]


def render(document: Schema) -> str:
    """Return the module's text, formatted."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    sent, answered = (reached(schemas, list(bodies(document, part))) for part in ("requestBody", "responses"))
    assert not {name for name in sent & answered if "properties" in schemas[name]}, "sent and answered alike"
    structs = [struct(name, schemas) for name in in_order(schemas, answered)]
    text = (
        _HEAD + "\n" + "\n\n".join([*structs, *[typed_dict(name, schemas[name]) for name in in_order(schemas, sent)]])
    )
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def bodies(document: Schema, part: str) -> Iterator[Schema]:
    """Yield the schemas of the requests, or of the answers, of the client's operations."""
    for operation in (op for path in document["paths"].values() for op in path.values()):
        if operation["operationId"] in _OPERATIONS and part in operation:
            messages = [operation[part]] if part == "requestBody" else operation[part].values()
            yield from (media["schema"] for message in messages for media in message["content"].values())


def reached(schemas: dict[str, Schema], roots: list[Schema]) -> set[str]:
    """Return the names of all schemas that the roots need."""
    names: set[str] = set()
    waiting = list(roots)
    while waiting:
        fresh = references(waiting.pop()) - names
        names |= fresh
        waiting += [schemas[name] for name in fresh]
    return names


def references(schema: object) -> set[str]:
    """Return the names that a schema refers to directly."""
    if isinstance(schema, dict):
        found = [references(part) for key, part in schema.items() if key != "discriminator"]
        own = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return own.union(*found)
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def in_order(schemas: dict[str, Schema], names: set[str]) -> list[str]:
    """Return names so that each stands after those it needs."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for needed in sorted(references(schemas[name])):
                visit(needed)
            ordered.append(name)

    for name in sorted(names):
        visit(name)
    return ordered


def alias(name: str, schema: Schema) -> str:
    """Return a type that is no object: a choice of words or of types."""
    return f"{_NAMED.get(name, name)}: TypeAlias = {expression(schema)}\n"


def struct(name: str, schemas: dict[str, Schema]) -> str:
    """Return what the service answers."""
    schema = schemas[name]
    if "properties" not in schema:
        return alias(name, schema)
    lines = [f"class {name}(msgspec.Struct, frozen=True, kw_only=True):", docstring(schema)]
    for field, kind in schema["properties"].items():
        shown = expression(kind, answered=True)
        filled = field not in schema["required"] or "default" in kind  # an older service may not send it
        lines.append(f"    {field}: {shown}" + (f" = {default(kind)}" if filled else ""))
    return "\n".join(lines) + "\n"


def typed_dict(name: str, schema: Schema) -> str:
    """Return what a caller sends."""
    if "properties" not in schema:
        return alias(name, schema)
    lines = [f"class {name}(TypedDict):", docstring(schema)]
    for field, kind in schema["properties"].items():
        required = field in schema["required"] and field not in _FILLED_IN
        shown = expression(kind)
        lines.append(f"    {field}: {shown if required else f'NotRequired[{shown}]'}")
    return "\n".join(lines) + "\n"


def docstring(schema: Schema) -> str:
    """Return a schema's description as a docstring."""
    text: str = schema["description"].replace("\\", "\\\\").replace("\n", "\n    ").replace("    \n", "\n")
    return f'    """{text}\n    """\n' if "\n" in text else f'    """{text}"""\n'


def default(schema: Schema) -> str:
    """Return the default of a field that an answer may lack."""
    value = schema["default"]
    return "()" if value == [] else repr(value)


def expression(schema: Schema, *, answered: bool = False) -> str:
    """Return a schema as a type: answers hold tuples, requests take any list; an open choice is any text."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return str(_NAMED.get(name, name))
    if "anyOf" in schema:
        return " | ".join(expression(choice, answered=answered) for choice in schema["anyOf"])
    if "enum" in schema:
        is_open = schema.get("x-open") or (answered and len(schema["enum"]) == 1)  # what has one value can only grow
        return "str" if is_open else f"Literal[{', '.join(map(repr, schema['enum']))}]"
    match schema["type"]:
        case "array":
            item = expression(schema["items"], answered=answered)
            return f"tuple[{item}, ...]" if answered else f"Sequence[{item}]"
        case "object":
            return f"dict[str, {expression(schema['additionalProperties'], answered=answered)}]"
        case "string":
            return "dt.datetime | str" if schema.get("format") == "date-time" else "str"
    return _NAMES[schema["type"]]


if __name__ == "__main__":
    TARGET.write_text(render(json.loads(DOCUMENT.read_text())))
