"""Backtest: the same function decides, what was logged is used again, and the money is counted by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from avalist.app.backtest import backtest, changed, decide_again, logged_of, threshold, was, worth_of
from avalist.app.compared import Backtest
from avalist.app.merchant import created_by
from avalist.app.past import UNDECIDED, Past, Period, Seen
from avalist.app.reread import read_past
from avalist.domain.core import EventCore
from avalist.domain.decisions import Action, Versions
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import ArtefactInvalid, BadInput, NotFound
from avalist.domain.facts import Facts
from avalist.domain.records import Record
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.delay import as_declared
from avalist.models.off_policy import difference
from avalist.models.score import Scored
from avalist.policy.choose import Desk
from avalist.policy.economics import Challenge, IssuerRates, Limits, Policy, Review
from avalist.policy.evaluate import evaluate
from avalist.render import backtest_page, html_page, markdown_page
from avalist.render.backtest import caveats
from tests.shop import SCHEMA, T0_MS, Shop, event, payment

APPROVE, DECLINE = Action.APPROVE, Action.DECLINE


@pytest.fixture
def live(shop: Shop, artefact: Artefact) -> Shop:
    """Return a shop that decided 24 payments of one card, ever riskier, half a minute apart; every other captured."""
    shop.activate(artefact)
    for n in range(24):
        shop.clock.ms += 30_000
        answer = shop.decide(n, amount_minor=2500 + 100 * n)
        if answer.decision.action is APPROVE and n % 2:
            shop.record(event("capture", f"c{n}", payment_id=f"p{n}"))
    return shop


def read(shop: Shop, period: Period = Period(), model: Artefact | None = None) -> Past:  # noqa: B008
    here = shop.installation
    return read_past(here.log.read, "shop", period, model, load=lambda v: here.load_model("shop", v).artefact)


def test_the_policy_of_the_time_decides_as_it_did(live: Shop) -> None:
    past = read(live)
    assert not past.replayed
    assert {APPROVE, DECLINE} == set(decide_again(past))
    assert [seen.action for seen in past.payments] == decide_again(past)
    assert changed(past, decide_again(past)) == []
    assert past.captured.nonzero()[0].tolist()[:2] == [1, 3]


LIMITED = Policy(
    margin=0.3,
    margin_by_item_kind={"gift_card": 0.05},
    challenge=Challenge(by_issuer_country={"DE": IssuerRates(0.8, 0.1, 0.5)}),
    review=Review(),
    limits=Limits(new_account_minor=3000),
)


@pytest.mark.parametrize("policy", [None, threshold(0.2), Policy(margin=0.02), LIMITED])
def test_many_are_decided_again_as_one_by_one(live: Shop, policy: Policy | None) -> None:
    past = read(live)
    alone = [
        evaluate(
            seen.core, seen.seq, Scored(0.0, p, 0, ()), Desk(policy) if policy else seen.desk, "live", Versions("", "")
        )
        for seen, p in zip(past.payments, past.p.tolist(), strict=True)
    ]
    assert decide_again(past, policy) == [one.action for one in alone]


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_a_threshold_declines_what_is_above_it(live: Shop, level: float) -> None:
    past = read(live)
    assert [action is DECLINE for action in decide_again(past, threshold(level))] == (past.p > level).tolist()


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, float("nan")])
def test_a_threshold_is_a_probability(level: float) -> None:
    with pytest.raises(BadInput, match="threshold"):
        threshold(level)


def test_logged_features_score_as_they_did(live: Shop, artefact: Artefact) -> None:
    assert read(live, model=artefact).p.tolist() == read(live).p.tolist()


def test_payments_without_a_decision_are_replayed_to_the_same_features(live: Shop, artefact: Artefact) -> None:
    decided = read(live).p
    live.create("twin")
    for n in range(24):
        at = T0_MS + 30_000 * (n + 1)
        live.writer.record("twin", payment(n, amount_minor=2500 + 100 * n), at)
        if live.installation.writer.knows("shop", f"c{n}"):
            live.writer.record("twin", event("capture", f"c{n}", payment_id=f"p{n}"), at)
    found = read_past(live.installation.log.read, "twin", model=artefact)
    assert found.replayed
    assert found.p.tolist() == decided.tolist()
    assert {seen.action for seen in found.payments} == {UNDECIDED}
    assert [was(found, n) for n in (0, 1)] == ["not taken", "taken"]
    late = read_past(live.installation.log.read, "twin", Period(T0_MS + 10 * 30_000), artefact)
    assert late.p.tolist() == decided.tolist()[9:]


def test_answers_of_an_earlier_generation_stand_and_their_features_do_not(live: Shop, artefact: Artefact) -> None:
    def merged() -> Iterator[tuple[int, Record]]:
        for position, record in live.installation.log.read():
            if position == 0:
                again = msgspec.structs.replace(created_by(record), generation=2)
                record = msgspec.structs.replace(record, core=msgspec.msgpack.encode(again))
            yield position, record

    found, before = read_past(merged, "shop", model=artefact), read(live)
    assert (found.replayed, before.replayed) == (True, False)
    assert [seen.action for seen in found.payments] == [seen.action for seen in before.payments]


def test_a_period_is_cut_by_arrival(live: Shop) -> None:
    past = read(live, Period(T0_MS + 60_000, T0_MS + 120_000))
    assert [seen.core.payment_id for seen in past.payments] == ["p1", "p2"]
    with pytest.raises(BadInput, match="no payment arrived") as refused:
        read(live, Period(0, 86_400_000))
    assert refused.value.got == "1970-01-01 00:00 to 1970-01-02 00:00"


def test_a_later_outcome_is_known_and_another_checkpoint_is_not_another_payment(live: Shop) -> None:
    live.record(event("early_fraud_warning", "f1", payment_id="p1"))
    live.decide("1-again", payment_id="p1", checkpoint="post_auth")
    past = read(live)
    assert len(past.payments) == 24
    assert past.fraud.nonzero()[0].tolist() == [1]


def test_chargebacks_count_apart_from_other_reports_until_they_are_won(live: Shop) -> None:
    live.record(event("early_fraud_warning", "f1", payment_id="p1"))
    assert read(live).charged_back is None
    for n in (2, 3):
        live.record(event("chargeback", f"opened{n}", payment_id=f"p{n}"))
    live.record(event("chargeback", "service", payment_id="p4", fraud=False))
    live.record(event("chargeback", "won", payment_id="p3", stage="won"))
    past = read(live)
    assert past.charged_back is not None
    assert (past.charged_back.nonzero()[0].tolist(), past.fraud.nonzero()[0].tolist()) == ([2], [1, 2, 3])


def test_a_fallback_was_the_answer_in_force(live: Shop) -> None:
    answer = live.decide("late")
    live.writer.fallback("shop", answer, live.clock.ms, "deadline")
    past = read(live)
    assert answer.decision.action in (APPROVE, DECLINE)
    assert past.payments[-1].action == Action.REVIEW


def test_what_cannot_be_scored_is_refused(shop: Shop, artefact: Artefact) -> None:
    shop.decide(1)
    with pytest.raises(BadInput, match="no model is active"):
        read(shop)
    with pytest.raises(NotFound, match="nobody"):
        read_past(shop.installation.log.read, "nobody")
    with pytest.raises(ArtefactInvalid, match="train again"):
        read(shop, model=replace(artefact, plan_hash="0" * 16))


# --- grading by hand -------------------------------------------------------------------------------------------


def past_of(
    actions: Sequence[str], fraud: Sequence[int], p: Sequence[float], propensity: Sequence[float] | None = None
) -> Past:
    """Return payments of 100.00, a day apart and long ago, captured where they were not declined."""
    n = len(actions)
    propensity = propensity or [1.0] * n
    core = EventCore("payment", "e", b"", "p", "pre_auth", b"", Facts(amount_base_minor=10_000, product="card"))
    payments = [
        Seen(msgspec.structs.replace(core, payment_id=f"p{i}"), i, Desk(Policy()), *one)
        for i, one in enumerate(zip(actions, propensity, p, strict=True))
    ]
    t_ms = T0_MS + np.arange(n) * DAY_MS
    let_in = np.array(actions) != DECLINE
    return Past(
        SCHEMA, payments, np.array(p), t_ms, np.full(n, 10_000.0), let_in, np.array(fraud) > 0, np.zeros(n, np.bool_),
        int(t_ms[-1]) + 3650 * DAY_MS, Policy(), "", False,
    )  # fmt: skip


def graded(past: Past, after: Sequence[Action]) -> Backtest:
    return backtest(past, after, "shop", "a change")


def test_what_was_let_in_is_counted_by_its_labels() -> None:
    past = past_of([APPROVE] * 4, [0, 1, 0, 0], [0.1] * 4)
    made = graded(past, [APPROVE, DECLINE, DECLINE, APPROVE])
    before, after = made.whole.before, made.whole.after
    assert (before.matured, after.matured) == (1.0, 0.0)
    assert (after.caught_minor.value, after.caught.value) == pytest.approx((10_000, 1.0))
    assert (after.good_declined.value, after.good_declined_minor.value) == pytest.approx((1.0, 10_000))
    # the fraud saves 92.00 and 20.00, the honest one loses 8.00 and 3.00
    assert made.whole.gain_minor.value == pytest.approx(11_200 - 1_100)
    assert made.moves == {"approve -> decline": 2}
    assert made.off_policy is None
    assert not list(caveats(made))


def test_what_was_declined_is_the_models_word_and_the_report_says_so() -> None:
    past = past_of([APPROVE, DECLINE, DECLINE], [0, 0, 0], [0.01, 0.2, 0.4])
    made = graded(past, [APPROVE, APPROVE, DECLINE])
    assert made.unknown.payments == 1
    assert made.unknown.expected_fraud_minor == pytest.approx(2_000)
    assert made.whole.gain_minor.value == pytest.approx(0.8 * 1_100 - 0.2 * 11_200)
    assert "Nobody knows" in next(caveats(made))
    page = markdown_page(backtest_page(made))
    assert "No exploration was on" in page + next(caveats(made))
    assert '"exploration": {"on": true}' in page


def test_a_report_that_may_still_come_is_projected() -> None:
    past = past_of([APPROVE] * 2, [1, 0], [0.1, 0.1])
    young = replace(past, cut_ms=int(past.t_ms[0]) + 25 * DAY_MS)  # half of the frauds of the first are reported by now
    after = graded(young, [APPROVE] * 2).whole.after
    assert after.matured == 1.0
    assert after.projected.value == pytest.approx(2.0, abs=0.01)


def test_reports_that_take_longer_than_declared_are_projected_by_the_estimated_law() -> None:
    past = past_of([APPROVE] * 2, [1, 0], [0.1, 0.1])
    young = replace(past, cut_ms=int(past.t_ms[0]) + 25 * DAY_MS)
    slow = msgspec.structs.replace(as_declared(DelayLaw(40.0, 130.0)), reports=70)
    declared, made = (backtest(young, [APPROVE] * 2, "shop", "a change", delay=law) for law in (None, slow))
    assert made.whole.after.projected.value > 1.5 * declared.whole.after.projected.value
    assert "estimated from 70 reports" in markdown_page(backtest_page(made))
    assert "the declared delay" in markdown_page(backtest_page(declared))


def test_the_gain_is_the_estimate_that_is_held_against_the_truth() -> None:
    past = past_of([APPROVE] * 40, [n % 9 == 0 for n in range(40)], [0.1] * 40)
    after = [DECLINE if n % 3 == 0 else APPROVE for n in range(40)]
    logged, worth = logged_of(past, np.ones(40)), worth_of(past, Policy())
    more = -np.array([action is DECLINE for action in after], np.float64)
    found, gain = difference(logged, more, worth), graded(past, after).whole.gain_minor
    assert (gain.value, gain.low, gain.high) == pytest.approx((40 * found.value, 40 * found.low, 40 * found.high))


def test_the_released_speak_for_the_declined() -> None:
    rng = np.random.default_rng(0)
    n, e = 3000, 0.25
    fraud = rng.random(n) < 0.6
    released = rng.random(n) < e
    actions = np.where(released, APPROVE, DECLINE).tolist()
    propensity = np.where(released, e, 1 - e).tolist()
    past = past_of(actions, (fraud & released).tolist(), [0.3] * n, propensity)
    made = graded(past, [APPROVE] * n)
    assert made.off_policy is not None
    assert made.off_policy.false_declines is not None
    found = made.off_policy.false_declines.doubly_robust
    assert found.value == pytest.approx(0.4, abs=0.06)
    assert found.low < found.value < found.high < found.low + 0.1
    # a released fraud loses 112.00, an honest one earns 11.00
    lost, earned = 11_200 * (fraud & released).sum(), 1_100 * (~fraud & released).sum()
    assert made.off_policy.cost_minor == pytest.approx(lost - earned, rel=1e-3)
    assert made.whole.after.projected.value == pytest.approx(0.6 * n, rel=0.1)
    assert (made.unknown.payments, made.unknown.explored, made.unknown.released) == (n, n, released.sum())
    assert "false-decline rate" in html_page(backtest_page(made))


def test_segments_add_up() -> None:
    past = past_of([APPROVE] * 6, [0, 1, 0, 0, 1, 0], [0.1] * 6)
    kinds = ["a", "b", "b", "a", "a", "<b>"]
    for n, kind in enumerate(kinds):
        core = msgspec.structs.replace(past.payments[n].core, facts=Facts(amount_base_minor=10_000, product=kind))
        past.payments[n] = past.payments[n]._replace(core=core)
    made = graded(past, [DECLINE] * 5 + [APPROVE])
    (segment,) = made.segments
    assert [(g.name, g.payments, g.changed) for g in segment.groups] == [("a", 3, 3), ("b", 2, 2), ("<b>", 1, 0)]
    assert sum(g.gain_minor.value for g in segment.groups) == pytest.approx(made.whole.gain_minor.value)
    assert "&lt;b&gt;" in html_page(backtest_page(made))


def test_payments_the_model_learnt_from_are_told() -> None:
    past = past_of([APPROVE] * 3, [0] * 3, [0.1] * 3)
    made = backtest(past, [APPROVE] * 3, "shop", "a model", model="m", learnt_ms=int(past.t_ms[1]))
    assert made.learnt == 2
    assert "learnt from" in next(caveats(made))
    assert "not clearly" in markdown_page(backtest_page(made))


def test_logged_chargebacks_count_as_they_stand_and_not_by_reports() -> None:
    past = replace(past_of([APPROVE] * 3, [1, 1, 0], [0.1] * 3), charged_back=np.array([1.0, 0.0, 0.0]))
    made = graded(past, [APPROVE, APPROVE, APPROVE])
    assert (made.whole.after.matured, made.whole.after.matured_minor) == (1.0, 10_000.0)
