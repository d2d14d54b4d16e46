"""The report as data: nothing is known before it was logged, intervals cover, the frontier is what it says."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from avalist.app.census import bucket_days, census
from avalist.app.grade import _maturity, grade_by
from avalist.app.report import FitReport, evaluate, report
from avalist.domain.errors import BadInput
from avalist.domain.facts import Facts
from avalist.domain.schema import DAY_MS
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.features.words import family, in_words
from avalist.models.judge import Draws, blocks, decile_edges, declined_share, levels
from avalist.models.metrics import APPROVAL_RATES, value_recall
from avalist.models.prequential import Prequential, cuts, first_cut
from avalist.models.trees import F64
from avalist.models.usage import usage
from avalist.policy.choose import Desk
from avalist.policy.economics import Policy
from avalist.policy.frontier import Judged, as_before, by_profit, frontier, outcome
from avalist.render.quality import at_rate
from tests.judged import SCHEMA, SMALL, dataset

EARLY = msgspec.structs.replace(SMALL, fewest_frauds=1)
"""The place of the cuts depends on no label but the first."""


def silent(done: int, wanted: int) -> None:
    pass


@pytest.fixture(scope="module")
def made() -> FitReport:
    return report(dataset(), "shop", SMALL)


# --- no look-ahead ---------------------------------------------------------------------------------------------


def test_what_is_logged_after_a_cut_does_not_change_its_model() -> None:
    data = dataset()
    again = evaluate(data, EARLY, silent)
    cut = again.folds[1].cut_ms
    late = data.changes[:, 3] > cut
    assert late.sum() > 100
    other = data.changes.copy()
    other[late, 2] = np.random.default_rng(1).integers(-1, 2, late.sum())  # reports come, go, and are taken back
    after = evaluate(replace(data, changes=other), EARLY, silent)
    for k in (0, 1):
        assert again.folds[k].model.to_bytes() == after.folds[k].model.to_bytes()
    assert again.folds[2].model.to_bytes() != after.folds[2].model.to_bytes()


def test_a_report_taken_back_later_was_known_until_then() -> None:
    data = dataset(500)
    payment, _, _, at, _ = (int(v) for v in data.changes[data.changes[:, 2] > 0][0])
    back = np.array([[payment, 0, -1, at + DAY_MS, 1]])
    changed = replace(data, changes=np.concatenate((data.changes, back)))
    assert changed.known_at(at)[1][payment]
    assert not changed.known_at(at - 1)[1][payment]
    assert not changed.known_at(at + DAY_MS)[1][payment]


def test_every_score_is_of_a_model_that_learnt_before(made: FitReport) -> None:
    forward = evaluate(data := dataset(), SMALL, silent)
    for k, fold in enumerate(forward.folds):
        rows = forward.fold == k
        assert fold.model.data.last_ms < fold.cut_ms <= data.t_ms[rows].min()
        assert data.t_ms[rows].max() < fold.end_ms
    assert np.isnan(forward.p).sum() == (forward.fold < 0).sum() > 0


def test_the_first_cut_waits_for_reports_not_for_frauds() -> None:
    t_ms = np.arange(100) * DAY_MS
    plan = Prequential(fewest_frauds=3, first_share=0.1)
    assert first_cut(t_ms, np.array([50, 60, 70]) * DAY_MS, plan) == 71 * DAY_MS
    assert first_cut(t_ms, np.array([1, 2, 3]) * DAY_MS, plan) == 10 * DAY_MS
    assert len(cuts(t_ms, first_cut(t_ms, np.array([1]), plan), 3)) == 1


def test_cuts_are_midnights_to_the_end() -> None:
    bounds = cuts(np.array([0, 10 * DAY_MS + 5]), 4 * DAY_MS, 3)
    assert (bounds % DAY_MS == 0).all()
    assert bounds.tolist() == [d * DAY_MS for d in (4, 6, 9, 11)]


# --- intervals, ranks, levels ----------------------------------------------------------------------------------


def test_intervals_cover() -> None:
    rng, covered = np.random.default_rng(3), 0
    for _ in range(200):
        week = np.repeat(np.arange(30), 20)
        values = rng.normal(size=30)[week] + rng.normal(size=600)
        found = Draws(week, seed=1).ratio(values + 5.0, np.ones(600))
        covered += found.low < 5.0 < found.high
    assert 0.8 < covered / 200 < 0.97


def test_declined_share_is_the_metrics_order() -> None:
    rng = np.random.default_rng(0)
    p, y, amount = np.round(rng.random(500), 1), (rng.random(500) < 0.1).astype(float), rng.random(500)
    for rate in (0.99, 0.8, 0.35):
        declined = declined_share(p, rate)
        assert declined.sum() == pytest.approx((1 - rate) * 500)
        stopped = declined @ (y * amount) / (y @ amount)
        assert stopped == pytest.approx(value_recall(y, p, amount, rate))


def test_levels_hold_every_payment_once() -> None:
    p = np.random.default_rng(0).beta(1, 30, 2000)
    found = levels(p, decile_edges(p), p, p, Draws(np.arange(2000)))
    assert sum(level.payments for level in found) == 2000
    assert [level.ratio.value for level in found] == pytest.approx([1.0] * 10)
    assert max(level.expected for level in found) < 1.3 * min(level.expected for level in found)


def test_blocks_are_weeks_where_there_are_enough() -> None:
    assert blocks(np.arange(100) * DAY_MS)[1] == "week"
    assert blocks(np.arange(30) * DAY_MS)[1] == "day"


# --- frontier --------------------------------------------------------------------------------------------------


def judged(n: int = 3000) -> Judged:
    rng = np.random.default_rng(5)
    p = rng.beta(0.3, 8, n)
    y, amount = (rng.random(n) < p).astype(np.float64), rng.integers(100, 20_000, n).astype(np.float64)
    return Judged(p, y, amount, np.full(n, Policy().margin))


def test_fewer_approvals_stop_more_and_leave_fewer_chargebacks() -> None:
    found = frontier(judged(), Policy(), Draws(np.arange(3000)))
    stopped = [o.stopped.value for o in found]
    assert stopped == sorted(stopped)
    assert stopped[0] == 0.0 < stopped[-1] < 1.0
    assert found[0].gain_minor.value == 0.0 == found[0].declined
    assert found[-1].chargebacks.value < found[0].chargebacks.value
    assert all(o.stopped.low <= o.stopped.value <= o.stopped.high for o in found)


def test_the_profit_is_that_of_the_economics_by_hand() -> None:
    one = Judged(np.array([0.9, 0.1]), np.array([1.0, 0.0]), np.array([10_000.0, 5_000.0]), np.full(2, 0.1))
    found = outcome(np.array([1.0, 0.0]), one, Policy(margin=0.1, chargeback_cost_minor=2_000), Draws(np.arange(2)))
    assert found.profit_minor == pytest.approx(500.0)
    assert found.gain_minor.value == pytest.approx(9_000.0 + 2_000.0)
    assert found.false_declines == 0.0


def test_by_profit_decides_as_the_policy_does() -> None:
    j, policy = judged(), Policy()
    choose = Desk(policy).choose
    chosen = np.array(
        [choose(p, Facts(amount_base_minor=int(a))).action == "decline" for p, a in zip(j.p, j.amount, strict=True)]
    )
    assert by_profit(j, policy, Draws(np.arange(3000))).declined == chosen.sum()


def test_payments_refused_then_are_unknown_not_honest() -> None:
    j = judged(1000)
    refused: tuple[F64, F64] = (np.full(100, 0.001), np.full(100, 5_000.0))
    found = as_before(j, refused, Draws(np.arange(1100)))
    assert found.approval_rate == pytest.approx(1000 / 1100)
    assert found.let_in == pytest.approx(100.0)
    assert found.let_in_fraud_minor == pytest.approx(100 * 5.0)
    assert found.balance.value < found.stopped.value


# --- the whole -------------------------------------------------------------------------------------------------


def test_the_whole_report(made: FitReport) -> None:
    q = made.quality
    assert q is not None
    assert q.metrics.average_precision.low > 3 * q.metrics.prevalence
    assert sum(level.payments for level in q.by_age) >= q.metrics.rows
    assert sum(f.share for f in made.families) == pytest.approx(1.0)
    assert made.columns[0].name == "amount"
    assert made.columns[0].fraud > made.columns[0].honest  # type: ignore[operator]
    assert made.as_before is None
    assert msgspec.json.decode(msgspec.json.encode(made))["quality"]["metrics"]["frauds"] == q.metrics.frauds


def test_only_payments_whose_frauds_are_mostly_reported_are_graded() -> None:
    data = dataset()
    graded = grade_by(data, evaluate(data, SMALL, silent))
    assert graded.reported[graded.rows].min() >= graded.maturity >= 0.8


def test_refused_payments_are_compared_and_issuer_declines_are_not(made: FitReport) -> None:
    found = report(dataset(refused=0.2), "shop", SMALL)
    assert found.as_before is not None
    assert 0.85 < found.as_before.approval_rate < 0.93
    assert found.census.issuer_declined + found.census.silent == found.census.payments - found.census.captured


def test_too_few_frauds_still_describe_the_data() -> None:
    found = report(dataset(frauds=0.003), "shop", SMALL)
    assert found.quality is None
    assert "a model needs 40 at least" in found.too_few
    assert found.census.buckets
    with pytest.raises(BadInput, match="no payment"):
        report(replace(dataset(), t_ms=np.empty(0, np.int64)), "shop", SMALL)


def test_the_census_counts() -> None:
    counted = census(data := dataset())
    captured, fraud = data.known_at(data.cut_ms)
    assert counted.frauds == fraud.sum() == sum(b.frauds for b in counted.buckets)
    assert counted.entities[0].missing == pytest.approx(0.1)
    assert sum(b.minor for b in counted.buckets) == data.amount_minor[captured].sum()
    assert counted.buckets[0].reported > 0.98 > counted.buckets[-1].reported
    assert [bucket_days(np.array([0, d * DAY_MS])) for d in (20, 200, 1000, 9000)] == [1, 7, 14, 364]


def test_usage_adds_up_to_the_contributions(made: FitReport) -> None:
    data = dataset()
    trees = evaluate(data, SMALL, silent).folds[0].model.trees
    one = usage(trees, data.x[:1])
    assert one.gain.sum() == pytest.approx(1.0)
    assert one.movement.sum() >= abs(trees.score_many(data.x[:1])[0] - trees.bias) - 1e-9


def test_every_column_has_words_and_a_family() -> None:
    plan = compile_plan(SCHEMA, derive(SCHEMA))
    for feature in plan.features:
        assert "__" not in in_words(feature) + family(feature, plan), feature.name
        assert in_words(feature)


def test_the_frontier_and_the_metrics_agree_on_money_stopped(made: FitReport) -> None:
    assert made.quality is not None
    for rate, recall in zip(APPROVAL_RATES, made.quality.metrics.value_recall, strict=True):
        shown = at_rate(made, rate).stopped
        assert (shown.value, shown.low, shown.high) == pytest.approx((recall.value, recall.low, recall.high))


def test_what_is_graded_is_as_mature_as_the_frauds_allow() -> None:
    reported, fraud = np.linspace(0.05, 1.0, 1000), np.zeros(1000, np.bool_)
    assert _maturity(reported, fraud) == 0.05
    fraud[-20:] = True
    assert _maturity(reported, fraud) == 0.9
    fraud[::5] = True  # 21 of them in the oldest tenth and more below: the share of all payments decides
    assert _maturity(reported, fraud) == 0.5


def test_each_product_s_margin_counts() -> None:
    one = Judged(np.array([0.05, 0.05]), np.zeros(2), np.array([10_000.0, 10_000.0]), np.array([0.3, 0.01]))
    found = by_profit(one, Policy(), Draws(np.arange(2)))
    assert (found.approval_rate, found.false_declines) == (0.5, 1.0)
    assert found.profit_minor == pytest.approx(3_000.0 - Policy().lifetime_value_minor)
