"""The error tree. Every error that this package raises on purpose is one of these.

::

    AvalistError
    ├── Unreachable              nothing came back in time, or no sense
    └── Problem                  the service answered with a problem document
        ├── TryLater             429 or 5xx: the same request may be sent again
        │   ├── RateLimited
        │   └── Unavailable
        ├── BadInput             `field`, `expected` and `got` say what to mend
        │   ├── CardNumberRefused
        │   ├── UnknownCurrency
        │   ├── ClockWentBack
        │   └── UnknownVersion
        ├── NotAuthenticated     no key, or not a known one
        ├── NotAllowed           the key lacks the scope
        ├── NotFound
        └── Conflict             an id was used before with other content
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from avalist_client import types


class AvalistError(Exception):
    """Base of every deliberate error."""


class Unreachable(AvalistError):
    """Nothing came back in time, or something that is no answer of the service."""


class Problem(AvalistError):
    """The service answered with a problem document: its parts are attributes.

    `type` names the problem and is stable; `detail` is one sentence that says how to mend it; `field`, `expected` and
    `got` are empty where they do not apply.
    """

    def __init__(self, document: types.Problem) -> None:
        where = f" (field {document.field})" if document.field else ""
        super().__init__(f"{document.status} {document.title}: {document.detail}{where}")
        self.type, self.title, self.status = document.type, document.title, document.status
        self.detail, self.field = document.detail, document.field
        self.expected, self.got = document.expected, document.got


class TryLater(Problem):
    """The service cannot answer now; the same request may be sent again, after `retry_after_s` where it is known."""

    retry_after_s: float | None = None


class RateLimited(TryLater):
    """The key sends more than its limit, or too many requests wait."""


class Unavailable(TryLater):
    """The service starts, stops, or has failed."""


class BadInput(Problem):
    """The request does not fit; nothing was stored."""


class CardNumberRefused(BadInput):
    """A card number stands in the request. It was stored nowhere; send a fingerprint instead."""


class UnknownCurrency(BadInput):
    """The merchant's schema has no rate from the currency."""


class ClockWentBack(BadInput):
    """A supplied ``received_at`` is earlier than one already given."""


class UnknownVersion(BadInput):
    """The service does not speak the version of the contract that this package pins."""


class NotAuthenticated(Problem):
    """No key, or not a known one."""


class NotAllowed(Problem):
    """The key lacks the scope."""


class NotFound(Problem):
    """There is no such payment or decision."""


class Conflict(Problem):
    """An id was used before with other content."""


_BY_TYPE: dict[str, type[Problem]] = {
    "card-number-refused": CardNumberRefused,
    "unknown-currency": UnknownCurrency,
    "clock-went-back": ClockWentBack,
    "unknown-version": UnknownVersion,
}
_BY_STATUS: dict[int, type[Problem]] = {
    401: NotAuthenticated, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: RateLimited,
}  # fmt: skip
_NONE_LEFT = re.compile(r"r=0\s*;\s*t=([0-9]+)")
_decode = msgspec.json.Decoder(types.Problem).decode


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> AvalistError:
    """Return the error that an answer other than 200 means; names of headers are in lower case.

    >>> error_of(409, {}, b'{"type": "/problems#conflict", "title": "Conflict", "status": 409, "detail": "used"}')
    Conflict('409 Conflict: used')
    >>> error_of(502, {"retry-after": "2"}, b"<h1>Bad gateway</h1>").retry_after_s
    2.0
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        shown = body[:200].decode("utf-8", "replace")
        if status != 429 and status < 500:  # a proxy's word, or a wrong address: not the service's
            return Unreachable(f"the answer is not from Avalist, check the address: {status} {shown}")
        document = types.Problem(type="about:blank", title="no problem document", status=status, detail=shown)
    kind = _BY_TYPE.get(document.type.rpartition("#")[2]) or _BY_STATUS.get(status)
    error = (kind or (Unavailable if status >= 500 else BadInput))(document)
    if isinstance(error, TryLater):
        error.retry_after_s = told_to_wait(headers)
    return error


def told_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` or ``RateLimit`` tell to wait, if they do.

    >>> told_to_wait({"ratelimit": '"key";r=0;t=2'}), told_to_wait({"ratelimit": '"key";r=5;t=1'})
    (2.0, None)
    """
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return float(after)
    again = _NONE_LEFT.search(headers.get("ratelimit", ""))
    return float(again[1]) if again else None
