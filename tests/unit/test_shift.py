"""The statistics of health checks: moved columns, missing fields, many tests at once."""

import numpy as np
import pytest

from avalist.models.shift import more_missing, shift, significant

RNG = np.random.default_rng(0)


def draws(n: int, mean: float = 0.0, unknown: float = 0.1) -> np.ndarray:
    values = RNG.normal(mean, 1.0, n).astype(np.float32)
    values[RNG.random(n) < unknown] = np.nan
    return values


def test_equal_distributions_have_uniform_p_values() -> None:
    p = [shift(draws(400), draws(300)).p_value for _ in range(300)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_a_moved_column_is_seen() -> None:
    moved = shift(draws(2000), draws(2000, mean=1.0))
    assert moved.psi > 0.5
    assert moved.distance == pytest.approx(0.38, abs=0.05)
    assert moved.p_value < 1e-9


def test_more_unknown_values_move_the_stability_index_alone() -> None:
    moved = shift(draws(4000), draws(4000, unknown=0.6))
    assert moved.psi > 0.25
    assert moved.p_value > 0.001


def test_a_column_that_is_never_known_has_not_moved() -> None:
    nothing = np.full(100, np.nan, np.float32)
    assert shift(nothing, nothing) == (0.0, 0.0, 1.0)


def test_missing_more_often() -> None:
    grown, p_value = more_missing(RNG.random(1000) < 0.1, RNG.random(1000) < 0.3)
    assert grown == pytest.approx(0.2, abs=0.05)
    assert p_value < 1e-9
    assert more_missing(np.ones(10, bool), np.ones(10, bool)) == (0.0, 1.0)


def test_many_tests_raise_a_false_alarm_no_more_often_than_said() -> None:
    alarms = [significant(RNG.random(200), 0.05).any() for _ in range(400)]
    assert np.mean(alarms) < 0.1
    assert significant(np.append(RNG.random(200), 1e-7), 0.05)[-1]
