"""Capabilities, limits, budgets: what turns a choice, and what is said of it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.domain.core import Solved
from avalist.domain.decisions import Action, Factor
from avalist.domain.facts import Facts
from avalist.policy.budgets import expected, solve, trace
from avalist.policy.choose import ORDER, Desk, Offers, Sold, in_words, sold_of
from avalist.policy.economics import (
    PRESETS,
    Budgets,
    Challenge,
    IssuerRates,
    Limits,
    Policy,
    Review,
    expected_profit,
    policy_version,
)

RISKS = st.floats(0, 1)
AMOUNTS = st.integers(0, 10**7)
EVERYTHING = Policy(challenge=Challenge(), review=Review(), budgets=Budgets(count_bps=1.0, value_bps=1.0))
PRICES = Solved(policy="", count_minor=300.0, value=1.5, review_minor=20.0)


def offers(n: int = 4000, seed: int = 0) -> Offers:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.05, 2.0, n)
    return Offers(p, rng.integers(500, 20_000, n).astype(float), np.full(n, 0.08), np.zeros(n))


@given(RISKS, AMOUNTS)
def test_a_budget_moves_the_threshold_as_the_design_says(p: float, amount: int) -> None:
    policy = Policy(budgets=Budgets(count_bps=1.0, value_bps=1.0))
    most = (policy.margin * amount + 300) / (amount + 2000 + 300 + PRICES.count_minor + PRICES.value * amount)
    if abs(p - most) > 1e-9:
        expected_action = Action.APPROVE if p < most else Action.DECLINE
        assert Desk(policy, PRICES).choose(p, Facts(amount_base_minor=amount)).action == expected_action


@given(RISKS, AMOUNTS)
def test_many_are_chosen_for_as_one_by_one(p: float, amount: int) -> None:
    desk = Desk(EVERYTHING, PRICES)
    one = desk.choose(p, Facts(amount_base_minor=amount))
    many = desk.choose_many(desk.offers(np.array([p]), np.array([float(amount)]), [Sold("", "", None)]))
    assert ORDER[many.action[0]] == one.action
    assert round(many.profit[0]) == one.profits[one.action]


ISSUERS = Challenge(by_issuer_country={"XX": IssuerRates(0.1, 0.9, 0.0), "YY": IssuerRates(0.95, 0.1)})


@given(RISKS, AMOUNTS, st.sampled_from(["XX", "YY", "ZZ", ""]))
def test_many_are_chosen_for_by_their_issuers_rates(p: float, amount: int, issuer: str) -> None:
    desk = Desk(msgspec.structs.replace(EVERYTHING, challenge=ISSUERS), PRICES)
    facts = Facts(amount_base_minor=amount, issuer_country=issuer)
    one, sold = desk.choose(p, facts), [sold_of(facts), Sold("", "", None, "YY")]
    many = desk.choose_many(desk.offers(np.full(2, p), np.full(2, float(amount)), sold))
    assert ORDER[many.action[0]] == one.action
    assert round(many.profit[0]) == one.profits[one.action]


def test_an_issuer_without_a_shift_costs_what_it_does() -> None:
    facts = Facts(amount_base_minor=5000, issuer_country="XX")
    shifts = (ISSUERS, Challenge(by_issuer_country={"XX": IssuerRates(0.1, 0.9)}))
    none, most = (Desk(Policy(challenge=one)).choose(0.5, facts).profits["challenge"] for one in shifts)
    assert most - none == pytest.approx(0.5 * 0.9 * 0.9 * (0.92 * 5000 + 2000), abs=1)


def test_a_policy_without_shifts_keeps_its_version() -> None:
    rates = IssuerRates(0.1, 0.9)
    assert msgspec.json.encode(rates) == b'{"passes_honest":0.1,"passes_fraud":0.9}'


def test_a_choice_that_a_budget_turned_says_so() -> None:
    desk = Desk(Policy(budgets=Budgets(value_bps=1.0)), Solved(policy="", value=3.0))
    choice = desk.choose(0.05, Facts(amount_base_minor=5000))
    assert (choice.action, choice.factors) == (Action.DECLINE, (Factor.BUDGET,))
    assert choice.profits["approve"] > choice.profits["decline"]


def test_prices_without_a_budget_count_for_nothing() -> None:
    facts = Facts(amount_base_minor=5000)
    assert Desk(Policy(), PRICES).choose(0.05, facts) == Desk(Policy()).choose(0.05, facts)


def test_only_what_the_merchant_can_do_is_considered() -> None:
    facts = Facts(amount_base_minor=5000)
    assert set(Desk(Policy()).choose(0.2, facts).profits) == {"approve", "decline"}
    assert set(Desk(EVERYTHING).choose(0.2, facts).profits) == {"approve", "challenge", "review", "decline"}


def test_three_d_secure_that_loses_everybody_is_a_decline() -> None:
    nobody = Policy(challenge=Challenge(cost_minor=0, passes_honest=0.0, passes_fraud=0.0))
    profits = Desk(nobody).choose(0.3, Facts(amount_base_minor=5000)).profits
    assert profits["challenge"] == profits["decline"]


def test_an_issuer_has_rates_of_its_own() -> None:
    bad = Challenge(by_issuer_country={"XX": IssuerRates(0.1, 0.9)})
    desk = Desk(Policy(challenge=bad))
    at_home, abroad = (desk.choose(0.2, Facts(amount_base_minor=9000, issuer_country=c)) for c in ("DE", "XX"))
    assert at_home.profits["challenge"] > abroad.profits["challenge"]


def test_a_review_that_finds_all_in_time_costs_its_price_alone() -> None:
    perfect = Policy(review=Review(catches=1.0, passes=1.0, in_time=1.0, cost_minor=7))
    profits = Desk(perfect).choose(0.5, Facts(amount_base_minor=10_000)).profits
    assert profits["review"] == 0.5 * 800 - 7


@pytest.mark.parametrize(
    ("facts", "factors"),
    [
        (Facts(amount_base_minor=5001, product="gold"), (Factor.PRODUCT_LIMIT,)),
        (Facts(amount_base_minor=5000, product="gold", account_age_s=10**6), ()),
        (Facts(amount_base_minor=301, account_age_s=5), (Factor.NEW_ACCOUNT_LIMIT,)),
        (Facts(amount_base_minor=301), (Factor.NEW_ACCOUNT_LIMIT,)),
        (Facts(amount_base_minor=300, account_age_s=5), ()),
    ],
)
def test_limits_bar_approving(facts: Facts, factors: tuple[Factor, ...]) -> None:
    desk = Desk(Policy(limits=Limits(by_product={"gold": 5000}, new_account_minor=300)))
    choice = desk.choose(0.0, facts)
    assert (choice.factors, "approve" in choice.profits) == (factors, not factors)


def test_a_margin_of_the_product_goes_before_the_kinds() -> None:
    policy = Policy(margin_by_item_kind={"gift_card": 0.05}, margin_by_product={"gold": 0.2})
    desk = Desk(policy)
    found = [desk.choose(0.0, Facts(amount_base_minor=1000, item_kind="gift_card", product=p)) for p in ("gold", "x")]
    assert [one.profits["approve"] for one in found] == [200, 50]


def test_attempts_cost() -> None:
    assert expected_profit(0.0, 100, Policy(attempt_cost_minor=9))[0] == expected_profit(0.0, 100, Policy())[0] - 9


@pytest.mark.parametrize(
    "budgets", [Budgets(count_bps=30.0), Budgets(value_bps=20.0), Budgets(count_bps=40.0, value_bps=20.0)]
)
def test_solved_prices_hold_the_budgets_and_no_more(budgets: Budgets) -> None:
    policy, seen = Policy(budgets=budgets), offers()
    solved = solve(policy, seen, 28.0)
    found = expected(Desk(policy, solved), seen)
    reached = [(found.count_bps, budgets.count_bps), (found.value_bps, budgets.value_bps)]
    assert all(got <= limit for got, limit in reached if limit is not None)
    assert any(got > 0.9 * limit for got, limit in reached if limit is not None)


def test_a_budget_that_needs_no_price_has_none() -> None:
    solved = solve(Policy(budgets=Budgets(count_bps=9_000.0, value_bps=9_000.0)), offers(), 28.0)
    assert (solved.count_minor, solved.value) == (0.0, 0.0)


def test_a_budget_that_cannot_be_held_stops_at_its_cap() -> None:
    policy = Policy(budgets=Budgets(value_bps=0.01, price_cap=2.0))
    solved = solve(policy, offers(), 28.0)
    assert solved.value == pytest.approx(2.0)
    assert expected(Desk(policy, solved), offers()).approval_rate > 0.5


def test_reviews_stay_within_capacity() -> None:
    policy, seen = Policy(review=Review(capacity_per_day=2, cost_minor=1)), offers()
    assert expected(Desk(policy), seen).reviews > 56.0
    assert expected(Desk(policy, solve(policy, seen, 28.0)), seen).reviews <= 56.0


def test_dearer_chargebacks_are_fewer_along_the_frontier() -> None:
    curve = trace(Policy(), offers())
    assert all(a.value_bps >= b.value_bps and a.profit_minor >= b.profit_minor for a, b in pairwise(curve))


def test_old_versions_stand_and_new_fields_tell() -> None:
    assert policy_version(Policy()) == "ce9595b0d83b"
    assert policy_version(Policy(budgets=PRESETS["protect"])) != policy_version(Policy(budgets=PRESETS["balance"]))
    assert Desk(Policy(), PRICES).version.startswith(policy_version(Policy()) + ".")


def test_profits_are_told_in_words() -> None:
    assert in_words({"approve": 310, "decline": 0}, 2) == "approve earns 3.10, decline earns 0.00"
