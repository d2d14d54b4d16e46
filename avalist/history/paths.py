"""Where a column may go in a payment event: the paths of ``[fields]``, with what the wire allows there."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import inspect

from avalist.domain.errors import BadInput
from avalist.domain.events import (
    UNSEEN,
    Address,
    CartItem,
    Customer,
    Device,
    Method,
    Payee,
    SessionSummary,
)

Kind = Literal["text", "whole", "number", "time"]
_PARTS: dict[str, type] = {
    "customer": Customer, "device": Device, "session": SessionSummary, "billing": Address, "payee": Payee,
}  # fmt: skip
_CHOICES: dict[str, dict[str, type]] = {
    "method": {str(kind.__struct_config__.tag): kind for kind in get_args(Method)},
    "cart": {str(kind.__struct_config__.tag): kind for kind in get_args(CartItem)},
}
_USUAL = {"method": "card", "cart": "other"}


class Rule(NamedTuple):
    """What a field may hold: text of at most `longest` that matches `pattern`; numbers from `low` to `high`."""

    kind: Kind
    longest: int = 0
    pattern: str = ""
    low: int = 0
    high: int = 0


class Part(NamedTuple):
    """One part of a payment, such as its customer: the type, and the fields it cannot be without."""

    name: str
    kind: Any
    needed: tuple[str, ...]


ID = Rule("text", 128, f"^[^{UNSEEN}]+$")
CUSTOM = Rule("text", 512)
IP = Rule("text", 128)


def part_of(name: str, kind: str = "") -> Part:
    """Return a part by its name; a method or cart also by its kind. Raises ``BadInput``."""
    made = _CHOICES[name].get(kind or _USUAL[name]) if name in _CHOICES else _PARTS.get(name)
    if made is None:
        known = [*_CHOICES.get(name, (*_PARTS, *_CHOICES, "ip", "custom"))]
        raise BadInput(
            "no such part of a payment", field=f"fields.{name}", expected=" or ".join(known), got=kind or name
        )
    return Part(name, made, tuple(f.name for f in msgspec.structs.fields(made) if f.required))


def rule_of(part: Part, field: str) -> Rule:
    """Return what a field of a part may hold. Raises ``BadInput`` if there is none of that name."""
    known = {f.name: f.type for f in inspect.type_info(part.kind).fields}  # type: ignore[attr-defined]
    if field not in known:
        expected = ", ".join(known)
        raise BadInput("no such field of a payment", field=f"fields.{part.name}", expected=expected, got=field[:64])
    kind = known[field]
    if isinstance(kind, inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    pattern = ""
    if isinstance(kind, inspect.Metadata):  # an id
        pattern, kind = ID.pattern if kind.extra_json_schema else "", kind.type
    if isinstance(kind, inspect.IntType):
        return Rule("whole", low=kind.ge or 0, high=kind.le or 2**62)
    if isinstance(kind, inspect.DateTimeType):
        return Rule("time")
    assert isinstance(kind, inspect.StrType)
    return Rule("text", kind.max_length or 512, pattern or kind.pattern or "")
