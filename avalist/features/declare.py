"""Feature definitions as data, and the default ones derived from a merchant's declared schema."""

from __future__ import annotations

from typing import Literal

import msgspec

from avalist.domain.records import FoldKind
from avalist.domain.row import MISSING
from avalist.domain.schema import DAY_MS

Aggregate = Literal[
    "value", "hour", "weekday", "known", "since_last", "since_first", "count", "sum", "mean", "max",
    "distinct", "rate", "captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean", "ratio",
    "min", "variance", "share", "last", "since_kth", "mean_last", "speed", "ring", "retired",
]  # fmt: skip

STEPS = 60
"""A window moves in steps of a sixtieth of its length (architecture §4.3)."""

LAGGED_STEPS = 120
"""With a lag they move by a part of window and lag: a report must not wait half a day to be seen."""

RUN_GAP = 4
"""A run of frauds ends where such a part of the window, a quarter, passes without one."""

ALL = "merchant"
"""The entity every event belongs to."""

PAYMENTS = 1 << FoldKind.PAYMENT
ACTIVITY = sum(1 << kind for kind in range(FoldKind.SESSION + 1))
"""Kinds that make an entity seen: payments, sign-ups, logins, changes, steps, sessions."""

DISTINCT_EXACT = 64
"""Distinct counts are exact up to so many live values, then a sketch of DISTINCT_CELLS cells (about 4 % error)."""
DISTINCT_CELLS = 1024


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column.

    `entity` may be composite, ``a+b+c``. `kinds` is the mask of fold kinds counted; `from_minor` and `below_minor`
    leave out events of smaller amounts, and of this one or larger. A window covers
    t(x) ≥ ⌊(t − window)/step⌋·step; with a lag it covers [⌊(t − lag − window)/step⌋·step, ⌊(t − lag)/step⌋·step).
    `include_current` adds the event asked about to its own count, sum, mean, max, min or variance, and makes an entity
    never seen a seen one.

    Of judged payments: `fraud_mean` is the mean amount of the frauds; `since_fraud` the seconds since the step of the
    latest one began, `since_first_fraud` the same of the first one of the latest run; `clean` the payments captured in
    later steps than the latest fraud's. A run ends where a RUN_GAP-th of the window passes without fraud.

    A share is the count over that of the events of the kinds `among` (those of `kinds` by default), of all amounts, of
    the entity `of` (the same by default). Of the `latest` events in the window, `last` is the value of the first of
    them, `since_kth` the seconds since it, `mean_last` the mean of all; the first two are unknown where there are
    fewer. `speed` is in km/h, from the place of the latest event that has one to this one's; `place` names the numbers
    of latitude and longitude in degrees. `ring` is the number of keys that `links` connect with the entity's own
    (:mod:`avalist.features.rings`). What is `retired` keeps its place alone: it is unknown.

    A ratio divides the columns `over` of this plan, or of this payment's amount. `prior` names the column that gives
    the rate's prior; `strength` is its weight in payments.
    """

    name: str
    aggregate: Aggregate
    entity: str = ""
    field: str = "amount"
    kinds: int = PAYMENTS
    window_ms: int = 0
    step_ms: int = 0
    lag_ms: int = 0
    include_current: bool = False
    of: str = ""
    over: tuple[str, str] | None = None
    prior: str = ""
    strength: float = 0.0
    from_minor: int | None = None
    below_minor: int | None = None
    among: int = 0
    latest: int = 0
    place: tuple[str, str] | None = None
    links: tuple[str, ...] = ()

    @property
    def limited(self) -> bool:
        """Return whether events of some amounts do not count."""
        return self.from_minor is not None or self.below_minor is not None

    def counts(self, amount_minor: int) -> bool:
        """Tell whether an event of an amount counts, or of none, which is ``MISSING``."""
        low = self.from_minor is None or amount_minor >= self.from_minor
        below = self.below_minor is None or amount_minor < self.below_minor
        return not self.limited or (amount_minor != MISSING and low and below)


def window_name(ms: int) -> str:
    """Return a window's name in its largest whole unit.

    >>> window_name(600_000), window_name(7 * DAY_MS)
    ('10m', '7d')
    """
    for unit, size in (("d", DAY_MS), ("h", 3_600_000), ("m", 60_000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


def windowed(entity: str, aggregate: Aggregate, window_ms: int, **more: object) -> Feature:
    """Return a windowed feature under its standard name ``entity__aggregate__field__window``.

    With `include_current` the aggregate's name ends in ``_own``.
    """
    field = str(more.get("field", "amount"))
    middle = {"count": "events", "distinct": str(more.get("of", ""))}.get(aggregate, field)
    if more.get("kinds") == 1 << FoldKind.AUTH_DECLINED:
        middle = "auth_declined"
    elif more.get("kinds") == 1 << FoldKind.LOGIN_FAILED:
        middle = "login_failed"
    own = "_own" if more.get("include_current") else ""
    name = f"{entity}__{aggregate}{own}__{middle}__{window_name(window_ms)}"
    settings = {"step_ms": max(window_ms // STEPS, 1), **more}
    return msgspec.convert(
        {"name": name, "aggregate": aggregate, "entity": entity, "window_ms": window_ms, **settings}, Feature
    )


def lagged(entity: str, aggregate: Aggregate, window_ms: int, lag_ms: int, **more: object) -> Feature:
    """Return a feature over payments old enough to have been judged: captured, frauds, rate and the like."""
    name = f"{entity}__{aggregate}__fraud__{window_name(window_ms)}"
    return msgspec.convert(
        {
            "name": name, "aggregate": aggregate, "entity": entity, "window_ms": window_ms, "lag_ms": lag_ms,
            "step_ms": max((window_ms + lag_ms) // LAGGED_STEPS, 1), **more,
        },
        Feature,
    )  # fmt: skip


def ratio(name: str, top: str, bottom: str) -> Feature:
    """Return the quotient of two columns; NaN where the lower is 0 or unknown."""
    return Feature(name=name, aggregate="ratio", over=(top, bottom))
