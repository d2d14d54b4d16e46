"""The level on immature labels: what exceeds expectation by much is told, what does by little or by a wave is not."""

from dataclasses import replace

import numpy as np
import pytest

from avalist.app.learn import alarm_at
from avalist.app.level import ALL_PAYMENTS, LevelCheck, level_checks, off
from avalist.domain.delay import DelayLaw
from avalist.domain.schema import DAY_MS
from avalist.models.delay import ReportDelay, as_declared
from avalist.models.level import dispersion, z_beyond
from avalist.policy.choose import Sold
from tests.judged import dataset

RNG = np.random.default_rng(0)
DATA = dataset(8000, 90)
AT_ONCE: ReportDelay = as_declared(DelayLaw(0.01, 0.02))
P = np.full(len(DATA.t_ms), 0.02)
PLACE = np.arange(len(P)) % 20
NOW_MS = int(DATA.t_ms[-1])


def found(rate: np.ndarray, seed: int = 1) -> list[LevelCheck]:
    """Return what is off where frauds come at a rate and 2 % are expected; every one is reported at once."""
    fraud = np.flatnonzero(np.random.default_rng(seed).random(len(P)) < rate)
    one, none = np.ones(len(P), np.int64), np.zeros(len(P), np.int64)
    y = none.copy()
    y[fraud] = 1
    changes = np.column_stack((np.arange(len(P)), one, y, DATA.t_ms, one))
    sold = [Sold("", f"p{k}", None) for k in PLACE.tolist()]
    return off(level_checks(of(changes, sold), NOW_MS, P, AT_ONCE))


def of(changes: np.ndarray, sold: list[Sold]):  # type: ignore[no-untyped-def]
    return replace(DATA, changes=changes, background=replace(DATA.background, sold=sold))


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.2])
def test_a_level_that_is_about_right_is_not_told(factor: float) -> None:
    assert found(factor * P) == []


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_level_that_is_far_off_is_told(factor: float) -> None:
    whole = found(factor * P)[0]
    assert whole.subject == ALL_PAYMENTS
    assert whole.ratio == pytest.approx(factor, rel=0.2)
    assert np.sign(whole.z) == np.sign(factor - 1.0)


def test_an_attack_on_one_product_is_told_by_its_name() -> None:
    attacked = (PLACE == 3) & (DATA.t_ms > NOW_MS - 7 * DAY_MS)
    subjects = {one.subject for one in found(np.where(attacked, 0.5, P))}
    assert "product p3, last 7 days" in subjects
    assert not any(name.startswith("product") and "p3" not in name for name in subjects)


def test_one_wave_is_one_surprise_and_many_days_are_not() -> None:
    expected, day, y = np.full(20_000, 0.001), np.arange(20_000) // 200, np.zeros(20_000)
    y[:100] = 1.0
    assert z_beyond(100.0, 20.0, dispersion(y, expected, day)) < 2.0
    assert z_beyond(100.0, 20.0, dispersion(RNG.permutation(y), expected, day)) > 8.0


def test_counts_within_chance_have_standard_normal_signs() -> None:
    z = np.array([z_beyond(float(o), 30.0, most_off=1.0) for o in RNG.poisson(30.0, 4000)])
    assert (z.mean(), z.std()) == (pytest.approx(0.0, abs=0.1), pytest.approx(1.0, abs=0.05))


def test_a_handful_of_reports_nobody_expected_is_no_alarm() -> None:
    assert z_beyond(4.0, 1e-6) < 4.0
    assert z_beyond(12.0, 1e-6) > 4.0


def test_training_is_not_called_for_by_too_few_reports() -> None:
    assert alarm_at(DATA, np.full(len(P), 0.5), None, DATA.cut_ms) is None
    assert off(level_checks(DATA, DATA.cut_ms, np.full(len(P), 0.5)))
    alarm = alarm_at(DATA, np.full(len(P), 0.001), None, DATA.cut_ms)
    assert alarm is not None
    assert "were expected by now" in alarm.words
