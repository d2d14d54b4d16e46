"""How the models did on parts of the payments: by product, age of the account, and amount."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from avalist.app.grade import Graded
from avalist.app.past import age
from avalist.models.judge import declined_share
from avalist.models.metrics import Interval
from avalist.models.trees import F64, I64
from avalist.policy.choose import Sold

APPROVAL: Final = 0.99
"""All segments share one threshold: the one at which so many of all graded payments are approved."""
_MOST: Final = 8
_FEWEST_FRAUDS: Final = 5
"""A segment with fewer says nothing about quality."""
_QUARTERS: Final = ("lowest quarter of amounts", "second quarter", "third quarter", "highest quarter of amounts")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Graded payments of one kind. `declined` is their share that is declined where ``APPROVAL`` of all are approved,
    `stopped` the share of their fraud money that this holds, `level` observed over expected fraud; both None where
    there are too few frauds to tell.
    """

    by: str
    name: str
    payments: int
    frauds: int
    minor: int
    fraud_minor: int
    declined: float
    stopped: Interval | None
    level: Interval | None

    @property
    def fraud_rate(self) -> float:
        """Return the share of payments that was reported as fraud."""
        return self.frauds / self.payments


def segments(graded: Graded) -> tuple[Segment, ...]:
    """Return the largest segments by each way to part the payments; a way that parts nothing is left out."""
    sold = [graded.data.background.sold[row] for row in graded.rows.tolist()] if graded.data.background.sold else []
    return tuple(
        segment
        for by, names, place in _ways(sold, graded.judged.amount)
        if len(names) > 1
        for segment in _parts(graded, by, names, place)
    )


def _ways(sold: Sequence[Sold], amount: F64) -> Iterator[tuple[str, list[str], I64]]:
    """Yield what payments can be told apart by: the names of the parts, and each payment's place among them."""
    if sold:
        yield "product", *_named([one.product or one.item_kind or "unknown" for one in sold])
        yield "age of the account", *_named([age(one.account_age_s) for one in sold])
    edges = np.quantile(amount, (0.25, 0.5, 0.75))
    yield "amount", list(_QUARTERS), np.searchsorted(edges, amount, side="left")


def _named(values: Sequence[str]) -> tuple[list[str], I64]:
    names, place = np.unique(np.array(values), return_inverse=True)
    return names.tolist(), place


def _parts(graded: Graded, by: str, names: Sequence[str], place: I64) -> Iterator[Segment]:
    p, y, amount, _ = graded.judged
    out, due = declined_share(p, APPROVAL), p * graded.reported[graded.rows]
    draws = graded.draws(graded.rows)
    largest = np.argsort(-np.bincount(place, minlength=len(names)), kind="stable")[:_MOST]
    for k in sorted(largest.tolist()):
        here = (place == k).astype(np.float64)
        frauds = int(here @ y)
        if not here.any():
            continue
        told = frauds >= _FEWEST_FRAUDS
        yield Segment(
            by=by,
            name=names[k],
            payments=int(here.sum()),
            frauds=frauds,
            minor=int(here @ amount),
            fraud_minor=int(here @ (y * amount)),
            declined=float(here @ out / here.sum()),
            stopped=draws.ratio(here * out * y * amount, here * y * amount) if told else None,
            level=draws.ratio(here * y, here * due) if told else None,
        )
