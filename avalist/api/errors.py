"""The error table: each of our errors as an RFC 9457 problem document."""

from __future__ import annotations

from functools import cache
from html import escape

import msgspec

from avalist.domain import errors as e
from avalist.domain.cards import holds_card_number

STATUS: dict[type[e.AvalistError], int] = {
    e.UnknownVersion: 400,
    e.CardNumberRefused: 422,
    e.BodyTooLarge: 413,
    e.UnsupportedMedia: 415,
    e.UnknownCurrency: 422,
    e.ClockWentBack: 422,
    e.BadInput: 422,
    e.NotAuthenticated: 401,
    e.NotAllowed: 403,
    e.NotFound: 404,
    e.Conflict: 409,
    e.RateLimited: 429,
    e.Overloaded: 429,
    e.LogFailed: 503,
    e.Superseded: 503,
    e.Unavailable: 503,
    e.ArtefactInvalid: 422,
    e.DataFolderLocked: 503,
    e.LogCorrupt: 503,
    e.ReplayMismatch: 503,
}
"""HTTP status by error; the first base class that stands here counts."""

_NO_JSON = (
    "JSON is malformed",
    "Input data was truncated",
    "the body is not valid UTF-8 JSON",
    "the body is nested",
    "the body ended",
)


_SHOWN = 600
_PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>Problems</title><h1>Problems</h1>{}</html>"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document; `field`, `expected` and `got` name what to mend."""

    type: str
    title: str
    status: int
    detail: str
    field: str = ""
    expected: str = ""
    got: str = ""


def problem_of(error: e.AvalistError) -> Problem:
    """Return the problem document of an error.

    >>> problem_of(e.NotFound("no such payment")).status
    404
    """
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    name = type(error).__name__
    title = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
    if isinstance(error, e.BadInput) and error.detail.startswith(_NO_JSON):
        status = 400
    return Problem(
        type=f"/problems#{title.replace(' ', '-')}",
        title=title.capitalize(),
        status=status,
        detail=shown(str(error)),
        field=shown(error.field),
        expected=shown(error.expected),
        got=shown(error.got),
    )


def shown(text: str) -> str:
    """Return the beginning of `text`, unless a card number stands in it: errors repeat what came."""
    if holds_card_number(text[: 2 * _SHOWN]):
        return "(a card number: not shown)"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@cache
def problems_page() -> bytes:
    """Return the page that the types of problem lead to: each error's anchor, status and meaning."""
    parts = []
    for kind in STATUS:
        problem, (meaning, *_) = problem_of(kind("")), (kind.__doc__ or "").splitlines()
        anchor = problem.type.partition("#")[2]
        parts.append(f"<h2 id={anchor}>{problem.title}</h2><p>Status {problem.status}. {escape(meaning)}</p>")
    return _PAGE.format("".join(parts)).encode()
