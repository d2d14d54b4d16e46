"""Decisions in words, exact explanations by the follower, and what would have been approved."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from avalist.app.administer import SetPolicy
from avalist.app.explain import Explanation, tell
from avalist.app.lookup import Archive
from avalist.app.stored import StoredDecision
from avalist.domain.decisions import Action, Reason
from avalist.features.codes import CODES, code_of
from avalist.features.derive import derive
from avalist.features.own import decode_own
from avalist.features.plan import compile_plan
from avalist.models.score import Model
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.policy.economics import Policy
from tests.shop import SCHEMA, Shop, opened

PLAN = compile_plan(SCHEMA, derive(SCHEMA))
COUNT, AMOUNT = "card__count__events__1h", "amount"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose model knows one thing: a card that pays often is bad, the more so for large amounts."""
    rng = np.random.default_rng(0)
    x = np.full((4000, len(PLAN.columns)), np.nan, np.float32)
    often, amount = rng.integers(0, 6, 4000), rng.integers(100, 20_000, 4000)
    x[:, PLAN.columns.index(COUNT)], x[:, PLAN.columns.index(AMOUNT)] = np.maximum(often - 2, 0), amount
    y = (rng.random(4000) < np.where(often > 4, np.where(amount > 4000, 0.8, 0.01), 0.01)).astype(np.int64)
    params = TrainParams(trees=40, leaves=8, learning_rate=0.2, min_data_in_leaf=20, test_share=0.0)
    rows = TrainingSet(x, PLAN.columns, PLAN.hash, y, np.arange(4000) * 3_600_000, amount)
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(train(rows, params).artefact)
        yield shop


def declined(shop: Shop) -> StoredDecision:
    """Return a declined payment as it is read back, after the follower came by."""
    for n in range(5):
        answer = shop.decide(n, amount_minor=9000)
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    here = shop.installation
    assert answer.decision.action is Action.DECLINE
    found = Archive(here.log, here.documents, here.writer).stored("shop", "p4", "pre_auth")
    assert found is not None
    return found


def test_the_decisions_own_reasons_are_told_in_words(shop: Shop) -> None:
    (first, *_) = declined(shop).reasons
    assert (first.code, first.feature, first.raises) == ("velocity.card", COUNT, True)
    assert (first.value, first.typical) == (4.0, 0.0)
    assert first.words == "payments of the card in the last hour: 4, usually 0; raises the risk"


def test_the_followers_explanation_is_exact_and_says_so(shop: Shop) -> None:
    stored = declined(shop)
    assert stored.explanation is not None
    assert stored.explanation.method == "shapley"
    model = shop.writer.merchant("shop").model
    assert model is not None
    row = np.array([[np.nan if v is None else v for v in stored.features.values()]], np.float32)
    whole = sum(reason.contribution for reason in stored.explanation.reasons) + stored.explanation.base
    assert whole == pytest.approx(model.score(row)[0].margin, abs=1e-6)


def test_every_way_to_be_approved_would_be(shop: Shop) -> None:
    stored = declined(shop)
    assert stored.explanation is not None
    by_feature = {way.changes[0].feature: way for way in stored.explanation.approved_if}
    assert set(by_feature) == {COUNT, AMOUNT}
    (change,) = by_feature[COUNT].changes
    assert change.words == "payments of the card in the last hour were 0, not 4"
    assert by_feature[AMOUNT].changes[0].instead < 4500.0
    model = shop.writer.merchant("shop").model
    assert model is not None
    row = {**stored.features, COUNT: change.instead}
    again = model.score(np.array([[np.nan if v is None else v for v in row.values()]], np.float32))[0]
    assert again.p_fraud == by_feature[COUNT].p_fraud


def test_features_that_were_added_change_no_explanation(shop: Shop, tmp_path: Path) -> None:
    with opened(tmp_path / "plain") as plain:
        plain.create()
        model = shop.writer.merchant("shop").model
        assert model is not None
        plain.activate(model.artefact)
        wanted = declined(plain).explanation
    assert wanted is not None
    assert wanted.approved_if
    own = decode_own('[[feature]]\naggregate = "variance"\nentity = "card"\nwindow = "30d"')
    shop.writer.add_features("shop", own, shop.clock.ms)
    assert declined(shop).explanation == wanted


def test_an_approval_needs_no_way(shop: Shop) -> None:
    declined(shop)
    here = shop.installation
    first = Archive(here.log, here.documents, here.writer).stored("shop", "p0", "pre_auth")
    assert first is not None
    assert first.decision.action is Action.APPROVE
    assert first.explanation is not None
    assert first.explanation.approved_if == ()


def test_the_policy_of_the_decision_is_what_is_asked(shop: Shop) -> None:
    strict = msgspec.json.encode(Policy(margin=0.001, lifetime_value_minor=0))
    shop.installation.administration.carry_out(SetPolicy("shop", msgspec.Raw(strict)), shop.clock.ms)
    stored = declined(shop)
    assert stored.explanation is not None
    assert stored.explanation.approved_if == ()


def test_a_model_of_before_is_not_explained_exactly(shop: Shop) -> None:
    model = shop.writer.merchant("shop").model
    assert model is not None
    old = replace(model.artefact, trees=replace(model.artefact.trees, cover=None), typical=None)
    shop.activate(old)
    stored = declined(shop)
    assert stored.explanation is None
    assert stored.reasons[0].typical is None


def test_every_column_has_a_code_that_is_listed() -> None:
    named = {feature.name: feature for feature in PLAN.features}
    assert {code_of(feature, named).partition(".")[0] for feature in PLAN.features} <= set(CODES)


def test_what_the_prior_says_is_told_too() -> None:
    (told,) = tell(PLAN, [Reason("prior", -2.0, -0.5)], None, "EUR")
    assert told.words == "what the network prior says: lowers the risk"
    assert told.code in CODES


def test_explanations_of_before_are_read_as_none() -> None:
    old = b'{"decision":%s,"facts":null,"features":{}}'
    decision = (
        b'{"payment_id":"p","event_id":"e","checkpoint":"pre_auth","action":"approve","seq":1,"engine":2,"mode":"live"}'
    )
    stored = msgspec.json.decode(old % decision, type=StoredDecision)
    assert (stored.reasons, stored.explanation) == ((), None)
    assert Explanation(base=0.0, reasons=()).approved_if == ()


def test_scores_are_those_of_the_model_whatever_is_explained(shop: Shop) -> None:
    stored = declined(shop)
    artefact = shop.writer.merchant("shop").model
    assert isinstance(artefact, Model)
    assert stored.decision.p_fraud == pytest.approx(
        artefact.score(np.array([[np.nan if v is None else v for v in stored.features.values()]], np.float32))[
            0
        ].p_fraud
    )
