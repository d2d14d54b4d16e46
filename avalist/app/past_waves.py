"""The waves of a merchant's past, with what became of their payments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from avalist.app.dataset import Dataset
from avalist.app.waves import Shared, Wave

_SHARED: Final = 4


class PastWave(msgspec.Struct, frozen=True, kw_only=True):
    """A wave: `payments` of `minor` base minor units from `first_ms` to `last_ms`, the alarm at `opened_ms`.

    Of the `listed` ones, `before_alarm` came before it, `captured` went through, and `reported` were reported as fraud
    by the end of the log.
    """

    first_ms: int
    opened_ms: int
    last_ms: int
    payments: int
    minor: int
    listed: int
    before_alarm: int
    captured: int
    reported: int
    shared: tuple[Shared, ...]


def past_waves(data: Dataset, waves: Sequence[Wave]) -> tuple[PastWave, ...]:
    """Return the waves in the order in which they were opened, with the labels at the end of the log."""
    captured, fraud = data.known_at(data.cut_ms)
    place = {id: n for n, id in enumerate(data.background.payment_ids)}
    found = []
    for wave in waves:
        rows = [place[one.payment_id] for one in wave.payments if one.payment_id in place]
        found.append(
            PastWave(
                first_ms=wave.first_ms,
                opened_ms=wave.opened_ms,
                last_ms=wave.last_ms,
                payments=wave.count,
                minor=wave.amount_minor,
                listed=len(rows),
                before_alarm=sum(one.at_ms < wave.opened_ms for one in wave.payments),
                captured=int(captured[rows].sum()),
                reported=int((captured & fraud)[rows].sum()),
                shared=tuple(wave.shared[:_SHARED]),
            )
        )
    return tuple(found)
