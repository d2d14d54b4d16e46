"""Test payments: in a sandbox, a payment names the answer it wants, so that every branch of a caller can be tried.

It does so by its id, ``test_decline`` or ``test_decline-17``, or by an e-mail address at ``decline.avalist.test``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Decision, WarningCode
from avalist.domain.errors import AvalistError, RateLimited, Unavailable

DEGRADED: Final = "degraded"
SLOW: Final = "slow"
SLOW_S: Final = 3.0


class _Told(NamedTuple):
    action: Action
    p_fraud: float
    risk_score: int


ANSWERS: Final = {
    "approve": _Told(Action.APPROVE, 0.001, 1),
    "challenge": _Told(Action.CHALLENGE, 0.05, 80),
    "review": _Told(Action.REVIEW, 0.2, 95),
    "decline": _Told(Action.DECLINE, 0.9, 99),
}
PROBLEMS: Final[dict[str, type[AvalistError]]] = {"limited": RateLimited, "unavailable": Unavailable}
WORDS: Final = frozenset({*ANSWERS, *PROBLEMS, DEGRADED, SLOW})

_ID, _DOMAIN = "test_", ".avalist.test"


def told(payment_id: str, email_domain: str) -> str:
    """Return the word by which a payment asks for its answer; empty where it does not. Only a sandbox may ask.

    >>> told("test_decline-17", ""), told("order-1", "review.avalist.test"), told("test_me", "example.com")
    ('decline', 'review', '')
    """
    word = ""
    if payment_id.startswith(_ID):
        word = payment_id.removeprefix(_ID).partition("-")[0]
    elif email_domain.endswith(_DOMAIN):
        word = email_domain.removesuffix(_DOMAIN)
    return word if word in WORDS else ""


def rehearsed(decision: Decision, event: EventCore) -> Decision:
    """Return a sandbox's decision as its payment asks for it. Pure."""
    word = told(event.payment_id, event.facts.email_domain if event.facts else "")
    if not word:
        return decision
    changes: dict[str, Any] = {"warnings": (*decision.warnings, WarningCode.TEST_PAYMENT)}
    answer = ANSWERS.get(word)
    if answer is not None and decision.mode != "off":
        place = "action" if decision.mode == "live" else "advised_action"
        changes |= {place: answer.action, "p_fraud": answer.p_fraud, "risk_score": answer.risk_score}
    return msgspec.structs.replace(decision, **changes)
