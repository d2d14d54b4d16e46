"""Types that are known before threads begin.

msgspec learns what a type consists of when the first decoder for it is made, and for a moment a second thread can find
the half of it: it then reads an address that is none, and the process dies (seen at a take-over, when threads opened
partitions side by side).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec


def learn_types() -> int:
    """Make a decoder for each of our structs that is imported, on one thread; return how many there are.

    >>> from avalist.domain.records import Record
    >>> learn_types() > 0
    True
    """
    ours = [one for one in _below(msgspec.Struct) if one.__module__.startswith("avalist.")]
    for one in ours:
        with suppress(TypeError, NameError):  # one that nobody decodes
            msgspec.msgpack.Decoder(one)
    return len(ours)


def _below(kind: type) -> Iterator[type]:
    below: list[type] = kind.__subclasses__()
    for one in below:
        yield one
        yield from _below(one)
