import numpy as np
import pytest

from avalist.domain.errors import BadInput
from avalist.models.calibrate import Calibration, calibrate
from avalist.models.metrics import average_precision
from avalist.models.trees import F64


def draw(n: int, level: float, seed: int = 0) -> tuple[F64, F64, F64]:
    """Return margins, labels and true probabilities, which are no logistic function of the margin."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(size=n)
    p = 1.0 / (1.0 + np.exp(-(level + margins + np.maximum(margins - 1.0, 0.0) * 2.0)))
    return margins, (rng.random(n) < p).astype(np.float64), p


def test_probabilities_increase_strictly_inside_the_clip() -> None:
    margins, y, _ = draw(20_000, -4.0)
    p = calibrate(margins, y).apply(np.linspace(-6.0, 6.0, 2000))
    assert (np.diff(p)[(p[:-1] > 1e-6) & (p[1:] < 1.0 - 1e-6)] > 0.0).all()


def test_the_map_recovers_what_platt_alone_cannot() -> None:
    margins, y, _ = draw(100_000, -4.0)
    fresh, _, p = draw(20_000, -4.0, seed=1)
    fitted = calibrate(margins, y)
    line = Calibration(fitted.knots[:1].copy(), fitted.log_odds[:1].copy(), fitted.slope)
    assert np.abs(fitted.apply(fresh) - p).mean() < 0.5 * np.abs(line.apply(fresh) - p).mean()


def test_the_level_is_kept() -> None:
    margins, y, _ = draw(50_000, -5.0)
    assert calibrate(margins, y).apply(margins).sum() == pytest.approx(y.sum(), rel=0.03)


def test_ranking_survives() -> None:
    margins, y, _ = draw(50_000, -5.0)
    assert average_precision(y, calibrate(margins, y).apply(margins)) == pytest.approx(average_precision(y, margins))


def test_few_frauds_give_a_line_between_the_bounds() -> None:
    margins, y, _ = draw(2000, -6.0)
    assert 0 < y.sum() < 50
    p = calibrate(margins, y).apply(np.array([0.0, 0.5, 1.0]))
    first, second = np.diff(np.log(p / (1.0 - p)))
    assert first == pytest.approx(second, abs=1e-5)


def test_no_probability_is_surer_than_the_slice() -> None:
    margins, y, _ = draw(5000, -4.0)
    p = calibrate(margins, y).apply(np.array([-50.0, 50.0]))
    assert p[0] > 0.3 / len(y)
    assert p[1] < (y.sum() + 0.5) / (y.sum() + 1.0)


def test_a_bound_is_what_the_riskiest_showed() -> None:
    margins = np.arange(1000.0)
    y = np.zeros(1000)
    y[-100:] = np.arange(100) % 2  # of the riskiest hundred every second is fraud
    assert 0.4 < calibrate(margins / 100.0, y).apply(np.array([30.0]))[0] < 0.8


def test_a_young_slice_is_less_sure() -> None:
    margins, y, _ = draw(5000, -4.0)
    seen = y * (np.random.default_rng(1).random(len(y)) < 0.1)
    sure, unsure = (
        calibrate(margins, *args).apply(np.array([-50.0]))[0] for args in ((y,), (seen, np.full(5000, 0.1)))
    )
    assert unsure > 2.0 * sure


def test_a_useless_or_reversed_margin_still_increases() -> None:
    margins, y, _ = draw(5000, -3.0)
    p = calibrate(-margins, y).apply(np.array([-2.0, 0.0, 2.0]))
    assert p[0] < p[1] < p[2]


def test_separable_data_stay_finite() -> None:
    margins = np.linspace(-1.0, 1.0, 400)
    fitted = calibrate(margins, (margins > 0.0).astype(np.float64))
    assert np.isfinite(fitted.log_odds).all()
    assert fitted.slope < 100.0


def test_frauds_not_yet_reported_are_allowed_for() -> None:
    margins, y, p = draw(100_000, -4.0)
    reported = np.random.default_rng(5).random(len(y)) < 0.25
    found = calibrate(margins, y * reported, np.full(len(y), 0.25)).apply(margins)
    assert found.sum() == pytest.approx(p.sum(), rel=0.1)


def test_probabilities_are_clipped_and_rounded() -> None:
    p = Calibration(np.zeros(1), np.zeros(1), 1.0).apply(np.array([-1000.0, 0.123456, 1000.0]))
    assert p.tolist() == [1e-6, round(float(p[1]), 9), 1.0 - 1e-6]


@pytest.mark.parametrize("y", [np.zeros(0), np.zeros(10), np.ones(10)])
def test_one_class_is_refused(y: F64) -> None:
    with pytest.raises(BadInput, match="frauds and honest"):
        calibrate(np.zeros(len(y)), y)
