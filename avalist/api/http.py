"""The little HTTP that the raw routes need."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from avalist.api.errors import Problem, problem_of
from avalist.domain.cards import holds_card_number
from avalist.domain.errors import AvalistError, BadInput, BodyTooLarge, CardNumberRefused, UnsupportedMedia

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
# curl -d and urllib name a form when nothing else is said; what counts is that the body is JSON.
_PLAIN = (b"application/json", b"text/json", b"text/plain", b"application/x-www-form-urlencoded")
encode_json = msgspec.json.Encoder().encode


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the request's body.

    Raises
    ------
    UnsupportedMedia
        If the headers say that it is not plain JSON in UTF-8.
    BodyTooLarge
        Past `limit` bytes.
    BadInput
        If the caller hung up before its end.
    """
    _check_media(header(scope, b"content-type"), header(scope, b"content-encoding"))
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(limit)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise BadInput("the body ended before its last byte: send it again", field="$", expected="the whole body")
    if len(body) > limit:
        raise too_large(limit)
    return body


def too_large(limit: int) -> BodyTooLarge:
    """Return the error of a body of more than `limit` bytes."""
    expected, got = f"at most {limit} bytes", f"more than {limit}"
    return BodyTooLarge("the body is too large: send less at once", field="$", expected=expected, got=got)


def header(scope: Scope, name: bytes) -> bytes:
    """Return a request header's value, or nothing. Raises ``BadInput`` if it was sent twice: which one is meant?"""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise BadInput("a header was sent twice", field=f"header {name.decode().title()}", expected="one", got="two")
    return bytes(values[0]) if values else b""


def refuse_in_address(scope: Scope) -> None:
    """Raise ``CardNumberRefused`` if a card number stands in the path or the query: servers on the way log them."""
    if holds_card_number(scope["path"]) or holds_card_number(unquote_plus(scope["query_string"].decode("latin-1"))):
        raise CardNumberRefused(
            "a card number stands in the address; use a fingerprint instead. Nothing was stored",
            field="address",
            expected="no card number",
            got="a number of 13 to 19 digits (not shown)",
        )


def _check_media(kind: bytes, encoding: bytes) -> None:
    if encoding and encoding.lower() != b"identity":
        raise UnsupportedMedia(
            "the body is compressed: send it as it is",
            field="header Content-Encoding",
            expected="none",
            got=encoding[:32].decode("latin-1"),
        )
    if kind and kind not in _PLAIN:
        media, _, rest = kind.decode("latin-1").lower().partition(";")
        charset = rest.strip().removeprefix("charset=").strip('"')
        json = media.strip().encode() in _PLAIN or re.fullmatch(r"application/[^/ ]+\+json ?", media)
        if not json or (charset and charset not in ("utf-8", "utf8", "us-ascii")):
            raise UnsupportedMedia(
                "the body's type is not JSON",
                field="header Content-Type",
                expected="application/json; charset=utf-8",
                got=kind[:64].decode("latin-1"),
            )


async def send_json(send: Send, body: bytes, status: int = 200, kind: tuple[bytes, bytes] = _JSON) -> None:
    """Send a JSON body."""
    headers = [kind, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: AvalistError) -> Problem:
    """Send an error as a problem document, and return it."""
    problem = problem_of(error)
    await send_json(send, encode_json(problem), problem.status, _PROBLEM)
    return problem
