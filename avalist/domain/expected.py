"""What stands in place of a value that a decoder refused: its form in words, with an example, or its choices."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

from msgspec import inspect

_FORMS: Final = {
    "^[A-Z]{3}$": "ISO 4217, three capital letters, such as EUR",
    "^[0-9]{6,8}$": "the first 6 to 8 digits of the card, such as 411111",
    "^[0-9]{4}$": "the last 4 digits of the card, such as 1111",
    "^[0-9]{4}-[0-9]{2}$": "year and month, such as 2029-04",
    r"^[0-9]+(\.[0-9]+)?$": "a decimal number as text, such as 0.25",
    "^[a-z][a-z0-9_]{0,31}$": "a name of at most 32 small letters, digits and _, such as account",
}
_TIME: Final = "RFC 3339 with a zone, such as 2026-11-25T09:30:00Z"
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[[^\]]*\]")


def expected_at(kind: Any, path: str, message: str) -> str:
    """Return what was expected at a path of a type, in words; nothing where `message` says it well enough.

    >>> from avalist.domain.events import Payment
    >>> expected_at(Payment, "$.currency", "Expected `str`, got `int`")
    'ISO 4217, three capital letters, such as EUR'
    """
    if "RFC3339" in message or message.startswith("Expected `datetime`"):
        return _TIME
    if kind is None:
        return next((form for pattern, form in _FORMS.items() if f"regex '{pattern}'" in message), "")
    return _at(kind, _steps(path))


def no_such_field(kind: Any, path: str, name: str) -> str:
    """Return what was expected where a type has no field of that name: one that is like it.

    >>> from avalist.domain.events import Payment
    >>> no_such_field(Payment, "$.customer", "e_mail"), no_such_field(Payment, "$", "zzz")
    ('no such field: perhaps email', 'no such field')
    """
    near = () if kind is None else get_close_matches(name, _fields(kind, _steps(path)), n=1)
    return f"no such field: perhaps {near[0]}" if near else "no such field"


def _steps(path: str) -> tuple[str, ...]:
    return tuple(step[1] or "" for step in _STEP.finditer(path))


@functools.cache
def _fields(kind: Any, steps: tuple[str, ...]) -> tuple[str, ...]:
    structs = [one for one in _types(kind, steps) if isinstance(one, inspect.StructType)]
    return tuple(sorted({field.encode_name for one in structs for field in one.fields}))


def _types(kind: Any, steps: tuple[str, ...]) -> list[inspect.Type]:
    """Return the types at a path of a type. Reading them is slow and leaves cycles: keep what you make of them."""
    types = [*_options(inspect.type_info(kind))]
    for step in steps:
        types = [option for one in types for inner in _inside(one, step) for option in _options(inner)]
    return types


@functools.cache
def _at(kind: Any, steps: tuple[str, ...]) -> str:
    """Return the form or the choices at a path of a type."""
    types = _types(kind, steps)
    choices = {str(value) for one in types if isinstance(one, inspect.LiteralType) for value in one.values}
    choices |= {member.value for one in types if isinstance(one, inspect.EnumType) for member in one.cls}
    forms = [_FORMS.get(one.pattern or "", "") for one in types if isinstance(one, inspect.StrType)]
    return " or ".join(sorted(choices)) or next((form for form in forms if form), "")


def _options(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _options(one)
    else:
        yield kind.type if isinstance(kind, inspect.Metadata) else kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """Yield the types of what `step` names inside a type: a field, or the tag that tells which of several it is."""
    if isinstance(kind, inspect.StructType):
        if step and step == kind.tag_field:
            yield inspect.LiteralType((kind.tag,))
        yield from (field.type for field in kind.fields if field.encode_name == step)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType) and not step:
        yield kind.item_type
    elif isinstance(kind, inspect.DictType) and not step:
        yield kind.value_type
