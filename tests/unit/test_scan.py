"""The compiled scan suspects whatever the slow searches find, and names the key that stands twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.api.scan import DEEPEST, check_body
from avalist.domain.duplicates import find_duplicate_key
from avalist.domain.errors import BadInput, CardNumberRefused
from tests.shop import CARD_NUMBER


def refusal(body: bytes) -> str:
    """Return the field that a body is refused for, or nothing."""
    try:
        check_body(body, json.loads(body))
    except BadInput as error:
        return error.field
    return ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a": 1, "a": 2}', "$.a"),
        (b'{"a": {"b": {"c": 1}, "b": 1}}', "$.a.b"),
        (b'[{"a": 1}, {"b": [0, {"c": 1, "c": 1}]}]', "$[1].b[1].c"),
        (rb'{"a": 1, "\u0061": 2}', "$.a"),
        (rb'{"a\"": 1, "a\u0022": 2}', '$.a"'),
        (rb'{"\\": 1, "a": "\\", "a": 1}', "$.a"),
        ('{"\u00e9": 1, "\u00e9": 2}'.encode(), "$.\u00e9"),
        (b'{"": 1, "": 2}', "$."),
        (b'{"a": [{"b": 1}], "b": 1, "a": 1}', "$.a"),
        (json.dumps({f"k{n}": n for n in range(500)}).replace('"k499"', '"k3"').encode(), "$.k3"),
        (b'{"%s": 1, "%s": 2}' % ((b"k" * 5000,) * 2), "$." + "k" * 198),
    ],
)
def test_a_key_twice_in_one_object_is_named(body: bytes, field: str) -> None:
    assert refusal(body) == field


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": {"a": {"a": 1}}, "b": {"a": 1}}',
        b'[{"a": 1}, {"a": 1}]',
        b'{"a": "a", "b": ["a", "a"]}',
        rb'{"a": "\", \"a\": 1"}',
        rb'{"\u0061b": 1, "a": 2}',
        json.dumps({f"k{n}": n for n in range(500)}).encode(),
        b"7",
        b'""',
        b"[]",
    ],
)
def test_keys_of_several_objects_may_be_equal(body: bytes) -> None:
    assert refusal(body) == ""


def test_a_card_number_as_a_key_that_stands_twice_is_not_shown() -> None:
    with pytest.raises(CardNumberRefused):
        check_body(b'{"%s": 1, "%s": 2}' % ((CARD_NUMBER.encode(),) * 2), {CARD_NUMBER: 2})


def test_a_card_number_under_the_first_of_two_keys_is_not_let_through() -> None:
    assert refusal(b'{"a": "%s", "a": "x"}' % CARD_NUMBER.encode()) == "$.a"


@pytest.mark.parametrize(("depth", "field"), [(DEEPEST, ""), (DEEPEST + 1, "$")])
def test_depth_has_a_limit(depth: int, field: str) -> None:
    assert refusal(b'{"a":' * depth + b"1" + b"}" * depth) == field
    assert refusal(b"[" * depth + b"]" * depth) == field


PAIRS = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(st.text('ab"\\\u00e9', max_size=2), inner), max_size=4)
    ),
)


def written(value: Any, escape: bool) -> str:
    """Write JSON whose objects, given as lists of pairs, may hold a key twice."""
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=escape)
    if value and all(isinstance(item, tuple) for item in value):
        return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=escape)}: {written(v, escape)}" for k, v in value) + "}"
    return "[" + ", ".join(written(item, escape) for item in value) + "]"


@given(PAIRS, st.booleans())
def test_the_scan_and_the_slow_search_agree(value: Any, escape: bool) -> None:
    body = written(value, escape).encode("utf-8", "replace")
    assert refusal(body) == find_duplicate_key(body)
