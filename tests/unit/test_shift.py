"""The statistics of health checks: moved columns, missing fields, many tests at once."""

import numpy as np
import pytest

from avalist.models.shift import apart, by_day, design_effect, edges, more_missing, significant, stability

RNG = np.random.default_rng(0)


def draws(n: int, mean: float = 0.0, unknown: float = 0.1) -> np.ndarray:
    values = RNG.normal(mean, 1.0, n).astype(np.float32)
    values[RNG.random(n) < unknown] = np.nan
    return values


def psi(before: np.ndarray, now: np.ndarray) -> float:
    cuts = edges(before)
    p, q = (by_day(values, np.zeros(len(values), np.int64), 1, cuts)[0] for values in (before, now))
    return stability(p, q)


def test_equal_distributions_have_uniform_p_values() -> None:
    p = [apart(draws(400), draws(300))[1] for _ in range(300)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_days_that_share_their_values_have_uniform_p_values_by_their_design_effect() -> None:
    found = []
    for _ in range(100):
        values = (draws(35 * 40, unknown=0.0) + np.repeat(RNG.normal(0, 0.5, 35), 40)).astype(np.float32)
        counts = by_day(values, np.arange(len(values)) // 40, 35, edges(values))
        found.append([apart(values[280:], values[:280], effect)[1] for effect in (1.0, design_effect(counts))])
    plain, allowed = np.mean(np.array(found) < 0.01, axis=0)
    assert plain > 0.15
    assert allowed <= 0.03


def test_nothing_is_told_of_a_column_that_has_one_value_a_day() -> None:
    day = np.repeat(np.arange(28), 200)
    before, now = (day % 9).astype(np.float32), np.full(1400, 8.5, np.float32)
    effect = design_effect(by_day(before, day, 28, edges(before)))
    assert effect > 100.0
    assert apart(before, now)[1] < 1e-9
    assert apart(before, now, effect)[1] == 1.0


def test_independent_days_have_no_design_effect() -> None:
    counts = by_day(draws(30 * 200), np.arange(30 * 200) // 200, 30, edges(draws(1000)))
    assert 1.0 <= design_effect(counts) < 2.0
    assert design_effect(counts[:1]) == design_effect(np.zeros((5, 3), np.int64)) == 1.0


def test_a_moved_column_is_seen() -> None:
    before, now = draws(2000), draws(2000, mean=1.0)
    distance, p_value = apart(before, now)
    assert psi(before, now) > 0.5
    assert distance == pytest.approx(0.38, abs=0.05)
    assert p_value < 1e-9


def test_more_unknown_values_move_the_stability_index_alone() -> None:
    before, now = draws(4000), draws(4000, unknown=0.6)
    assert psi(before, now) > 0.25
    assert apart(before, now)[1] > 0.001


def test_a_column_that_is_never_known_has_not_moved() -> None:
    nothing = np.full(100, np.nan, np.float32)
    assert (psi(nothing, nothing), apart(nothing, nothing)) == (0.0, (0.0, 1.0))


def test_missing_more_often() -> None:
    grown, p_value = more_missing(RNG.random(1000) < 0.1, RNG.random(1000) < 0.3)
    assert grown == pytest.approx(0.2, abs=0.05)
    assert p_value < 1e-9
    assert more_missing(np.ones(10, bool), np.ones(10, bool)) == (0.0, 1.0)


def test_many_tests_raise_a_false_alarm_no_more_often_than_said() -> None:
    alarms = [significant(RNG.random(200), 0.05).any() for _ in range(400)]
    assert np.mean(alarms) < 0.1
    assert significant(np.append(RNG.random(200), 1e-7), 0.05)[-1]
