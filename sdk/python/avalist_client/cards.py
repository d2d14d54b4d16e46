"""Card numbers are refused before they leave the program: they would be refused by the service all the same.

A cheap check, of plain digits, spaces and dashes; the service's own is thorough. It refuses nothing that the service
would take: a number of 13 to 19 digits that stands alone, passes the Luhn check and begins as cards of its length do.
"""

from __future__ import annotations

import re

import msgspec

from avalist_client import types
from avalist_client.errors import CardNumberRefused

_CANDIDATE = re.compile(r"(?<![0-9A-Za-z.][ -])(?<![0-9A-Za-z.])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z.]|[ -][0-9])")
_KNOWN = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12}"
)
_EXEMPT = ("phone", "imei", "hash", "time", "_at", "_ms")


def is_card_number(digits: str) -> bool:
    """Tell whether digits are a card number of one of the large schemes.

    >>> [is_card_number(digits) for digits in ("4111111111111111", "4111111111111112", "9999999999999995")]
    [True, False, False]
    """
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    luhn = sum(map(int, digits[-1::-2])) + sum(doubled)
    return luhn % 10 == 0 and _KNOWN.fullmatch(digits) is not None


def refuse_card_numbers(body: bytes) -> None:
    """Raise ``CardNumberRefused`` if a card number stands in a JSON body. Costs microseconds where none may."""
    if not _holds_card_number(body.decode()):
        return
    path = _search(msgspec.json.decode(body), "$")
    if path:
        raise CardNumberRefused(
            types.Problem(
                type="/problems#card-number-refused",
                title="Card number refused",
                status=422,
                detail="a card number stands in the payload; send a fingerprint instead. Nothing was sent",
                field=path,
                expected="no card number",
                got="a number of 13 to 19 digits (not shown)",
            )
        )


def _holds_card_number(text: str) -> bool:
    return any(is_card_number(re.sub("[ -]", "", found)) for found in _CANDIDATE.findall(text))


def _search(value: object, path: str) -> str:
    """Return the path of the first card number in a decoded value, or nothing; phones, times and hashes are exempt."""
    if isinstance(value, dict):
        inside = [(f"{path}.{name}", inner) for name, inner in value.items() if not name.endswith(_EXEMPT)]
    elif isinstance(value, list):
        inside = [(f"{path}[{place}]", inner) for place, inner in enumerate(value)]
    else:
        return path if _holds_card_number(str(value)) else ""
    return next(filter(None, (_search(inner, where) for where, inner in inside)), "")
