"""Exploration: who may be released, how often, and that a wave gains nothing (ADR 14)."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from avalist.app.administer import SetPolicy, SetSolved
from avalist.app.dataset import collect
from avalist.app.replay import replay
from avalist.app.spent import ledger
from avalist.domain.core import Solved
from avalist.domain.decisions import Action, Decision, Factor
from avalist.domain.errors import BadInput, Conflict
from avalist.domain.schema import DIGITAL_GOODS, EntityDecl, Schema
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.models.artefact import Artefact
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.policy.economics import Exploration, Limits, Policy, policy_version
from avalist.policy.explore import chances, solve_chances
from tests.shop import DAY_MS, T0_MS, Shop, iso, payment

HOUR_MS = DAY_MS // 24
SOURCES = {"account": "customer.id", "card": "method.fingerprint", "device": "device.id", "shape": "email_shape"}
SCHEMA = Schema(base_currency="EUR", entities=tuple(EntityDecl(*one) for one in SOURCES.items()))
OFTEN = Exploration(on=True, floor=0.5, cap=0.5)
STRICT = Policy(margin=0.0, lifetime_value_minor=0, exploration=OFTEN)
"""Declines whatever has a risk at all, and releases every second of those that may be."""


def model_for(schema: Schema) -> Artefact:
    plan = compile_plan(schema, derive(schema))
    rng = np.random.default_rng(0)
    x = rng.random((1000, len(plan.columns))).astype(np.float32)
    y = (rng.random(len(x)) < 0.5).astype(np.int64)
    rows = TrainingSet(x, plan.columns, plan.hash, y, np.arange(1000), np.full(1000, 100))
    return train(rows, TrainParams(trees=2, leaves=4, test_share=0.0)).artefact


@pytest.fixture(scope="module")
def model() -> Artefact:
    return model_for(SCHEMA)


@pytest.fixture
def busy(shop: Shop, model: Artefact) -> Shop:
    return opened_with(shop, SCHEMA, model)


def opened_with(shop: Shop, schema: Schema, model: Artefact) -> Shop:
    """Return a shop with a merchant, ``game``, that has had two payments an hour for eight days, and explores."""
    shop.create("game", schema)
    for n in range(2 * 24 * 8):
        at = T0_MS - 8 * DAY_MS + n * DAY_MS // 48
        pay(shop, f"old-{n}", n, at, decide=False)
    shop.activate(model, "game")
    explore(shop, STRICT)
    return shop


def explore(shop: Shop, policy: Policy) -> None:
    office = shop.installation.administration
    office.carry_out(SetPolicy("game", msgspec.Raw(msgspec.json.encode(policy))), 0)
    office.carry_out(SetSolved("game", Solved(policy=policy_version(policy), explore_share=1.0)), 0)


def pay(
    shop: Shop, who: str, n: int, at: int, *, decide: bool = True, mail: str = "", amount: int = 500, agent: str = ""
) -> Decision | None:
    made = payment(
        f"{who}-{n}", customer={"id": who, "email": mail or f"{who}@x.org"}, ip=None,
        device={"id": f"dev-{who}", "user_agent": agent} if agent else {"id": f"dev-{who}"},
        method={"kind": "card", "fingerprint": f"card-{who}"}, occurred_at=iso(at), received_at=iso(at),
        amount_minor=amount,
    )  # fmt: skip
    if not decide:
        shop.writer.record("game", made, 0)
        return None
    return shop.writer.decide("game", made, 0).decision


def released(decision: Decision | None) -> bool:
    assert decision is not None
    return Factor.EXPLORED in decision.factors


def letters(n: int) -> str:
    return "".join(chr(97 + int(d)) for d in str(n))


def test_about_as_many_are_released_as_declared(busy: Shop) -> None:
    found = [pay(busy, f"w{n}", n, T0_MS + n * (DAY_MS + HOUR_MS), mail="ann@x.org") for n in range(150)]
    may = [d for d in found if d is not None and d.propensity < 1.0]
    assert len(may) > 100
    assert {d.propensity for d in may} == {0.5}
    assert 0.35 < np.mean([released(d) for d in may]) < 0.65
    assert all((d.action is Action.APPROVE) == released(d) for d in may)


def test_a_wave_with_retries_gains_one_release_at_most(busy: Shop) -> None:
    pay(busy, "before", 0, T0_MS, mail="wave77@x.org", decide=False)
    at = T0_MS + 2 * DAY_MS
    found = [pay(busy, f"bot{n // 4}", n, at + n * 1000, mail="wave77@x.org") for n in range(1000)]
    assert sum(d is not None and d.propensity < 1.0 for d in found) == 1
    assert sum(map(released, found)) <= 1


def test_a_wave_of_habits_that_customers_have_is_held_by_the_hour(busy: Shop) -> None:
    """The shop has about two payments an hour: of a thousand more within one, at most twice that, and one, may be."""
    mails = [f"{letters(n % 81) * (1 + n % 9)}{'7' * (n // 9 % 9)}@{letters(n % 81)}.org" for n in range(1000)]
    for n in range(81):
        pay(busy, f"before{n}", n, T0_MS + n * 1000, mail=mails[n], decide=False)
    at = T0_MS + 2 * DAY_MS
    found = [pay(busy, f"bot{n}", n, at + n * 3600, mail=mails[n]) for n in range(1000)]
    assert 1 < sum(d is not None and d.propensity < 1.0 for d in found) <= 5


def test_a_slow_wave_of_fresh_addresses_gains_one_release_at_most_on_the_default_plan(shop: Shop) -> None:
    game, gap_ms = opened_with(shop, DIGITAL_GOODS, model_for(DIGITAL_GOODS)), HOUR_MS // 3
    mails = [f"{letters(n) * (1 + n % 9)}{'7' * (n // 9 % 9)}@{letters(n)}.org" for n in range(1000)]
    told = {"amount": 9_000, "agent": "Bot/1.0"}
    found = [
        pay(game, f"bot{n if n % 4 else n - 1}", n, T0_MS + n * gap_ms, mail=mails[n], **told)  # type: ignore[arg-type]
        for n in range(1000)
    ]
    assert sum(d is not None and d.propensity < 1.0 for d in found) <= 1
    assert sum(map(released, found)) <= 1


def test_a_usual_payment_is_released_on_the_default_plan(shop: Shop) -> None:
    game = opened_with(shop, DIGITAL_GOODS, model_for(DIGITAL_GOODS))
    found = [pay(game, f"w{n}", n, T0_MS + n * (DAY_MS + HOUR_MS), mail="ann@x.org") for n in range(40)]
    assert 5 < sum(map(released, found)) < 35


def test_a_retry_shares_the_draw_and_is_never_first(busy: Shop) -> None:
    for n in range(20):
        tries = [pay(busy, f"r{n}", k, T0_MS + n * DAY_MS + k * 1000, mail=f"{letters(n)}@x.org") for k in range(5)]
        assert not any(map(released, tries[1:]))


def test_another_day_is_another_draw(busy: Shop) -> None:
    found = {released(pay(busy, "ann", n, T0_MS + 2 * n * DAY_MS + n * 3_600_000, mail="ann@x.org")) for n in range(12)}
    assert found == {True, False}


@pytest.mark.parametrize(
    "policy",
    [
        msgspec.structs.replace(STRICT, exploration=Exploration(on=False, floor=0.5, cap=0.5)),
        msgspec.structs.replace(STRICT, exploration=msgspec.structs.replace(OFTEN, order_limit_minor=499)),
        msgspec.structs.replace(STRICT, limits=Limits(new_account_minor=0)),
    ],
    ids=["off", "order limit", "limit"],
)
def test_what_is_never_released(busy: Shop, policy: Policy) -> None:
    explore(busy, policy)
    found = [pay(busy, f"w{n}", n, T0_MS + n * DAY_MS, mail=f"{letters(n)}q@x.org") for n in range(30)]
    assert {d.propensity for d in found if d} == {1.0}
    assert not any(map(released, found))


def test_nothing_is_released_before_its_cost_is_known(busy: Shop) -> None:
    policy = msgspec.structs.replace(STRICT, exploration=msgspec.structs.replace(OFTEN, share=0.03))
    busy.installation.administration.carry_out(SetPolicy("game", msgspec.Raw(msgspec.json.encode(policy))), 0)
    assert not any(released(pay(busy, f"w{n}", n, T0_MS + n * DAY_MS, mail=f"{letters(n)}q@x.org")) for n in range(30))


def test_releases_replay(busy: Shop) -> None:
    found = [pay(busy, f"w{n}", n, T0_MS + n * DAY_MS, mail=f"{letters(n)}q@x.org") for n in range(30)]
    assert any(map(released, found))
    result = replay(busy.installation.log, busy.installation.load_model)
    assert (result.decisions, result.different) == (30, 0)


def test_what_was_released_and_what_it_might_cost_is_read_back(busy: Shop, model: Artefact) -> None:
    found = [pay(busy, f"w{n}", n, T0_MS + n * DAY_MS, mail=f"{letters(n)}q@x.org") for n in range(30)]
    let_in = [f"pw{n}-{n}" for n, one in enumerate(found) if released(one)]
    explore(busy, Policy())
    data = collect(busy.installation.log.read, "game")
    assert [data.background.payment_ids[n] for n in data.background.released.tolist()] == let_in
    assert [daily for _, daily in data.background.exploring] == [OFTEN.daily_cost_minor, 0]
    assert sum(month.released for month in ledger(data, model).explored) == len(let_in) > 0


def test_a_plan_without_the_columns_cannot_explore(shop: Shop) -> None:
    blind = Schema(base_currency="EUR", entities=(EntityDecl("till", "custom.till"),))
    shop.create("till", blind)
    with pytest.raises(BadInput) as refused:
        shop.installation.administration.carry_out(SetPolicy("till", msgspec.Raw(msgspec.json.encode(STRICT))), 0)
    assert refused.value.field == "$.exploration.on"


def test_a_schema_without_a_pattern_cannot_explore(shop: Shop) -> None:
    plain = Schema(base_currency="EUR", entities=SCHEMA.entities[:3])
    shop.create("plain", plain)
    with pytest.raises(BadInput) as refused:
        shop.installation.administration.carry_out(SetPolicy("plain", msgspec.Raw(msgspec.json.encode(STRICT))), 0)
    assert "pattern.payment" in refused.value.expected


def test_budgets_solved_for_another_policy_are_refused(shop: Shop) -> None:
    with pytest.raises(Conflict, match="solve again"):
        shop.installation.administration.carry_out(SetSolved("shop", Solved(policy="another")), 0)


def test_the_chance_follows_what_a_release_teaches_for_its_price() -> None:
    plan = Exploration(on=True, floor=0.0, cap=0.5, order_limit_minor=10**6)
    p, amount = np.array([0.3, 0.9, 0.3]), np.array([5000.0, 5000.0, 500.0])
    found = chances(p, amount, np.full(3, 0.08), Policy(exploration=plan), 1e-4)
    assert found[0] > found[1] > 0
    assert found[0] > found[2]


def test_the_money_budget_thins() -> None:
    rng = np.random.default_rng(0)
    p, amount, margin = rng.uniform(0.2, 1, 2000), rng.uniform(500, 9000, 2000), np.full(2000, 0.08)
    rich = Policy(exploration=Exploration(on=True, daily_cost_minor=10**8))
    scale, share = solve_chances(p, amount, margin, rich, 28.0)
    assert share == 1.0
    assert chances(p, amount, margin, rich, scale).mean() == pytest.approx(0.02, rel=0.05)
    poor = Policy(exploration=Exploration(on=True, daily_cost_minor=100))
    assert 0.0 < solve_chances(p, amount, margin, poor, 28.0)[1] < 0.2
