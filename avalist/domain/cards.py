"""Card numbers are refused (architecture §7): found anywhere in a payload, they are never stored or logged.

A card number stands alone in a string or number, has 13–19 digits (spaces and dashes allowed), is Luhn-valid and starts
with a known issuer prefix of its length. Fields typed as phone, IMEI, time or hash are exempt.

>>> [holds_card_number(n) for n in ("4111 1111 1111 1111", "4111111111111112", "9999999999999995")]
[True, False, False]
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

import msgspec

from avalist.domain.errors import CardNumberRefused

_RUN = re.compile(rb"[0-9]+(?:[ \-][0-9]+)*")
_JOINED_BEFORE = re.compile(rb"[0-9A-Za-z.]")
_JOINED_AFTER = re.compile(rb"[0-9A-Za-z]|\.0*[1-9]")
_LENGTHS = range(13, 20)
_SHORTEST = b"0" * 13
_LEAST = 1e12
_DIGITS_TO_0 = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
EXEMPT: Final = ("phone", "imei", "hash", "time", "_at", "_ms")
_DOUBLED = bytes(ord("0") + (d * 2 - 9 if d > 4 else d * 2) for d in range(10))
_DOUBLE = bytes.maketrans(b"0123456789", _DOUBLED)

# (lowest prefix, highest prefix, lengths): public issuer identification ranges of the card schemes.
_RANGES: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({13, 16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),  # Mastercard, two-series
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("6011", "6011", frozenset({16, 17, 18, 19})),  # Discover
    ("644", "649", frozenset({16, 17, 18, 19})),
    ("65", "65", frozenset({16, 17, 18, 19})),
    ("3528", "3589", frozenset({16, 17, 18, 19})),  # JCB
    ("300", "305", frozenset({14, 16, 17, 18, 19})),  # Diners Club
    ("3095", "3095", frozenset({14, 16, 17, 18, 19})),
    ("36", "36", frozenset({14, 15, 16, 17, 18, 19})),
    ("38", "39", frozenset({14, 16, 17, 18, 19})),
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("50", "50", frozenset({13, 14, 15, 16, 17, 18, 19})),  # Maestro
    ("56", "58", frozenset({13, 14, 15, 16, 17, 18, 19})),
    ("63", "63", frozenset({13, 14, 15, 16, 17, 18, 19})),
    ("67", "67", frozenset({13, 14, 15, 16, 17, 18, 19})),
    ("2200", "2204", frozenset({16, 17, 18, 19})),  # Mir
)
_FIRST_DIGITS = frozenset(low[0] for low, _, _ in _RANGES)


def is_card_number(digits: str) -> bool:
    """Tell whether a string of digits alone is a card number: Luhn-valid, known prefix, right length."""
    return _luhn(digits.encode()) and _known_issuer(digits)


def _known_issuer(digits: str) -> bool:
    return any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in _RANGES)


def _luhn(digits: bytes) -> bool:
    reverse = digits[::-1]
    total = sum(reverse[::2]) + sum(reverse[1::2].translate(_DOUBLE)) - ord("0") * len(digits)
    return total % 10 == 0


def find_card_number(raw: bytes) -> int:
    """Return the offset in `raw` of the first card number standing alone, or -1. Linear in ``len(raw)``."""
    for run in _RUN.finditer(raw):
        if run.end() - run.start() >= _LENGTHS.start and (at := _in_run(raw, run.start(), run.end())) >= 0:
            return at
    return -1


def _in_run(raw: bytes, start: int, end: int) -> int:
    """Return the offset of the first card number made of whole groups of a run of digits, or -1.

    "4111 1111 1111 1111 123" is a card number and its security code.
    """
    groups = re.split(rb"[ \-]", raw[start:end])
    digits = b"".join(groups).decode()
    begins = [*accumulate(map(len, groups), initial=0)]
    ends = set(begins[1:] if not _JOINED_AFTER.match(raw, end) else begins[1:-1])
    joined = bool(start and _JOINED_BEFORE.match(raw, start - 1))
    for place, begin in enumerate(begins[:-1]):
        if digits[begin] in _FIRST_DIGITS and not (joined and not place):
            for stop in range(begin + _LENGTHS.start, begin + _LENGTHS.stop):
                if stop in ends and is_card_number(digits[begin:stop]):
                    return start + begin + place
    return -1


def holds_card_number(text: str) -> bool:
    """Tell whether a card number stands in `text`."""
    return find_card_number(text.encode()) >= 0


def refuse_card_numbers(body: bytes, event: object) -> None:
    """Raise ``CardNumberRefused`` if a card number stands in `body`, the JSON that `event` was decoded from.

    The raw bytes settle nearly every body: without 13 digits in a row, spaces and dashes aside, there is none. A find
    in them, an escape, or a whole number in exponent form, is settled on the decoded event, where phones, times, hashes
    and IMEIs are exempt.
    """
    long_run = _SHORTEST in body.translate(_DIGITS_TO_0, b" -")
    if (long_run and find_card_number(body) >= 0) or b"\\" in body or _holds_long_float(event):
        path = _search(msgspec.to_builtins(event), "$")
        if path:
            raise CardNumberRefused(
                "a card number stands in the payload; send a fingerprint instead. Nothing was stored",
                field=path,
                expected="no card number",
                got="a number of 13 to 19 digits (not shown)",
            )


def _holds_long_float(event: object) -> bool:
    """Tell whether a declared field is a long whole float: the one place where digits may hide behind an exponent."""
    custom: dict[str, object] = getattr(event, "custom", None) or {}
    return any(isinstance(value, float) and abs(value) >= _LEAST for value in custom.values())


def _search(value: object, path: str) -> str:
    """Return the path of the first card number in a decoded value, or nothing."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if holds_card_number(str(name)):
                return path
            if not str(name).endswith(EXEMPT) and (found := _search(inner, f"{path}.{name}")):
                return found
        return ""
    if isinstance(value, list | tuple):
        inside = (_search(inner, f"{path}[{i}]") for i, inner in enumerate(value))
        return next(filter(None, inside), "")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return path if holds_card_number(str(value)) else ""
