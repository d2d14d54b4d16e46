"""The little HTTP that the raw routes need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from avalist.api.errors import Problem, problem_of
from avalist.api.version import CURRENT, VERSION_HEADER
from avalist.domain.errors import AvalistError, BodyTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]
Headers = Iterable[Header]

VERSION = (VERSION_HEADER.lower().encode(), CURRENT.encode())
_TRY_AGAIN = ((b"retry-after", b"1"),)
_BY_STATUS: dict[int, Headers] = {401: ((b"www-authenticate", b"Bearer"),), 429: _TRY_AGAIN, 503: _TRY_AGAIN}
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
encode_json = msgspec.json.Encoder().encode


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the request's body. Raises ``BodyTooLarge`` past `limit` bytes."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                break
        body = b"".join(parts)
    if len(body) > limit:
        raise too_large(limit)
    return body


def too_large(limit: int) -> BodyTooLarge:
    """Return the error of a body of more than `limit` bytes."""
    expected, got = f"at most {limit} bytes", f"more than {limit}"
    return BodyTooLarge("the body is too large: send less at once", field="$", expected=expected, got=got)


async def send_json(send: Send, body: bytes, more: Headers = (), status: int = 200, kind: Header = _JSON) -> None:
    """Send a JSON body, with headers `more` than every answer has."""
    headers = [kind, VERSION, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: AvalistError, more: Headers = ()) -> Problem:
    """Send an error as a problem document, and return it."""
    problem = problem_of(error)
    await send_json(send, encode_json(problem), [*more, *status_headers(problem.status)], problem.status, _PROBLEM)
    return problem


def status_headers(status: int) -> Headers:
    """Return what an answer of `status` says of who may come, or when to try again."""
    return _BY_STATUS.get(status, ())
