"""Economics and the step from a score to an action."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist import ENGINE
from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Mode, Versions
from avalist.domain.errors import BadInput
from avalist.domain.facts import Facts
from avalist.models.score import Scored
from avalist.policy.choose import Desk
from avalist.policy.economics import Fallback, Policy, decode_policy, expected_profit, policy_version
from avalist.policy.evaluate import NO_MODEL, evaluate, fall_back

VERSIONS = Versions("model", "policy", 3)
PROBABILITIES = st.floats(0, 1)
AMOUNTS = st.integers(0, 10**12)


def core(amount: int = 10_000) -> EventCore:
    return EventCore("payment", "e1", b"", "p1", "pre_auth", b"", Facts(amount_base_minor=amount))


@pytest.mark.parametrize(
    ("p", "approve", "decline"), [(0.0, 800.0, -300.0), (1.0, -11_200.0, 0.0), (0.5, 400 - 5600, -150.0)]
)
def test_expected_profit_by_hand(p: float, approve: float, decline: float) -> None:
    assert expected_profit(p, 10_000, Policy()) == pytest.approx((approve, decline))


@given(PROBABILITIES, PROBABILITIES, AMOUNTS)
def test_more_risk_never_earns_more(p: float, q: float, amount: int) -> None:
    low, high = (expected_profit(x, amount, Policy()) for x in sorted((p, q)))
    assert high[0] <= low[0]
    assert high[1] >= low[1]


@given(PROBABILITIES, AMOUNTS)
def test_the_chosen_action_earns_most(p: float, amount: int) -> None:
    choice = Desk(Policy()).choose(p, Facts(amount_base_minor=amount))
    assert choice.profits[choice.action.value] == max(choice.profits.values())


def test_a_tie_approves() -> None:
    free = Policy(margin=0.0, chargeback_cost_minor=0, lifetime_value_minor=0)
    assert Desk(free).choose(0.0, Facts(amount_base_minor=100)).action == Action.APPROVE


def test_disputes_alone_cost_money() -> None:
    never = Policy(dispute_share=0.0)
    assert expected_profit(1.0, 10_000, never)[0] == expected_profit(0.0, 10_000, never)[0]


@pytest.mark.parametrize("mode", ["observe", "live"])
def test_a_scored_payment(mode: Mode) -> None:
    decision = evaluate(core(), 7, Scored(2.0, 0.9, 50, ()), Desk(Policy()), mode, VERSIONS)
    assert (decision.p_fraud, decision.risk_score, decision.seq, decision.engine) == (0.9, 50, 7, ENGINE)
    assert (decision.model_version, decision.policy_version, decision.generation) == VERSIONS
    assert {decision.action, decision.advised_action} == (
        {Action.DECLINE, None} if mode == "live" else {Action.NOT_REVIEWED, Action.DECLINE}
    )


@pytest.mark.parametrize(("mode", "warnings"), [("live", (NO_MODEL,)), ("observe", (NO_MODEL,)), ("off", ())])
def test_an_unscored_payment_is_not_reviewed(mode: Mode, warnings: tuple[str, ...]) -> None:
    decision = evaluate(core(), 7, None, Desk(Policy()), mode, VERSIONS)
    assert (decision.action, decision.p_fraud, decision.warnings) == (Action.NOT_REVIEWED, None, warnings)


@pytest.mark.parametrize(
    ("beyond", "amount", "action"),
    [("review", 500, Action.APPROVE), ("review", 501, Action.REVIEW), ("decline", 501, Action.DECLINE)],
)
def test_a_fallback_says_what_it_is(beyond: str, amount: int, action: Action) -> None:
    policy = Policy(fallback=msgspec.convert({"approve_up_to_minor": 500, "beyond": beyond}, Fallback))
    decision = fall_back(core(amount), 7, policy, "live", VERSIONS)
    assert (decision.action, decision.degraded, decision.durable, decision.p_fraud) == (action, True, False, None)


@pytest.mark.parametrize(
    ("json", "field"),
    [
        (b'{"margin":1.1}', "$.margin"),
        (b'{"deadline_ms":0}', "$.deadline_ms"),
        (b'{"lifetime_value_minor":-1}', "$.lifetime_value_minor"),
        (b'{"fallback":{"beyond":"approve"}}', "$.fallback.beyond"),
        (b'{"fee":1}', "$.fee"),
        (b"", "$"),
    ],
)
def test_a_policy_that_does_not_fit_names_the_field(json: bytes, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        decode_policy(json)
    assert refused.value.field == field


def test_the_version_is_of_the_content() -> None:
    same = decode_policy(b'{"deadline_ms": 50, "margin":0.08}')
    assert policy_version(same) == policy_version(Policy()) != policy_version(Policy(margin=0.09))
