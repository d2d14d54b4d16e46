"""What an index remembers of a payment: where its first event stands, and eight bits of what became of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.row import CAPTURED_DELTA, FRAUD_DELTA, head_of
from avalist.features.jit import jit
from avalist.features.layout import I64

CAPTURED: Final = 1
FRAUD: Final = 2
CHECKPOINTS: Final = {"pre_auth": 4, "post_auth": 8, "rescore": 16}
FLAG_BITS: Final = 8


def flags_after(flags: int, row: bytes, checkpoint: str) -> int:
    """Return a payment's flags after one of its events, by the event's row and checkpoint."""
    _, _, _, captured, fraud = head_of(row)
    if fraud < 0:
        flags &= ~FRAUD
    return flags | (CAPTURED if captured > 0 else 0) | (FRAUD if fraud > 0 else 0) | CHECKPOINTS.get(checkpoint, 0)


@jit
def changes(rows: I64, positions: I64, came: I64) -> tuple[I64, I64, I64]:
    """Return the value that begins each event's payment, its bits to keep and its bits to add: :func:`flags_after` of
    many at once. `came` are the bits of their checkpoints.
    """
    values, keep, add = positions << FLAG_BITS, np.full_like(came, -1), came.copy()
    for n in range(len(rows)):
        captured, fraud = rows[n, CAPTURED_DELTA], rows[n, FRAUD_DELTA]
        if captured > 0:
            add[n] |= CAPTURED
        if fraud > 0:
            add[n] |= FRAUD
        elif fraud < 0:
            keep[n] &= ~FRAUD
    return values, keep, add
