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
    SESSION_MISSING = "session_missing"
    FIELDS_MISSING = "fields_missing"
    CREATED_AFTER_OCCURRED = "created_after_occurred"
    OCCURRED_IN_FUTURE = "occurred_in_future"
    OCCURRED_LONG_AGO = "occurred_long_ago"
    CURRENCY_NEW = "currency_new"
    AMOUNT_UNUSUAL = "amount_unusual"
    WAVE = "wave"


class Factor(StrEnum):
    """What turned an action away from the most profitable one. A code is never removed: logs hold it."""

    BUDGET = "budget"
    CAPACITY = "capacity"
    PRODUCT_LIMIT = "product_limit"
    NEW_ACCOUNT_LIMIT = "new_account_limit"
    EXPLORED = "explored"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One feature's part in the score, in log-odds; positive raises the risk."""

    feature: str
    value: float | None
    contribution: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one payment at one checkpoint.

    `p_fraud` is P(fraud report), rounded to 1e-9, or None where nothing was scored; `risk_score` its percentile among
    the payments before the model's training, 0 to 99. `expected_profit_minor` gives the expected profit of every action
    that could have been taken, in minor units of the base currency. In mode ``observe`` the action is ``not_reviewed``
    and `advised_action` says what live would have done.

    `factors` say what turned the choice away from the best of them. `propensity` is the chance with which the policy
    takes the action it took (`advised_action` in mode ``observe``), given all that it knew: 1 but for would-be declines
    that might have been released; with ``explored`` among the `factors`, this one was. A review has a deadline, and
    what is to be done past it.

    `missing` names the sources of the merchant's schema that the payment gives nothing for. `generation` and `seq` name
    the decision: `seq` counts the inputs of that generation.
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
    propensity: float = 1.0
    factors: tuple[Factor, ...] = ()
    review_deadline_s: int | None = None
    review_default: Action | None = None
