"""What the service answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

Mode = Literal["off", "observe", "live"]


class Action(StrEnum):
    """What to do with a payment."""

    APPROVE = "approve"
    CHALLENGE = "challenge"
    REVIEW = "review"
    DECLINE = "decline"
    NOT_REVIEWED = "not_reviewed"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One feature's part in the score, in log-odds; positive raises the risk."""

    feature: str
    value: float | None
    contribution: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one payment at one checkpoint.

    `p_fraud` is P(fraud report), rounded to 1e-9, or None where nothing was scored; `risk_score` its percentile among
    the model's calibration payments, 0 to 99. `expected_profit_minor` gives each possible action's expected profit in
    minor units of the base currency. In mode ``observe`` the action is ``not_reviewed`` and `advised_action` says what
    live would have done.
    """

    payment_id: str
    event_id: str
    checkpoint: str
    action: Action
    seq: int
    engine: int
    mode: Mode
    advised_action: Action | None = None
    p_fraud: float | None = None
    risk_score: int | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    expected_profit_minor: dict[str, int] = {}
    cover: Literal["unrequested"] = "unrequested"
    model_version: str = ""
    policy_version: str = ""
    degraded: bool = False
    durable: bool = True
