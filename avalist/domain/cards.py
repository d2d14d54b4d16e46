"""Card numbers are refused (architecture §7): found anywhere in a payload, they are never stored or logged.

A card number stands alone in a string or number, has 13–19 digits (spaces and dashes allowed), is Luhn-valid and starts
with a known issuer prefix of its length. Fields typed as phone, IMEI, time or hash are exempt.

>>> [holds_card_number(n) for n in ("4111 1111 1111 1111", "4111111111111112", "9999999999999995")]
[True, False, False]
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from avalist.domain.errors import CardNumberRefused

_RUN = re.compile(rb"[0-9]+(?:[ \-]{1,3}[0-9]+)*")
_GROUP = re.compile(rb"[0-9]+")
_JOINED_BEFORE = re.compile(rb"[0-9A-Za-z.]")
_JOINED_AFTER = re.compile(rb"[0-9A-Za-z]|\.0*[1-9]")
_SHORTEST_LENGTH = 13
_SHORTEST = b"0" * _SHORTEST_LENGTH
_LEAST = 1e12
EXEMPT: Final = ("phone", "imei", "hash", "time", "_at", "_ms")
_VALUE = bytes(byte % 16 for byte in range(256))
_DOUBLED = bytes(value * 2 - 9 if value > 4 else value * 2 for value in _VALUE)

# (lowest prefix, highest prefix, lengths, brand): public issuer identification ranges of the card schemes.
_RANGES: tuple[tuple[str, str, frozenset[int], str], ...] = (
    ("4", "4", frozenset({13, 16, 19}), "visa"),
    ("51", "55", frozenset({16}), "mastercard"),
    ("2221", "2720", frozenset({16}), "mastercard"),
    ("34", "34", frozenset({15}), "amex"),
    ("37", "37", frozenset({15}), "amex"),
    ("6011", "6011", frozenset({16, 17, 18, 19}), "discover"),
    ("644", "649", frozenset({16, 17, 18, 19}), "discover"),
    ("65", "65", frozenset({16, 17, 18, 19}), "discover"),
    ("3528", "3589", frozenset({16, 17, 18, 19}), "jcb"),
    ("300", "305", frozenset({14, 16, 17, 18, 19}), "diners"),
    ("3095", "3095", frozenset({14, 16, 17, 18, 19}), "diners"),
    ("36", "36", frozenset({14, 15, 16, 17, 18, 19}), "diners"),
    ("38", "39", frozenset({14, 16, 17, 18, 19}), "diners"),
    ("62", "62", frozenset({16, 17, 18, 19}), "unionpay"),
    ("50", "50", frozenset({13, 14, 15, 16, 17, 18, 19}), "maestro"),
    ("56", "58", frozenset({13, 14, 15, 16, 17, 18, 19}), "maestro"),
    ("63", "63", frozenset({13, 14, 15, 16, 17, 18, 19}), "maestro"),
    ("67", "67", frozenset({13, 14, 15, 16, 17, 18, 19}), "maestro"),
    ("2200", "2204", frozenset({16, 17, 18, 19}), "mir"),
)


_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_DASHES = "\u058a\u05be\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2e3a\u2e3b\u301c\ufe58\ufe63\uff0d"


@functools.cache
def _foreign() -> dict[int, str]:
    """Return digits, spaces and dashes outside ASCII, and white space, by what each reads as in ASCII."""
    every = [chr(code) for code in (*range(9, 14), *range(0x80, 0x2_0000))]
    digits = {ord(char): str(unicodedata.digit(char)) for char in every if char.isdigit()}
    spaces = {ord(char): " " for char in every if char.isspace()}
    return digits | spaces | dict.fromkeys(map(ord, _DASHES), "-") | dict.fromkeys(map(ord, _INVISIBLE), "")


LEADS: Final = bytes.fromhex("c2 d6 d9 db df e0 e1 e2 e3 ea ef f0")
"""First UTF-8 bytes of all characters outside ASCII that may take part in a card number."""
_COUNTED_AS_0 = bytes(ord("0") if byte in b"0123456789" or byte in LEADS else byte for byte in range(256))
_BETWEEN = b" -" + bytes(range(0x80, 0xC0))


def is_card_number(digits: str) -> bool:
    """Tell whether a string of digits alone is a card number: Luhn-valid, known prefix, right length."""
    return len(digits) in _lengths(digits[:4].encode()) and _find_in(digits.encode(), [0], {len(digits)}) == 0


@functools.lru_cache(maxsize=16_384)
def _lengths(prefix: bytes) -> tuple[int, ...]:
    """Return the lengths of the card numbers that begin with these four digits."""
    digits = prefix.decode()
    known = (lengths for low, high, lengths, _ in _RANGES if low <= digits[: len(low)] <= high)
    return tuple(sorted(frozenset().union(*known)))


@functools.lru_cache(maxsize=16_384)
def brand_of(bin: str) -> str:
    """Return the card scheme that a number beginning with `bin` belongs to; empty if none is known.

    >>> brand_of("411111"), brand_of("222100"), brand_of("999999")
    ('visa', 'mastercard', '')
    """
    return next((brand for low, high, _, brand in _RANGES if low <= bin[: len(low)] <= high), "")


def find_card_number(raw: bytes) -> int:
    """Return the offset in `raw` of the first card number standing alone, or -1. Linear in ``len(raw)``."""
    for run in _RUN.finditer(raw):
        if run.end() - run.start() >= _SHORTEST_LENGTH and (at := _in_run(raw, run.start(), run.end())) >= 0:
            return at
    return -1


def _in_run(raw: bytes, start: int, end: int) -> int:
    """Return the offset of the first card number made of whole groups of a run of digits, or -1.

    "4111 1111 1111 1111 123" is a card number and its security code.
    """
    groups = [*_GROUP.finditer(raw, start, end)]
    begins = [*accumulate((group.end() - group.start() for group in groups), initial=0)]
    ends = set(begins[1:] if not _JOINED_AFTER.match(raw, end) else begins[1:-1])
    if start and _JOINED_BEFORE.match(raw, start - 1):
        groups, begins = groups[1:], begins[1:]
    digits = b"".join(_GROUP.findall(raw, start, end))
    place = _find_in(digits, begins[:-1], ends)
    return groups[place].start() if place >= 0 else -1


def _find_in(digits: bytes, begins: list[int], ends: set[int]) -> int:
    """Return which of `begins` is that of a card number that ends at one of `ends`, or -1.

    Each candidate costs two look-ups: the check sums of all are differences of running sums, one where the even places
    are doubled, one where the odd are.
    """
    sums: list[list[int]] = []
    for place, begin in enumerate(begins):
        for length in _lengths(digits[begin : begin + 4]):
            if begin + length in ends:
                sums = sums or [_running_sum(digits, doubled) for doubled in (1, 0)]
                running = sums[(begin + length - 1) % 2]
                if (running[begin + length] - running[begin]) % 10 == 0:
                    return place
    return -1


def _running_sum(digits: bytes, doubled: int) -> list[int]:
    values = bytearray(digits.translate(_VALUE))
    values[doubled::2] = values[doubled::2].translate(_DOUBLED)
    return [*accumulate(values, initial=0)]


def holds_card_number(text: str) -> bool:
    """Tell whether a card number stands in `text`, in the digits, spaces and dashes of any script."""
    return find_card_number(text.translate(_foreign()).encode("utf-8", "replace")) >= 0


def refuse_card_numbers(body: bytes, event: object) -> None:
    """Raise ``CardNumberRefused`` if a card number stands in `body`, the JSON that `event` was decoded from.

    The raw bytes settle nearly every body: without 13 digits in a row, spaces and dashes aside, there is none. A find
    in them, an escape, characters outside ASCII that may be digits, or a whole number in exponent form, is settled on
    the decoded event, where phones, times, hashes and IMEIs are exempt.
    """
    long_run = _SHORTEST in body.translate(_COUNTED_AS_0, _BETWEEN)
    hidden = b"\\" in body or _holds_long_float(event) or (long_run and not body.isascii())
    if hidden or (long_run and find_card_number(body) >= 0):
        path = _search(msgspec.to_builtins(event), "$")
        if path:
            raise CardNumberRefused(
                "a card number stands in the payload; send a fingerprint instead. Nothing was stored",
                field=path,
                expected="no card number",
                got="a number of 13 to 19 digits (not shown)",
            )


def doubtful(bodies: Sequence[bytes]) -> set[int]:
    """Return which bodies of JSON, each of one line, may hold a card number: :func:`refuse_card_numbers` tells.

    The others hold none, unless a field under ``custom`` does that is a whole number in exponent form.
    """
    counted = b"\n".join(bodies).translate(_COUNTED_AS_0, _BETWEEN)
    if _SHORTEST not in counted and b"\\" not in counted:
        return set()
    return {n for n, line in enumerate(counted.split(b"\n")) if _SHORTEST in line or b"\\" in line}


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
