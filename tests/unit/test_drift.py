"""The alarm on immature labels: loud where reports exceed what was expected by much, silent where by little."""

import numpy as np
import pytest

from avalist.domain.schema import DAY_MS
from avalist.models.drift import Alarm, worst

N, NOW_MS = 8000, 100 * DAY_MS
T_MS = np.sort(np.random.default_rng(0).integers(NOW_MS - 40 * DAY_MS, NOW_MS, N))
EXPECTED = np.full(N, 0.02)
PLACE = np.arange(N) % 20
GROUPS = {"product": ([f"p{k}" for k in range(20)], PLACE)}


def alarm(rate: np.ndarray) -> Alarm | None:
    y = (np.random.default_rng(1).random(N) < rate).astype(np.float64)
    return worst(T_MS, y, EXPECTED, NOW_MS, GROUPS)


@pytest.mark.parametrize("level", [0.5, 1.0, 1.2])
def test_a_level_that_is_about_right_is_no_alarm(level: float) -> None:
    assert alarm(level * EXPECTED) is None


def test_a_level_that_is_far_off_is_one() -> None:
    found = alarm(3.0 * EXPECTED)
    assert found is not None
    assert (found.group, found.days) == ("all payments", 28)
    assert found.observed > 2.5 * found.expected


def test_an_attack_on_one_product_is_told_by_its_name() -> None:
    attacked = (PLACE == 3) & (T_MS > NOW_MS - 7 * DAY_MS)
    found = alarm(np.where(attacked, 0.5, EXPECTED))
    assert found is not None
    assert (found.group, found.days) == ("product p3", 7)
    assert "product p3, last 7 days" in found.words


def test_a_handful_of_reports_is_no_alarm() -> None:
    y = np.zeros(N)
    y[-4:] = 1.0
    assert worst(T_MS, y, EXPECTED * 1e-4, NOW_MS) is None
