import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from avalist.domain.errors import BadInput
from avalist.models.metrics import average_precision, report, roc_auc, value_recall
from avalist.models.trees import F64


def sample(n: int = 4000) -> tuple[F64, F64, F64]:
    rng = np.random.default_rng(1)
    p = np.round(rng.beta(0.5, 20.0, n), 2) + 0.001  # rounded: many ties
    return (rng.random(n) < p).astype(np.float64), p, rng.integers(100, 9000, n).astype(np.float64)


def test_ranking_metrics_equal_sklearns_with_ties() -> None:
    y, p, _ = sample()
    assert roc_auc(y, p) == pytest.approx(roc_auc_score(y, p))
    assert average_precision(y, p) == pytest.approx(average_precision_score(y, p))


def test_value_recall_of_blind_declines_is_the_declined_share() -> None:
    y, _, amount = sample()
    assert value_recall(y, np.full(len(y), 0.5), amount, 0.97) == pytest.approx(0.03)


def test_value_recall_of_a_perfect_scorer_is_all_that_fits() -> None:
    y = np.array([1.0, 1.0, *[0.0] * 98])
    assert value_recall(y, y, np.ones(100), 0.99) == pytest.approx(0.5)


def test_calibrated_probabilities_are_reported_as_such() -> None:
    y, p, amount = sample(20_000)
    result = report(y, p, amount)
    assert result.observed_expected.low < 1.0 < result.observed_expected.high
    assert np.mean(result.by_decile) == pytest.approx(1.0, abs=0.15)
    assert report(y, p / 2, amount).observed_expected.value == pytest.approx(2 * result.observed_expected.value)


def test_losses_are_the_textbook_ones() -> None:
    result = report(np.array([1.0, 0.0]), np.array([0.8, 0.4]), np.ones(2), resamples=0)
    assert result.brier == pytest.approx((0.04 + 0.16) / 2)
    assert result.log_loss == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)


def test_intervals_are_seeded_and_hold_the_value() -> None:
    y, p, amount = sample()
    one, two = report(y, p, amount, seed=7), report(y, p, amount, seed=7)
    assert one == two != report(y, p, amount, seed=8)
    assert one.roc_auc.low < one.roc_auc.value < one.roc_auc.high


def test_rows_drawn_together_widen_the_interval() -> None:
    y, p, amount = (np.tile(a, 20) for a in sample(400))
    alone, together = report(y, p, amount).roc_auc, report(y, p, amount, groups=np.arange(len(y)) % 400).roc_auc
    assert together.high - together.low > 2.0 * (alone.high - alone.low)


def test_the_prevalence_is_beside_the_precision() -> None:
    y, p, amount = sample()
    assert report(y, p, amount, resamples=0).prevalence == y.mean() < report(y, p, amount).average_precision.value


@pytest.mark.parametrize("y", [np.zeros(0), np.zeros(5), np.ones(5)])
def test_one_class_is_refused(y: F64) -> None:
    with pytest.raises(BadInput, match="frauds and honest"):
        report(y, np.full(len(y), 0.1), np.ones(len(y)))


def test_a_block_drawn_twice_is_as_good_as_there_twice() -> None:
    y, p, amount = sample(600)
    blocks, found = np.arange(600) % 3, np.random.default_rng(6).poisson(1.0, 3)
    copies = np.repeat(np.arange(600), found[blocks])
    drawn = report(y, p, amount, groups=blocks, resamples=1, seed=6)
    again = report(y[copies], p[copies], amount[copies], resamples=0)
    for name in ("average_precision", "roc_auc", "observed_expected"):
        assert getattr(drawn, name).low == pytest.approx(getattr(again, name).value)
    assert [one.low for one in drawn.value_recall] == pytest.approx([one.value for one in again.value_recall])
