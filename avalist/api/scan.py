"""One compiled pass over a decoded body: a key that stands twice, nesting, digits that may be a card number.

The pass only suspects; what it suspects is settled exactly, in Python, by the domain. It costs a few microseconds for
a body of 2 KB, and time in line with the size for any body.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.cards import LEADS, refuse_card_numbers
from avalist.domain.duplicates import refuse_duplicate_keys
from avalist.domain.errors import BadInput
from avalist.features.jit import jit, jit_inline

DEEPEST: Final = 32
_MANY: Final = 64
_LONG: Final = 13
_CARD, _KEYS, _DEEP = 1, 2, 4
_QUOTE, _OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_LIST, _CLOSE_LIST, _COMMA, _EXPONENT = 1, 2, 3, 4, 5, 6, 7
_DIGITS: Final = (*b"0123456789", *LEADS)
_QUOTATION_MARK, _BACKSLASH = 0x22, 0x5C
_OFFSET: Final = 14_695_981_039_346_656_037
_PRIME: Final = 1_099_511_628_211  # FNV-1a

Text = np.ndarray[tuple[int], np.dtype[np.uint8]]
Table = np.ndarray[tuple[int], np.dtype[np.int64]]


def _table(values: dict[int, int]) -> Table:
    return np.array([values.get(byte, 0) for byte in range(256)], dtype=np.int64)


_SIGN: Final = _table({byte: sign for sign, byte in enumerate(b'"{}[],e', 1)} | {ord("E"): _EXPONENT})
_STOPS: Final = _table(dict.fromkeys(b'"\\', 1))
_COUNTS: Final = _table(dict.fromkeys(_DIGITS, 1))
"""1 for a byte that lengthens a run of digits; the first byte of a foreign digit or space may be one."""
_CONTINUES: Final = _table(dict.fromkeys((*_DIGITS, *b" -", *range(0x80, 0xC0)), -1))
"""All bits for a byte that does not end a run of digits."""


def check_body(body: bytes, event: object) -> None:
    """Refuse what a decoder lets pass in `body`, the JSON that `event` was decoded from.

    Raises
    ------
    CardNumberRefused
        If a card number stands anywhere in it.
    BadInput
        If a key stands twice in one object, or objects and lists are nested deeper than ``DEEPEST``.
    """
    suspected = _look(body)
    if suspected:
        if suspected & _DEEP:
            raise BadInput("the body is nested too deeply", field="$", expected=f"at most {DEEPEST} levels", got="more")
        if suspected & _CARD:
            refuse_card_numbers(body, event)
        if suspected & _KEYS:
            refuse_duplicate_keys(body)


@jit
def _look(body: bytes) -> int:
    """Return what `body`, which is JSON, is suspected of: a sum of ``_CARD``, ``_KEYS`` and ``_DEEP``."""
    text = np.frombuffer(body, np.uint8)
    return _structure(text) | (_CARD if _longest_run(text) >= _LONG else 0)


@jit_inline
def _longest_run(text: Text) -> int:
    """Return how many digits follow each other at most, spaces and dashes aside. Without a branch: a body is short."""
    run = longest = 0
    for byte in text:
        run = (run + _COUNTS[byte]) & _CONTINUES[byte]
        longest = max(longest, run)
    return longest


@jit
def _structure(text: Text) -> int:
    """Look for a key whose hash stands twice in its object, for escapes, exponents and depth."""
    hashes = np.empty(DEEPEST * _MANY, dtype=np.uint64)  # of the keys of all objects that are open
    first = np.zeros(DEEPEST + 1, dtype=np.int64)
    in_object = np.zeros(DEEPEST + 1, dtype=np.bool_)
    found, depth, top, place, key_next = 0, 0, 0, 0, False
    while place < text.size:
        sign = _SIGN[text[place]]
        place += 1
        if sign == _QUOTE:
            begin = place
            while place < text.size and not _STOPS[text[place]]:
                place += 1
            if place < text.size and text[place] == _BACKSLASH:
                found |= _CARD | (_KEYS if key_next else 0)
                while place < text.size and text[place] != _QUOTATION_MARK:
                    place += 2 if text[place] == _BACKSLASH else 1
            if key_next:
                key = np.uint64(_OFFSET)
                for at in range(begin, min(place, text.size)):
                    key = (key ^ np.uint64(text[at])) * np.uint64(_PRIME)
                twice = top - first[depth] == _MANY  # or too many to tell
                for other in range(first[depth], top):
                    twice = twice or hashes[other] == key
                if twice:
                    found |= _KEYS
                else:
                    hashes[top] = key
                    top += 1
                key_next = False
            place += 1
        elif sign == _COMMA:
            key_next = in_object[depth]
        elif sign == _OPEN_OBJECT or sign == _OPEN_LIST:
            if depth == DEEPEST:
                return found | _DEEP
            depth += 1
            first[depth], in_object[depth] = top, sign == _OPEN_OBJECT
            key_next = in_object[depth]
        elif sign == _CLOSE_OBJECT or sign == _CLOSE_LIST:
            top, depth, key_next = first[depth], max(depth - 1, 0), False
        elif sign == _EXPONENT and place > 1 and _COUNTS[text[place - 2]]:
            found |= _CARD
    return found
