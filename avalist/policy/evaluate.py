"""From a score to a decision: mode, economics; every part that took part is recorded."""

from __future__ import annotations

from avalist import ENGINE
from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Decision, Mode, Versions, WarningCode
from avalist.models.score import Scored
from avalist.policy.economics import Policy, choose

NO_MODEL = WarningCode.NO_ACTIVE_MODEL


def evaluate(
    event: EventCore,
    seq: int,
    scored: Scored | None,
    policy: Policy,
    mode: Mode,
    versions: Versions,
    warnings: tuple[WarningCode, ...] = (),
) -> Decision:
    """Decide one payment; `warnings` are those of the data. Pure."""
    if scored is None or event.facts is None:
        warnings = (NO_MODEL, *warnings) if mode != "off" else warnings
        missing = event.facts.missing if event.facts else ()
        return _decision(event, seq, mode, versions, Action.NOT_REVIEWED, warnings=warnings, missing=missing)
    action, profits = choose(scored.p_fraud, event.facts.amount_base_minor, policy)
    observing = mode == "observe"
    return _decision(
        event,
        seq,
        mode,
        versions,
        Action.NOT_REVIEWED if observing else action,
        advised_action=action if observing else None,
        p_fraud=scored.p_fraud,
        risk_score=scored.risk_score,
        reasons=scored.reasons,
        expected_profit_minor=profits,
        warnings=warnings,
        missing=event.facts.missing,
    )


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
