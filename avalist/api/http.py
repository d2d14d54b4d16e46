"""The little HTTP that the raw routes need."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from avalist.api.version import CURRENT, VERSION_HEADER
from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput, BodyTooLarge, CardNumberRefused, UnsupportedMedia

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Given = Mapping[bytes, bytes]
"""A request's headers, their names in small letters."""
Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]
Headers = Iterable[Header]

VERSION = (VERSION_HEADER.lower().encode(), CURRENT.encode())
_TRY_AGAIN = ((b"retry-after", b"1"),)
_BY_STATUS: dict[int, Headers] = {401: ((b"www-authenticate", b"Bearer"),), 429: _TRY_AGAIN, 503: _TRY_AGAIN}
JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
# curl -d and urllib name a form when nothing else is said; what counts is that the body is JSON.
_PLAIN = (b"application/json", b"text/json", b"text/plain", b"application/x-www-form-urlencoded")
_CLOSE = b"connection: close\r\n"
_STATUS_LINES = {one.value: b"HTTP/1.1 %d %s\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}
_ONCE = (b"authorization", b"avalist-deadline-ms", VERSION[0], b"content-type", b"content-encoding")
encode_json = msgspec.json.Encoder().encode


async def read_body(given: Given, receive: Receive, limit: int) -> bytes:
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
    check_media(given)
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


def headers_of(headers: Sequence[Header]) -> Given:
    """Return a request's headers. Raises ``BadInput`` if one that we read was sent twice: which is meant?"""
    given = dict(headers)
    if len(given) < len(headers):
        names = [name for name, _ in headers if name in _ONCE]
        twice = next((name for name in names if names.count(name) > 1), b"")
        if twice:
            raise BadInput("sent twice", field=f"header {twice.decode().title()}", expected="once", got="twice")
    return given


def refuse_in_address(scope: Scope) -> None:
    """Raise ``CardNumberRefused`` if a card number stands in the path or the query: servers on the way log them."""
    if holds_card_number(scope["path"]) or holds_card_number(unquote_plus(scope["query_string"].decode("latin-1"))):
        raise CardNumberRefused(
            "a card number stands in the address; use a fingerprint instead. Nothing was stored",
            field="address",
            expected="no card number",
            got="a number of 13 to 19 digits (not shown)",
        )


def check_query(scope: Scope, known: Sequence[str]) -> None:
    """Raise ``BadInput`` for a parameter of the query that is none of `known`, or that stands twice."""
    if not scope["query_string"]:
        return
    names = [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1) or known
            expected = " or ".join(near) if near else "no parameter"
            raise BadInput("no such parameter", field="query", expected=expected, got=ascii(name)[1:-1][:32])
        if names.count(name) > 1:
            raise BadInput("sent twice", field=name, expected="once", got="twice")


def check_media(given: Given) -> None:
    """Raise ``UnsupportedMedia`` if the headers say that the body is not plain JSON in UTF-8."""
    kind, encoding = given.get(b"content-type"), given.get(b"content-encoding")
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


async def send_json(send: Send, body: bytes, more: Headers = (), status: int = 200, kind: Header = JSON) -> None:
    """Send a JSON body, with headers `more` than every answer has."""
    headers = [kind, VERSION, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def response(status: int, headers: Headers, body: bytes, *, keep_alive: bool) -> bytes:
    """Return the bytes of an HTTP/1.1 response, whole."""
    head = [_STATUS_LINES[status], *[b"%s: %s\r\n" % header for header in headers]]
    return b"".join([*head, b"content-length: %d\r\n" % len(body), b"" if keep_alive else _CLOSE, b"\r\n", body])


def status_headers(status: int) -> Headers:
    """Return what an answer of `status` says of who may come, or when to try again."""
    return _BY_STATUS.get(status, ())
