"""The chances by the Handbook's laws, on hand-made payments."""

from __future__ import annotations

import numpy as np
import pytest

from bench._book_laws import LEAST_RUN, SIEGE_D, SIEGES, Laws
from bench._protocol import DAY_MS, I64, Payments


def payments(*rows: tuple[int, int, int, int, bool]) -> Payments:
    """Payments of (day, customer, terminal, amount, fraud), at noon, in order of time."""
    day, customer, terminal, amount, fraud = (np.array(c) for c in zip(*sorted(rows), strict=True))
    t_ms: I64 = day * DAY_MS + DAY_MS // 2
    return Payments(t_ms, day, customer, terminal, amount * 100, fraud)


def besieged(days: range, begun: int, quiet: tuple[int, ...] = ()) -> Payments:
    """Payments of one terminal, one on each day that is not quiet, each by somebody else."""
    return payments(*((day, day, 1, 40, begun <= day < begun + SIEGE_D) for day in days if day not in quiet))


def test_a_large_payment_is_certain() -> None:
    table = payments((0, 1, 1, 40, False), (1, 1, 1, 221, False))
    first, second = Laws(table).chances(np.arange(2))
    assert first < 0.01
    assert second == 1.0


def test_a_siege_is_told_from_its_first_known_fraud_to_its_last_day() -> None:
    chances = Laws(besieged(range(50), 10)).chances(np.arange(50))
    assert chances[10:18].max() < 0.01, "its reports take more than 7 days"
    assert chances[18:38].min() == pytest.approx(1.0)
    assert chances[38:].max() < 0.01


def test_a_siege_that_began_between_two_payments_ends_in_doubt() -> None:
    table = besieged(range(50), 10, quiet=(8, 9))
    at = dict(zip(table.day.tolist(), Laws(table).chances(np.arange(len(table.day))).tolist(), strict=True))
    assert at[35] == pytest.approx(1.0)
    assert at[36] == pytest.approx(2 / 3, abs=0.01)
    assert at[37] == pytest.approx(1 / 3, abs=0.01)


def test_few_frauds_are_no_siege() -> None:
    table = payments(*((day, day, 1, 40, 10 <= day < 10 + LEAST_RUN - 1) for day in range(30)))
    assert Laws(table).chances(np.arange(30)).max() < 0.01


def test_a_terminal_not_heard_of_may_be_under_siege() -> None:
    table = payments((0, 1, 1, 40, False), (20, 2, 1, 40, False))
    assert Laws(table).chances(np.array([1]))[0] == pytest.approx(SIEGES * 20, rel=0.2)


def test_a_thief_pays_more_and_again() -> None:
    usual = [(day, 1, day, 20, False) for day in range(30)]
    once = payments(*usual, (31, 1, 90, 45, True))
    again = payments(*usual, (30, 1, 91, 60, True), (31, 1, 90, 45, True))
    last = [float(Laws(table).chances(np.array([len(table.day) - 1]))[0]) for table in (once, again)]
    assert 0.001 < last[0] < last[1]
    assert last[1] > 5 * last[0]


def test_a_payment_known_to_be_honest_speaks_against_a_theft() -> None:
    usual = [(day, 1, day, 20, False) for day in range(22)]
    known = payments(*usual, (22, 1, 91, 60, False), (31, 1, 90, 45, True))
    open_yet = payments(*usual, (26, 1, 91, 60, False), (31, 1, 90, 45, True))
    last = [float(Laws(table).chances(np.array([len(table.day) - 1]))[0]) for table in (known, open_yet)]
    assert last[0] < last[1]
