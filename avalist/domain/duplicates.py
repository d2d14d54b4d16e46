"""A key that stands twice in one JSON object: decoders silently take the last, and people read the first."""

from __future__ import annotations

import json
from typing import NamedTuple

from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput


class _Twice(NamedTuple):
    """Stands in place of an object that holds a repeated key; `path` leads to the key."""

    path: str


def find_duplicate_key(body: bytes) -> str:
    r"""Return the path of a key that stands twice in one object of `body`, which is JSON, or nothing.

    Escaped keys count as what they mean.

    >>> find_duplicate_key(rb'{"a": [1, {"b": 1, "\u0062": 2}]}'), find_duplicate_key(b'[{"a": 1}, {"a": 1}]')
    ('$.a[1].b', '')
    """
    whole = json.loads(body.decode(), object_pairs_hook=_outline, parse_int=len, parse_float=len)
    path = _path_in(whole)
    return f"${path}" if path else ""


def refuse_duplicate_keys(body: bytes) -> None:
    """Raise ``BadInput`` if a key stands twice in one object of `body`, which is JSON."""
    path = find_duplicate_key(body)
    if path:
        shown = "a field" if holds_card_number(path) else path[:200]
        raise BadInput(
            f"{shown} stands twice in one object: send it once",
            field=shown if shown[0] == "$" else "$",
            expected="each key once",
            got="the same key twice",
        )


def _outline(pairs: list[tuple[str, object]]) -> _Twice | None:
    seen = set()
    for name, value in pairs:
        if name in seen:
            return _Twice(f".{name}")
        if inner := _path_in(value):
            return _Twice(f".{name}{inner}")
        seen.add(name)
    return None


def _path_in(value: object) -> str:
    if isinstance(value, _Twice):
        return value.path
    if isinstance(value, list):
        return next((f"[{i}]{path}" for i, inner in enumerate(value) if (path := _path_in(inner))), "")
    return ""
