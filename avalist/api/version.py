"""Versions of the contract, by date, and how a part of it is retired (docs/reference/api.md#versions)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Final, NamedTuple

from avalist.domain.errors import UnknownVersion

CURRENT: Final = "2026-11-25"
KNOWN: Final = (CURRENT,)
VERSION_HEADER: Final = "Avalist-Version"
_KNOWN = frozenset(version.encode() for version in KNOWN)


class Deprecation(NamedTuple):
    """A part that is retired: since when it is discouraged, from when it may be gone, and what to read."""

    since: dt.datetime
    sunset: dt.datetime
    link: str


DEPRECATED: dict[str, Deprecation] = {}
"""Operations that are retired, by their id. They go on working until their sunset."""


def check_version(given: bytes | None) -> None:
    """Raise ``UnknownVersion`` for a pinned version that is not known; none is the current one."""
    if given is not None and given not in _KNOWN:
        raise UnknownVersion(
            "this service does not speak that version of the contract: pin a known one, or leave the header out",
            field=f"header {VERSION_HEADER}",
            expected=" or ".join(KNOWN),
            got=given[:32].decode("latin-1"),
        )


def deprecation_headers(operation: str, table: Mapping[str, Deprecation] = DEPRECATED) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell of an operation's end: RFC 9745 and RFC 8594; none where it has none.

    >>> since, sunset = dt.datetime(2027, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 7, 1, tzinfo=dt.UTC)
    >>> deprecation_headers("decide", {"decide": Deprecation(since, sunset, "/problems")})[0]
    (b'deprecation', b'@1798761600')
    """
    retired = table.get(operation)
    if retired is None:
        return []
    sunset = format_datetime(retired.sunset.astimezone(dt.UTC), usegmt=True)
    return [
        (b"deprecation", b"@%d" % retired.since.timestamp()),
        (b"sunset", sunset.encode()),
        (b"link", f'<{retired.link}>; rel="deprecation"; type="text/html"'.encode()),
    ]
