"""What the service answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

Mode = Literal["off", "observe", "live"]


class Action(StrEnum):
    """What to do with a payment."""

    APPROVE = "approve"
    CHALLENGE = "challenge"
    REVIEW = "review"
    DECLINE = "decline"
    NOT_REVIEWED = "not_reviewed"


class Versions(NamedTuple):
    """What a merchant decides by: its active model (empty if none), its policy, and the generation of its log."""

    model: str
    policy: str
    generation: int = 1


class WarningCode(StrEnum):
    """What an answer's reader should know of the data it was made from. A code is never removed: logs hold it."""

    NO_ACTIVE_MODEL = "no_active_model"
    TEST_PAYMENT = "test_payment"
    CUSTOMER_MISSING = "customer_missing"
    EMAIL_MISSING = "email_missing"
    EMAIL_MALFORMED = "email_malformed"
    METHOD_MISSING = "method_missing"
    BIN_MISSING = "bin_missing"
    DEVICE_MISSING = "device_missing"
    IP_MISSING = "ip_missing"
    IP_NOT_PUBLIC = "ip_not_public"
    FIELDS_MISSING = "fields_missing"
    CREATED_AFTER_OCCURRED = "created_after_occurred"
    OCCURRED_IN_FUTURE = "occurred_in_future"
    OCCURRED_LONG_AGO = "occurred_long_ago"
    CURRENCY_NEW = "currency_new"
    AMOUNT_UNUSUAL = "amount_unusual"
    WAVE = "wave"


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
    live would have done. `missing` names the sources of the merchant's schema that the payment gives nothing for.
    `generation` and `seq` name the decision: `seq` counts the inputs of that generation.
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
    warnings: tuple[WarningCode, ...] = ()
    missing: tuple[str, ...] = ()
    expected_profit_minor: dict[str, int] = {}
    cover: Literal["unrequested"] = "unrequested"
    model_version: str = ""
    policy_version: str = ""
    degraded: bool = False
    durable: bool = True
    generation: int = 1
