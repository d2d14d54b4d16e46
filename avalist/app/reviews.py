"""Reviews: payments that a person is to look at, the most telling first, within the day's capacity."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Decision, Reason
from avalist.domain.schema import DAY_MS
from avalist.ports.documents import Documents

REVIEWS: Final = "reviews"
"""Collection of the payments that were to be reviewed."""
_MOST_READ: Final = 5_000
_LONGEST_MS: Final = 7 * DAY_MS
"""A review without a deadline, a fallback's, is listed so long."""
State = Literal["open", "beyond_capacity", "settled", "late", "lapsed"]


class ReviewCase(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that is to be reviewed, as it was decided, and what became of that.

    `value_minor` is the value of information: what a look is expected to earn above the best action without one, in
    base minor units. `default` is done past `deadline_ms`. `verdict` is what the reviewer did.
    """

    payment_id: str
    seq: int
    asked_ms: int
    amount_minor: int
    currency: str
    value_minor: int
    p_fraud: float | None = None
    risk_score: int | None = None
    reasons: tuple[Reason, ...] = ()
    deadline_ms: int | None = None
    default: Action | None = None
    verdict: str = ""
    by: str = ""
    settled_ms: int | None = None

    def state(self, now_ms: int) -> State:
        """Return how it stands: ``late`` was settled past its deadline, ``lapsed`` is past it and was not."""
        ends_ms = self.asked_ms + _LONGEST_MS if self.deadline_ms is None else self.deadline_ms
        if self.settled_ms is not None:
            return "late" if self.settled_ms > ends_ms else "settled"
        return "lapsed" if now_ms > ends_ms else "open"


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A review in the queue, and how it stands."""

    review: ReviewCase
    state: State


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Open reviews, the most telling first: as many as the capacity of the last 24 hours leaves are ``open``, the rest
    ``beyond_capacity`` and left to their default. `lapsed` counts those of these hours that nobody settled in time.
    """

    reviews: tuple[Queued, ...]
    settled: int
    lapsed: int
    capacity_per_day: int | None = None


def asked_for(core: EventCore, decision: Decision, asked_ms: int, currency: str) -> ReviewCase:
    """Return the review that a decision asks for."""
    facts, deadline_s = core.facts, decision.review_deadline_s
    profits = decision.expected_profit_minor
    others = [profit for action, profit in profits.items() if action != Action.REVIEW.value]
    return ReviewCase(
        payment_id=decision.payment_id,
        seq=decision.seq,
        asked_ms=asked_ms,
        amount_minor=facts.amount_base_minor if facts is not None else 0,
        currency=currency,
        value_minor=profits.get(Action.REVIEW.value, 0) - max(others, default=0),
        p_fraud=decision.p_fraud,
        risk_score=decision.risk_score,
        reasons=decision.reasons,
        deadline_ms=None if deadline_s is None else asked_ms + deadline_s * 1000,
        default=decision.review_default,
    )


def settled(review: ReviewCase, core: EventCore, at_ms: int) -> ReviewCase:
    """Return a review with its verdict; the first one stands."""
    if review.settled_ms is not None:
        return review
    verdict, _, by = core.verdict.partition(" ")
    return msgspec.structs.replace(review, verdict=verdict, by=by, settled_ms=at_ms)


def queue(documents: Documents, merchant: str, now_ms: int, capacity_per_day: int | None) -> Queue:
    """Return a merchant's queue of reviews."""
    found = [
        msgspec.json.decode(body, type=ReviewCase) for _, body in documents.find(merchant, REVIEWS, limit=_MOST_READ)
    ]
    today = now_ms - DAY_MS
    done = sum(review.settled_ms is not None and review.settled_ms > today for review in found)
    lapsed = sum(review.state(now_ms) == "lapsed" and review.asked_ms > today for review in found)
    waiting = [review for review in found if review.state(now_ms) == "open"]
    waiting.sort(key=lambda review: (-review.value_minor, review.seq))
    room = len(waiting) if capacity_per_day is None else max(capacity_per_day - done, 0)
    listed = [Queued(review=one, state="open" if n < room else "beyond_capacity") for n, one in enumerate(waiting)]
    return Queue(reviews=tuple(listed), settled=done, lapsed=lapsed, capacity_per_day=capacity_per_day)
