"""The watch over a model that the gate let in: what it does now, beside the model before it on the same payments.

Labels come weeks late, so the watch asks what can be told within hours: whether it declines otherwise than the gate
saw it decline, and whether more reports come than it expects. What differs by much is taken back; the model before it
was good enough yesterday.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from avalist.app.backtest import let_in
from avalist.app.gate import Read, Shadow, reported_by, shadow
from avalist.app.lineage import HOUR_MS, Standing
from avalist.app.past import Bools, Period
from avalist.domain.core import Check, Evidence
from avalist.domain.errors import BadInput
from avalist.models.artefact import Artefact
from avalist.models.level import ALARM_Z, z_beyond

HOURS: Final = (6, 72)
"""It looks back so many hours, never beyond the activation."""
FEWEST: Final = 100
"""Fewer payments tell nothing."""
MOST_MORE: Final = 0.1
"""Declines may differ from what the gate saw by so much of all payments."""
_FEWEST_REPORTS: Final = 3
_SIGMAS: Final = 4.0


class Watched(NamedTuple):
    """The model on trial, and the one to go back to."""

    active: Artefact
    previous: Artefact


def look(read: Read, merchant: str, standing: Standing, watched: Watched, now_ms: int) -> Evidence | None:
    """Look at the decisions since the activation; None where they are too few. A failed check takes the model back."""
    begin = standing.activated_ms
    try:
        seen = shadow(read, merchant, watched.active, watched.previous, Period(begin, now_ms + 1))
    except BadInput:  # no payment since
        return None
    if len(seen.before) < FEWEST:
        return None
    t_ms = seen.past.t_ms
    return Evidence(
        against=watched.previous.version,
        from_ms=begin,
        to_ms=now_ms,
        payments=len(t_ms),
        declined=float((~seen.after).mean()),
        declined_before=float((~seen.before).mean()),
        checks=(*_declines(seen, standing.evidence or Evidence(), now_ms), _reports(seen, watched.active)),
    )


def _declines(seen: Shadow, gate: Evidence, now_ms: int) -> Iterator[Check]:
    for hours in HOURS:
        rows = seen.past.t_ms >= now_ms - hours * HOUR_MS
        if rows.sum() >= FEWEST:
            yield _declined(seen, rows, gate, f"declines, last {hours} h")


def _declined(seen: Shadow, rows: Bools, gate: Evidence, name: str) -> Check:
    """Compare how much more it declines than the model before it with how much more it did in the gate."""
    after, before = ~seen.after[rows], ~seen.before[rows]
    n, expected = len(after), gate.declined - gate.declined_before
    more = float(after.mean() - before.mean())
    luck = _SIGMAS * math.sqrt(max(float((after != before).mean()), 1.0 / n) / n)
    words = (
        f"of {n:,} payments it declines {after.mean():.1%}, the model before it would decline {before.mean():.1%}; "
        f"in the gate the difference was {expected:+.1%}"
    )
    return Check(name, abs(more - expected) <= max(MOST_MORE, luck), words)


def _reports(seen: Shadow, active: Artefact) -> Check:
    past = seen.past
    rows = let_in(past) & past.captured
    observed = float(past.fraud[rows].sum())
    expected = float(np.sum(past.p[rows] * reported_by(past, active)[rows]))
    bad = observed >= _FEWEST_REPORTS and z_beyond(observed, expected) >= ALARM_Z
    words = f"{observed:.0f} frauds among them are reported, {expected:.2f} were expected by now"
    return Check("reports", not bad, words)
