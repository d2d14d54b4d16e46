"""The elements of a JSON array, however long it is: read block by block, cut where one ends."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final

import msgspec

from avalist.domain.errors import BadInput

_BLOCK_BYTES: Final = 4 << 20
_HEAD_BYTES: Final = 4096
"""The array begins within these."""
MOST_HELD_BYTES: Final = 64 << 20
"""What must be held to find where an element ends: more is refused before it fills the memory."""
_FIRST: Final = re.compile(rb'\{\s*"[^"\\]*"')
_COMMA: Final = re.compile(rb"\s*,")
_TRIED: Final = 1_000
"""An object that holds a list of objects ends nowhere in that; so many places are tried, from the last one back."""
_decode: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def elements(stream: BinaryIO, name: str, block_bytes: int = _BLOCK_BYTES) -> Iterator[list[bytes]]:
    """Yield the elements of the array that a stream holds, some at a time; `name` is the file's.

    An array is cut where an object ends, if what stands before is whole by itself.

    Raises
    ------
    BadInput
        If it is no JSON, or no object ends within 64 MiB.

    >>> import io
    >>> [*elements(io.BytesIO(b'[{"a": "},"}, {"b": [{}, {}]}]'), "x")]
    [[b'{"a": "},"}', b'{"b": [{}, {}]}']]
    """
    held = stream.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().removeprefix(b"[")
    for block in iter(partial(stream.read, block_bytes), b""):
        for end in _ends(held):
            try:
                found = _decode(b"[%b]" % held[:end])
            except msgspec.DecodeError:
                continue
            yield list(map(bytes, found))
            held = held[end:].lstrip().removeprefix(b",")
            break
        held += block
        if len(held) > MOST_HELD_BYTES + block_bytes:
            expected = f"JSON objects of at most {MOST_HELD_BYTES >> 20} MiB; JSON lines may be longer in all"
            raise BadInput("no object of the JSON array ends", field=name, expected=expected, got="more")
    try:
        yield list(map(bytes, _decode(b"[%b" % held)))
    except msgspec.DecodeError as error:
        raise BadInput("the JSON array is damaged", field=name, expected="JSON", got=str(error)[:100]) from None


def _ends(held: bytes) -> Iterator[int]:
    """Yield where objects may end, the last first; before all, where the next one begins with the same name."""
    first = _FIRST.match(held)
    if first:
        yield from _before(held, re.compile(rb"\s*,\s*%b" % re.escape(first[0])))
    yield from _before(held, _COMMA)


def _before(held: bytes, follows: re.Pattern[bytes]) -> Iterator[int]:
    end = len(held)
    for _ in range(_TRIED):
        end = held.rfind(b"}", 0, end)
        if end < 0:
            return
        if follows.match(held, end + 1):
            yield end + 1
