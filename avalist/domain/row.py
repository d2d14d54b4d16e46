"""The fold row: one event as the kernel sees it, a flat vector of little-endian int64 words.

::

    0 kind            FoldKind
    1 at              arrival, ms since 1970 (received_at; never decreases)
    2 t               own time, ms, clamped to arrival; of an outcome: its payment's time
    3 captured_delta  +1 when the payment becomes captured, else 0
    4 fraud_delta     change of the payment's fraud label: −1, 0, +1
    5 occurred        what the event says of its time, ms (data: hour of day)
    6 …               values: amount in base minor units, then declared numbers; MISSING where absent
    … end             keys: declared entities, then categories; 0 where absent
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import Final

from avalist.domain.schema import Schema

KIND: Final = 0
AT: Final = 1
T: Final = 2
CAPTURED_DELTA: Final = 3
FRAUD_DELTA: Final = 4
OCCURRED: Final = 5
VALUES: Final = 6
MISSING: Final = -(2**63)
LARGEST_NUMBER: Final = 10**12
"""The most that a declared number may be once it is scaled, as an amount: nine million of them add up in 64 bits."""
_HEAD: Final = struct.Struct("<5q")


def keys_at(schema: Schema) -> int:
    """Return where the keys begin."""
    return VALUES + 1 + len(schema.numbers)


def row_width(schema: Schema) -> int:
    """Return the number of words of a fold row of `schema`."""
    return keys_at(schema) + len(schema.entities) + len(schema.categories)


def pack_row(words: Sequence[int]) -> bytes:
    """Return the row's bytes.

    >>> unpack_row(pack_row([0, 5, MISSING])) == (0, 5, MISSING)
    True
    """
    return _format(len(words)).pack(*words)


def unpack_row(row: bytes) -> tuple[int, ...]:
    """Return the row's words."""
    return _format(len(row) // 8).unpack(row)


def head_of(row: bytes) -> tuple[int, int, int, int, int]:
    """Return the words before `OCCURRED`."""
    return _HEAD.unpack_from(row)


def with_head(row: bytes, kind: int, at_ms: int, t_ms: int, captured_delta: int, fraud_delta: int) -> bytes:
    """Return the row with other words before `OCCURRED`.

    >>> unpack_row(with_head(pack_row([1, 2, 3, 4, 5, 6, 7]), 9, 8, 7, 1, 0))
    (9, 8, 7, 1, 0, 6, 7)
    """
    return _HEAD.pack(kind, at_ms, t_ms, captured_delta, fraud_delta) + row[_HEAD.size :]


@functools.cache
def _format(words: int) -> struct.Struct:
    return struct.Struct(f"<{words}q")
