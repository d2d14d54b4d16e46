"""Field tables of the reference pages, from the types themselves.

A page says ``<!-- fields: avalist.domain.events.Payment -->`` and a table follows: field, type and default are the
code's, the last column is the writer's. ``python -m tests.docs.fields`` brings the tables up to date and keeps the
prose; a test fails while they are stale or a field has none.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import msgspec
from msgspec import inspect

from tests.docs.pages import PAGES, ROOT, anchors, rows

_BLOCK = re.compile(r"^<!-- fields: ([\w.]+) -->\n(?:\n((?:\|.*\n)+))?", re.MULTILINE)
_HEAD = "| field | type | default | meaning |\n|---|---|---|---|\n"
_PATTERNS = {
    r"^[^\x00-\x1f\x7f]+$": "no control characters",
    r"^[A-Z]{3}$": "ISO 4217",
    r"^[0-9]{6,8}$": "6 to 8 digits",
    r"^[0-9]{4}$": "4 digits",
    r"^[0-9]{4}-[0-9]{2}$": "YYYY-MM",
    r"^[0-9]+(\.[0-9]+)?$": "decimal digits",
    r"^[a-z][a-z0-9_]{0,31}$": "a letter, then letters, digits and `_`",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "letters, digits and `-`",
}


def named(path: str) -> Any:
    """Return the type of a dotted name."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def table(path: str, prose: dict[str, str]) -> str:
    """Return the table of a struct, with the given prose by field."""
    struct = inspect.type_info(named(path))
    assert isinstance(struct, inspect.StructType)
    return _HEAD + "".join(
        f"| `{f.encode_name}` | {describe(f.type)} | {default(f)} | {prose.get(f.encode_name, '')} |\n"
        for f in struct.fields
    )


def updated(text: str) -> str:
    """Return a page with its tables as the code has them now."""
    here = anchors(text)

    def link(match: re.Match[str]) -> str:
        name = match.group(1)
        return match.group(0) if name.lower() in here else f"[{name}]({_home(name)}#{name.lower()})"

    def fresh(match: re.Match[str]) -> str:
        prose = {row[0].strip("`"): row[-1] for row in rows(match.group(2) or "")}
        shown = re.sub(r"\[(\w+)\]\(#\w+\)", link, table(match.group(1), prose))
        return f"<!-- fields: {match.group(1)} -->\n\n{shown}"

    return _BLOCK.sub(fresh, text)


def _home(name: str) -> str:
    """Return the reference page that describes a struct; the pages with tables that need it lie beside it."""
    return next(p.name for p in sorted((ROOT / "docs/reference").glob("*.md")) if f".{name} -->" in p.read_text())


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return a page's field tables by the name of their type."""
    return {match.group(1): rows(match.group(2) or "") for match in _BLOCK.finditer(text)}


def default(field: inspect.Field) -> str:
    """Return how a field's default is shown."""
    if field.required:
        return "**required**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "–"
    try:
        shown = msgspec.json.encode(value).decode()
    except (TypeError, msgspec.MsgspecError):
        shown = str(value)
    return f"`{shown}`" if len(shown) < 60 else "see below"


def describe(kind: inspect.Type) -> str:
    """Return a type in words."""
    if isinstance(kind, inspect.Metadata):
        pattern = (kind.extra_json_schema or {}).get("pattern")
        return describe(msgspec.structs.replace(kind.type, pattern=pattern) if pattern else kind.type)
    match kind:
        case inspect.UnionType(types=types):
            return _union([t for t in types if not isinstance(t, inspect.NoneType)])
        case inspect.StrType():
            return _noted("text", [*_size(kind, "characters"), *_pattern(kind.pattern)])
        case inspect.IntType() | inspect.FloatType():
            return " ".join(["integer" if isinstance(kind, inspect.IntType) else "number", *_range(kind)])
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case inspect.EnumType(cls=cls):
            return ", ".join(f"`{member.value}`" for member in cls)
        case inspect.VarTupleType() | inspect.ListType():
            return _noted(f"list of {describe(kind.item_type)}", _size(kind, "items"))
        case inspect.TupleType(item_types=items):
            return "[" + ", ".join(describe(item) for item in items) + "]"
        case inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.DictType(value_type=value):
            return f"object of names to {describe(value)}"
        case inspect.CustomType(cls=cls):
            return cls.__name__.lower()
    return _PLAIN.get(type(kind).__name__, type(kind).__name__)


_PLAIN = {"BoolType": "true or false", "DateTimeType": "time with zone", "RawType": "JSON", "AnyType": "anything"}


def _noted(word: str, notes: list[str]) -> str:
    return f"{word} ({', '.join(notes)})" if notes else word


def _union(kinds: list[inspect.Type]) -> str:
    structs = [k for k in kinds if isinstance(k, inspect.StructType)]
    if len(structs) > 1:
        return " or ".join(f"[{k.cls.__name__}](#{k.cls.__name__.lower()})" for k in structs)
    return " or ".join(describe(k) for k in kinds)


def _size(kind: Any, what: str) -> list[str]:
    least, most = kind.min_length, kind.max_length
    if least is not None and most is not None:
        return [f"{least} to {most} {what}" if least != most else f"{most} {what}"]
    return [f"at most {most} {what}"] if most is not None else []


def _pattern(pattern: str | None) -> list[str]:
    return [_PATTERNS.get(pattern, f"`{pattern}`")] if pattern else []


def _range(kind: Any) -> list[str]:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    shown = [f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}" for value in (low, high) if value is not None]
    if any(value is not None and abs(value) >= 2**62 for value in (low, high)):
        return []
    return [" to ".join(shown)] if high is not None else [f"≥ {value}" for value in shown]


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text()
        if updated(text) != text:
            page.write_text(updated(text))
