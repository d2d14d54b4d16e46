"""Off-policy estimates: right on average where they must be, honest about what they cannot see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from avalist.domain.errors import BadInput
from avalist.models.off_policy import (
    MOST_WEIGHT,
    Logged,
    Worth,
    difference,
    effective_size,
    evaluate,
    false_declines,
    mean,
)
from avalist.models.trees import F64

N = 4000
ONES = np.ones(N)
PROFIT = Worth(ONES * 3.0, ONES * -30.0)


def number(flags: npt.NDArray[np.bool_]) -> F64:
    return flags.astype(np.float64)


def world(seed: int = 0, *, lie: float = 1.0, e: float = 0.2) -> tuple[Logged, F64]:
    """Return a log that lets in half and releases a share `e` of the rest, and the truth; the model is off by `lie`."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(0.5, 4.0, N)
    propensity = np.where(truth < 0.1, ONES, e)
    let_in = rng.random(N) < propensity
    fraud = (rng.random(N) < truth) & let_in
    p = np.asarray(np.minimum(truth * lie, 1.0), np.float64)
    return Logged(let_in, propensity, number(let_in), number(fraud), ONES, p, ONES, np.arange(N)), truth


def test_where_everything_is_let_in_all_estimators_are_the_mean() -> None:
    log, _ = world(e=1.0)
    plain = float((3.0 - 30.0 * log.fraud).mean())
    found = evaluate(log, ONES, PROFIT)
    assert [found.ips.value, found.snips.value, found.doubly_robust.value] == pytest.approx([plain] * 3)
    assert (found.effective, found.clipped, found.unseen) == (N, 0, 0.0)


@pytest.mark.parametrize("lie", [0.3, 1.0, 2.5])
def test_a_wrong_model_does_not_bias_the_doubly_robust_estimate(lie: float) -> None:
    errors = []
    for seed in range(60):
        log, truth = world(seed, lie=lie)
        errors.append(evaluate(log, ONES, PROFIT).doubly_robust.value - float((3.0 - 30.0 * truth).mean()))
    assert abs(np.mean(errors)) < 3.0 * np.std(errors) / np.sqrt(60)


def test_a_model_narrows_the_interval() -> None:
    log, truth = world()
    found = false_declines(log, truth >= 0.1)
    assert found is not None
    assert found.doubly_robust.high - found.doubly_robust.low < 0.6 * (found.ips.high - found.ips.low)


def test_intervals_cover_at_their_rate() -> None:
    held = 0
    exact = float(np.mean([(3.0 - 30.0 * world(10**6 + k)[1]).mean() for k in range(200)]))
    for seed in range(120):
        low, high = (lambda i: (i.low, i.high))(evaluate(world(seed)[0], ONES, PROFIT).doubly_robust)
        held += low <= exact <= high
    assert 0.83 <= held / 120 <= 0.97


@pytest.mark.parametrize("lie", [0.3, 1.0, 2.5])
def test_intervals_cover_on_both_sides_where_few_are_released_and_the_model_is_wrong(lie: float) -> None:
    above, below = 0, 0
    exact = float(np.mean([(3.0 - 30.0 * world(10**6 + k)[1]).mean() for k in range(200)]))
    for seed in range(200):
        found = difference(world(seed, lie=lie, e=0.02)[0], ONES, PROFIT)
        above, below = above + (exact > found.high), below + (exact < found.low)
    assert above + below <= 0.17 * 200
    assert max(above, below) <= 0.12 * 200


def test_what_two_policies_share_cancels() -> None:
    log, truth = world()
    before = number(truth < 0.1)
    more = difference(log, ONES - before, PROFIT)
    assert more.high - more.low > 0.0
    assert difference(log, 0.0 * ONES, PROFIT).high == 0.0
    assert more.value == pytest.approx(
        evaluate(log, ONES, PROFIT).doubly_robust.value - evaluate(log, before, PROFIT).doubly_robust.value
    )


def test_payments_that_no_draw_could_release_are_the_models_word_alone() -> None:
    log, truth = world(lie=0.0)
    never = replace(log, let_in=log.let_in & (truth < 0.1), propensity=np.where(truth < 0.1, 1.0, 0.0))
    never = replace(never, taken=number(never.let_in), fraud=never.fraud * never.let_in)
    found = evaluate(never, ONES, PROFIT)
    assert found.unseen == (truth >= 0.1).sum()
    assert found.doubly_robust.value == pytest.approx(3.0 - 30.0 * never.fraud.mean())
    assert found.ips.value < found.doubly_robust.value
    assert false_declines(never, truth >= 0.1) is None


def test_false_declines_are_found_from_the_released() -> None:
    log, truth = world(seed=3, lie=0.5)
    declined = truth >= 0.1
    found = false_declines(log, declined)
    assert found is not None
    for value in (found.doubly_robust, found.snips, found.ips):
        assert abs(value.value - (1.0 - truth[declined].mean())) < value.high - value.low
        assert value.high - value.low < 0.2


def test_large_weights_are_cut_and_counted() -> None:
    log, truth = world(e=1e-4)
    log = replace(log, let_in=ONES > 0.0, taken=ONES)
    found = evaluate(log, ONES, PROFIT)
    assert found.clipped == (truth >= 0.1).sum()
    assert log.weight.max() == MOST_WEIGHT


def test_no_fraud_among_the_few_released_is_luck_and_the_interval_knows() -> None:
    log, truth = world(e=0.01)
    lucky = replace(log, fraud=np.where(log.explored, 0.0, log.fraud))
    found = evaluate(lucky, number(truth >= 0.1), PROFIT).doubly_robust
    spread = 30.0 * np.sqrt((truth * (1.0 - truth))[truth >= 0.1].sum() / 0.01) / N
    assert found.high - found.low > 2.5 * spread


@pytest.mark.parametrize(("let_in", "e"), [(True, 0.0), (False, 1.0), (True, 1.5), (False, -0.1), (True, np.nan)])
def test_a_propensity_that_contradicts_what_was_done_is_refused(let_in: bool, e: float) -> None:
    one = np.ones(1)
    with pytest.raises(BadInput, match="propensity"):
        Logged(np.array([let_in]), np.array([e]), one, one, one, one, one, np.zeros(1, np.int64))


def test_the_mean_of_clusters() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=200), 5)
    alone, together = mean(values, np.arange(1000)), mean(values, np.arange(1000) // 5)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(5), rel=0.05)
    assert np.isnan(mean(values, np.zeros(1000, np.int64)).low)
    assert np.isnan(mean(np.empty(0), np.empty(0, np.int64)).value)
    assert mean(np.ones(3), np.arange(3)).low == 1.0


def test_a_skewed_mean_gets_a_skewed_interval() -> None:
    losses = number(np.random.default_rng(1).random(500) < 0.02) * -50.0
    found = mean(np.asarray(losses, np.float64), np.arange(500))
    assert found.value - found.low > 1.3 * (found.high - found.value)


def test_a_spread_known_beforehand_bends_the_interval_the_other_way() -> None:
    values = np.random.default_rng(2).normal(size=60)
    bent, straight = mean(values, np.arange(60), (90.0, -500.0)), mean(values, np.arange(60), (90.0, 0.0))
    assert bent.high - bent.value > straight.high - straight.value
    assert bent.value - bent.low < straight.value - straight.low


@pytest.mark.parametrize("lost", [0.3, 2.0])
def test_rare_losses_of_a_known_rate_are_covered_on_both_sides(lost: float) -> None:
    """A sum of Poisson(`lost`) losses: the interval is of its mean, whose spread is known."""
    rng = np.random.default_rng(3)
    still, missed = rng.normal(size=(4000, 30)) * 0.05, [0, 0]
    for own, came in zip(still, rng.poisson(lost, 4000), strict=True):
        found = mean(own, np.arange(30), (lost, -lost))
        error = found.value - float(came - lost) / 30
        missed[0] += error < -(found.high - found.value)
        missed[1] += error > found.value - found.low
    assert 0.0 <= missed[0] / 4000 <= 0.1
    assert 0.0 < missed[1] / 4000 <= 0.1


def test_effective_size_of_equal_weights_is_their_number() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_size(np.zeros(3)) == 0.0
