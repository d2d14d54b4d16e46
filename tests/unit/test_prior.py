"""A network prior on a merchant's plan, at its level, and until when it decides."""

from dataclasses import replace
from threading import Event

import msgspec
import numpy as np
import pytest

from avalist.app.merchant import creation, plan_of
from avalist.app.prior import Rivals, at_level, beside, own_model, prior_of, share_to_judge
from avalist.app.train import FEWEST_FRAUDS, Training, growing, known_by, train_on
from avalist.domain.errors import BadInput
from avalist.domain.schema import DIGITAL_GOODS, EntityDecl, Schema
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.models.artefact import PRIOR_COLUMN, Artefact
from avalist.models.prior import PERCENTILES_FROM, levelled, put_onto, roles, shipped, theta
from avalist.models.score import Model
from avalist.models.trees import F32
from tests.judged import SMALL, dataset

OTHER = Schema(
    base_currency="JPY",
    entities=(EntityDecl("plastic", "method.fingerprint"), EntityDecl("who", "customer.id"), EntityDecl("net", "ip24")),
)
OTHER_PLAN = compile_plan(OTHER, derive(OTHER))
LIGHT = Training(params=SMALL.params)


def rows(n: int, width: int, seed: int = 0) -> F32:
    x = np.random.default_rng(seed).exponential(3.0, (n, width)).astype(np.float32)
    x[np.random.default_rng(seed + 1).random(x.shape) < 0.3] = np.nan
    return x


# --- roles ---------------------------------------------------------------------------------------------------------


def test_columns_are_the_same_by_what_they_are_and_not_by_name() -> None:
    mine, theirs = roles(OTHER, OTHER_PLAN.features), roles(DIGITAL_GOODS, derive(DIGITAL_GOODS))
    place = theirs["count method.fingerprint  1 3600000"]
    assert OTHER_PLAN.columns[mine["count method.fingerprint  1 3600000"]] == "plastic__count__events__1h"
    assert derive(DIGITAL_GOODS)[place].name == "card__count__events__1h"


def test_nothing_that_grows_with_the_shop_has_a_role() -> None:
    names = {derive(DIGITAL_GOODS)[place].name for place in roles(DIGITAL_GOODS, derive(DIGITAL_GOODS)).values()}
    assert {"card__count__events__1h", "account__amount_over_mean", "bin__rate__fraud__90d"} <= names
    assert not {"amount", "merchant__count__events__7d", "product__count__events__1d", "session_ms", "hour"} & names


# --- on a merchant's plan --------------------------------------------------------------------------------------------


def test_on_its_own_columns_it_scores_as_it_is() -> None:
    plan = plan_of(creation(DIGITAL_GOODS))
    model = put_onto(shipped(), DIGITAL_GOODS, plan)
    assert model is not None
    x = rows(300, len(plan.columns))
    own = np.ascontiguousarray(x[:, [roles(DIGITAL_GOODS, plan.features)[role] for role in shipped().columns]])
    assert np.array_equal(model.trees.score_many(x), shipped().trees.score_many(own))


def test_what_the_merchant_lacks_is_unknown() -> None:
    model, prior = prior_of(OTHER, OTHER_PLAN), shipped()
    assert model is not None
    x, mine = rows(300, len(OTHER_PLAN.columns)), roles(OTHER, OTHER_PLAN.features)
    own = np.full((300, len(prior.columns)), np.nan, np.float32)
    for place, role in enumerate(prior.columns):
        if role in mine:
            own[:, place] = x[:, mine[role]]
    assert np.array_equal(model.trees.score_many(x), prior.trees.score_many(own))
    assert len(model.trees.nodes) < len(prior.trees.nodes)


def test_it_is_an_artefact_like_any_other_and_says_what_it_is() -> None:
    model = prior_of(OTHER, OTHER_PLAN)
    assert model is not None
    back = Artefact.from_bytes(model.to_bytes(), OTHER_PLAN.hash)
    assert (back.trained, back.prior) == ("prior", model.prior)
    assert back.prior is not None
    assert back.prior.trained_on == "simulated payments"
    assert {reason.feature for reason in Model(back).score(rows(1, len(OTHER_PLAN.columns)))[0].reasons} <= {
        *OTHER_PLAN.columns
    }


def test_a_merchant_with_nothing_in_common_has_none() -> None:
    alien = msgspec.structs.replace(OTHER, entities=(EntityDecl("terminal", "custom.terminal"),))
    assert prior_of(alien, compile_plan(alien, derive(alien))) is None


# --- its level -------------------------------------------------------------------------------------------------------


def test_odds_are_multiplied_by_theta() -> None:
    model = prior_of(OTHER, OTHER_PLAN)
    assert model is not None
    x = rows(200, len(OTHER_PLAN.columns))
    before, after = model.p_fraud(x), levelled(model, 25.0, 5.0, np.zeros(0)).p_fraud(x)
    inside = (after > 1e-5) & (after < 1 - 1e-5)
    odds = after / (1 - after) / (before / (1 - before))
    assert odds[inside] == pytest.approx(theta(25.0, 5.0), rel=1e-3)
    assert theta(25.0, 5.0) == 3.0


def test_risk_scores_become_percentiles_of_the_merchants_own() -> None:
    model = prior_of(OTHER, OTHER_PLAN)
    assert model is not None
    margins = np.linspace(-9.0, 0.0, PERCENTILES_FROM)
    assert levelled(model, 0.0, 0.0, margins).percentiles[49] == pytest.approx(-4.5, abs=0.01)
    assert np.array_equal(levelled(model, 0.0, 0.0, margins[:-1]).percentiles, model.percentiles)


def test_with_few_frauds_training_gives_the_prior_at_the_merchants_level() -> None:
    data = dataset(2000, frauds=0.005)
    made = train_on(data)
    assert made.trained == "prior"
    assert made.prior is not None
    known = known_by(data, data.cut_ms)
    assert made.prior.observed == known.y.sum() < FEWEST_FRAUDS
    assert made.data.frauds == known.y.sum()
    with pytest.raises(BadInput, match="too few frauds"):
        train_on(data, Training(prior=False))


def test_a_merchant_without_payments_has_the_prior_as_it_is() -> None:
    data = dataset(2000)
    prior = prior_of(data.schema, data.plan)
    assert prior is not None
    assert at_level(prior, known_by(data, int(data.t_ms[0]))) is prior


# --- own trees beside it ---------------------------------------------------------------------------------------------


def test_own_trees_take_over_where_they_are_better() -> None:
    made = train_on(dataset(6000, frauds=0.05), LIGHT)
    assert made.trained == "own"
    assert made.report is not None
    assert made.report.roc_auc.value > 0.8


def two_threads(training: Training) -> Training:
    return msgspec.structs.replace(training, params=msgspec.structs.replace(training.params, num_threads=2))


def test_two_threads_grow_the_same_model_side_by_side() -> None:
    data, grown = dataset(6000, frauds=0.05), list[int]()
    beside = train_on(data, two_threads(LIGHT), grown=lambda count, _: grown.append(count))
    assert beside.to_bytes() == train_on(data, LIGHT).to_bytes()
    assert grown[-1] == LIGHT.params.trees


def test_trees_that_nobody_waits_for_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    data, grown, left = dataset(6000, frauds=0.05), list[int](), Event()
    monkeypatch.setattr("avalist.app.train.Event", lambda: left)

    def grows(count: int, _: int) -> None:
        assert left.wait(240)
        grown.append(count)

    params = msgspec.structs.replace(LIGHT.params, num_threads=2, trees=600)
    with growing(known_by(data, data.cut_ms), None, params, grows, None):
        pass
    assert len(grown) < 10


def test_own_trees_may_ask_for_the_priors_margin() -> None:
    data = dataset(6000, frauds=0.05)
    known, prior = known_by(data, data.cut_ms), prior_of(data.schema, data.plan)
    assert prior is not None
    margins = prior.trees.score_many(known.x)
    high = margins > np.quantile(margins, 0.8)
    telling = replace(known, y=np.where(np.arange(len(high)) % 20 == 0, ~high, high).astype(np.int64))
    made = own_model(telling, prior, LIGHT.params, None)
    back = Artefact.from_bytes(made.to_bytes())
    assert back.prior_trees is not None
    assert beside(known, prior).columns[-1] == PRIOR_COLUMN
    scored = Model(back).score(known.x[:50], 9)
    assert [one.p_fraud for one in scored] == made.p_fraud(known.x[:50]).tolist()
    assert any(reason.feature == PRIOR_COLUMN for one in scored for reason in one.reasons)


def test_the_better_one_of_two_is_told_by_what_came_of_later_payments() -> None:
    rng = np.random.default_rng(0)
    p, t_ms = rng.uniform(0.0, 0.3, 4000), np.arange(4000) * 3_600_000
    y, blunt = (rng.random(4000) < p).astype(float), np.full(4000, p.mean())
    assert Rivals(p, blunt, y, np.ones(4000), t_ms).certain > 0.95
    assert Rivals(blunt, p, y, np.ones(4000), t_ms).certain < 0.05


def test_few_frauds_are_judged_on_more_payments() -> None:
    assert share_to_judge(150)[0] == pytest.approx(0.4)
