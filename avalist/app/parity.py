"""Parity: the features of logged decisions, folded again and compared byte by byte with those that are logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from avalist.domain.core import EventCore

if TYPE_CHECKING:
    from avalist.app.merchant import Merchant
    from avalist.features.state import F32

_MOST_SHOWN = 5


class Checked(msgspec.Struct, kw_only=True):
    """How a merchant's decisions compare, under one plan: how many were checked, how many differ, and the first that
    does.
    """

    plan: str
    checked: int = 0
    different: int = 0
    first: str = ""


_NOTES = msgspec.json.Decoder(dict[str, Checked])


class Parity:
    """Counts by merchant. Budget: none may differ."""

    def __init__(self, notes: bytes = b"") -> None:
        self.merchants: dict[str, Checked] = _NOTES.decode(notes) if notes else {}

    def notes(self) -> bytes:
        """Return the counts as bytes: a new ``Parity`` goes on from them."""
        return msgspec.json.encode(self.merchants)

    def compare(self, merchant: Merchant, events: Sequence[EventCore], logged: Sequence[bytes], again: F32) -> None:
        """Compare the logged features of events with those read again, float32 [n, columns]."""
        found = self.merchants.setdefault(merchant.id, Checked(plan=merchant.plan.hash))
        found.plan = merchant.plan.hash
        found.checked += len(events)
        for event, was, now in zip(events, logged, again, strict=True):
            if was != now.tobytes():
                found.different += 1
                found.first = found.first or f"payment {event.payment_id}: {_columns(merchant, was, now.tobytes())}"


def _columns(merchant: Merchant, was: bytes, now: bytes) -> str:
    """Say which columns differ."""
    if len(was) != len(now):
        return f"{len(was) // 4} columns are logged, the plan has {len(now) // 4}"
    differ = np.flatnonzero(np.frombuffer(was, "<u4") != np.frombuffer(now, "<u4")).tolist()
    shown = ", ".join(
        f"{merchant.plan.columns[n]} {np.frombuffer(was, '<f4')[n]:g} → {np.frombuffer(now, '<f4')[n]:g}"
        for n in differ[:_MOST_SHOWN]
    )
    return f"{len(differ)} columns differ: {shown}"
