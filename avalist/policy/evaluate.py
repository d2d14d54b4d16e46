"""From a score to a decision: mode, economics, exploration; every part that took part is recorded."""

from __future__ import annotations

from typing import Final

import msgspec

from avalist import ENGINE
from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Decision, Factor, Mode, Versions, WarningCode
from avalist.models.score import Scored
from avalist.models.trees import F32
from avalist.policy.choose import Choice, Desk
from avalist.policy.economics import Policy
from avalist.policy.explore import Explorer

NO_MODEL = WarningCode.NO_ACTIVE_MODEL
_NOTHING_MORE: Final[dict[str, object]] = {}


def evaluate(
    event: EventCore,
    seq: int,
    scored: Scored | None,
    desk: Desk,
    mode: Mode,
    versions: Versions,
    warnings: tuple[WarningCode, ...] = (),
    explored: tuple[Explorer, F32] | None = None,
) -> Decision:
    """Decide one payment. Pure.

    `versions` are of the model and the policy, `warnings` those of the data; `explored` is how declines may be
    released, with the columns that the payment saw; None where none may.
    """
    if scored is None or event.facts is None:
        warnings = (NO_MODEL, *warnings) if mode != "off" else warnings
        missing = event.facts.missing if event.facts else ()
        return _decision(event, seq, mode, versions, Action.NOT_REVIEWED, warnings=warnings, missing=missing)
    choice, more = desk.choose(scored.p_fraud, event.facts), _NOTHING_MORE
    if choice.action is not Action.APPROVE or choice.factors:
        explored = None if WarningCode.WAVE in warnings else explored
        choice, more = _further(choice, event, scored.p_fraud, desk, explored)
    observing = mode == "observe"
    return _decision(
        event,
        seq,
        mode,
        versions,
        Action.NOT_REVIEWED if observing else choice.action,
        advised_action=choice.action if observing else None,
        p_fraud=scored.p_fraud,
        risk_score=scored.risk_score,
        reasons=scored.reasons,
        expected_profit_minor=choice.profits,
        warnings=warnings,
        missing=event.facts.missing,
        **more,
    )


def _further(
    choice: Choice, event: EventCore, p_fraud: float, desk: Desk, explored: tuple[Explorer, F32] | None
) -> tuple[Choice, dict[str, object]]:
    """Return what becomes of a choice that is not just to approve, and what the decision says of that."""
    more: dict[str, object] = {"factors": choice.factors}
    review = desk.policy.review
    if choice.action is Action.REVIEW and review is not None:
        return choice, more | {"review_deadline_s": review.deadline_s, "review_default": Action(review.default)}
    if choice.action is not Action.DECLINE or explored is None or event.facts is None:
        return choice, more
    explorer, features = explored
    chance = desk.release_chance(p_fraud, event.facts) if explorer.quiet(event, features) else 0.0
    if explorer.draw(event) >= chance:
        return choice, more | {"propensity": 1.0 - chance}
    released = msgspec.structs.replace(choice, action=Action.APPROVE)
    return released, {"factors": (*choice.factors, Factor.EXPLORED), "propensity": chance}


def fall_back(event: EventCore, seq: int, policy: Policy, mode: Mode, versions: Versions) -> Decision:
    """Return the merchant's fallback answer to a payment: given before the log is durable, and saying so."""
    amount = event.facts.amount_base_minor if event.facts else 0
    action = policy.fallback.action(amount) if mode == "live" else Action.NOT_REVIEWED
    return _decision(event, seq, mode, versions, action, degraded=True, durable=False)


def _decision(event: EventCore, seq: int, mode: Mode, versions: Versions, action: Action, **more: object) -> Decision:
    return Decision(
        payment_id=event.payment_id,
        event_id=event.event_id,
        checkpoint=event.checkpoint,
        action=action,
        seq=seq,
        engine=ENGINE,
        mode=mode,
        model_version=versions.model,
        policy_version=versions.policy,
        generation=versions.generation,
        **more,  # type: ignore[arg-type]
    )
