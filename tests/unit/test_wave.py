"""Wave detection: what raises an alarm, what does not, and that it is a fold."""

from __future__ import annotations

import numpy as np
import pytest

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND, keys_at, row_width
from avalist.domain.schema import EntityDecl, NumberDecl, Schema
from avalist.features import wave
from avalist.features.layout import I64
from avalist.features.wave import ALARMS, EVIDENCE, EXCESS, OPEN, RUN, Watch

SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("account", "customer.id"), EntityDecl("device", "pattern.device"), EntityDecl("bin", "bin")),
    numbers=(NumberDecl("evidence", "wave.evidence"), NumberDecl("alarms", "wave.alarms")),
)
FIRST = keys_at(SCHEMA)
T0, MINUTE, DAY = 20_000 * 86_400_000, 60_000, 86_400_000


def usual(n: int, days: float, seed: int = 1) -> I64:
    """Return payments of ever new accounts whose patterns have a long tail, evenly spread."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, row_width(SCHEMA)), dtype=np.int64)
    rows[:, AT] = T0 + np.sort(rng.integers(0, round(days * DAY), n))
    rows[:, FIRST] = rng.integers(1, 1 << 40, n)
    rows[:, FIRST + 1 :] = rng.zipf(1.4, (n, 2)) % 5_000 + 10
    return rows


def burst(n: int, at: int, gap: int = MINUTE, accounts: int = 0) -> I64:
    rows = usual(n, 1.0, seed=2)
    rows[:, AT] = at + np.arange(n) * gap
    rows[:, FIRST + 1] = 777_777
    if accounts:
        rows[:, FIRST] = np.arange(n) % accounts + 1
    return rows


def merged(*parts: I64) -> I64:
    rows = np.concatenate(parts)
    return rows[np.argsort(rows[:, AT], kind="stable")]


def marks_of(rows: I64, watch: Watch | None = None) -> I64:
    watch = watch or Watch(SCHEMA)
    watch.fold(rows)
    return watch.marks


def test_a_burst_of_strangers_with_one_pattern_raises_an_alarm_within_six_payments() -> None:
    rows = merged(usual(20_000, 20), burst(12, T0 + 19 * DAY))
    mine = marks_of(rows)[rows[:, FIRST + 1] == 777_777]
    first = int(np.flatnonzero(mine[:, ALARMS])[0])
    assert first < 6
    assert mine[first, OPEN] == 1
    assert mine[first, RUN] == first + 1
    assert (np.diff(mine[: first + 1, EVIDENCE]) > 0).all()


def test_one_account_alone_is_no_wave() -> None:
    rows = merged(usual(20_000, 20), burst(40, T0 + 19 * DAY, accounts=3))
    assert marks_of(rows)[rows[:, FIRST + 1] == 777_777][:, ALARMS].max() == 0


def test_a_pattern_that_always_was_frequent_is_no_wave() -> None:
    rows = usual(30_000, 30)
    rows[::20, FIRST + 1] = 777_777
    assert marks_of(rows)[10_000:, ALARMS].max() == 0


@pytest.mark.parametrize("seed", range(5))
def test_nothing_changes_and_no_alarm_is_raised(seed: int) -> None:
    rows = usual(60_000, 60, seed)
    assert marks_of(rows)[10_000:, ALARMS].sum() == 0


def test_of_a_rare_pattern_nearly_all_is_excess_and_of_a_usual_one_its_growth() -> None:
    quiet = usual(30_000, 30)
    rare = merged(quiet, burst(60, T0 + 19 * DAY))
    assert marks_of(rare)[rare[:, FIRST + 1] == 777_777][-1, EXCESS] >= 90
    quiet[::50, FIRST + 1] = 777_777  # two in a hundred, and then four times as many for a day
    grown = merged(quiet, burst(60, T0 + 19 * DAY, gap=20 * MINUTE))
    mine = marks_of(grown)[(grown[:, FIRST + 1] == 777_777) & (grown[:, AT] > T0 + 19 * DAY)]
    told = mine[mine[:, ALARMS] > 0, EXCESS]
    assert 40 < told[:40].mean() < 90


def test_excess_wanes_when_the_burst_is_over() -> None:
    quiet = usual(30_000, 30)
    quiet[::50, FIRST + 1] = 777_777
    rows = merged(quiet, burst(60, T0 + 19 * DAY))
    mine = (rows[:, FIRST + 1] == 777_777) & (rows[:, AT] >= T0 + 19 * DAY)
    told = marks_of(rows)[mine, EXCESS]
    assert told[59] > 3 * told[75]


def test_a_wave_closes_by_itself() -> None:
    rows = merged(usual(30_000, 30), burst(60, T0 + 19 * DAY), burst(1, T0 + 19 * DAY + 13 * 60 * MINUTE))
    mine = marks_of(rows)[rows[:, FIRST + 1] == 777_777]
    assert mine[59, ALARMS] == 1
    assert mine[60, ALARMS] == 0


def test_however_it_is_cut_it_is_the_same_fold() -> None:
    rows = merged(usual(5_000, 20), burst(30, T0 + 19 * DAY))
    whole, cut = Watch(SCHEMA), Watch(SCHEMA)
    whole.fold(rows)
    marks = [marks_of(part, cut) for part in np.array_split(rows, 70)]
    assert (whole.words == cut.words).all()
    assert (whole.marks == np.concatenate(marks)).all()


def test_what_comes_again_is_told_and_not_counted() -> None:
    rows = merged(usual(5_000, 20), burst(30, T0 + 19 * DAY))
    watch = Watch(SCHEMA)
    watch.fold(rows)
    before = watch.words.copy()
    again = rows[rows[:, FIRST + 1] == 777_777][-1:].copy()
    again[:, KIND] = FoldKind.READ_ONLY
    filled = watch.fold(again)
    assert (watch.words == before).all()
    assert filled[0, FIRST - 2 : FIRST].tolist() == watch.marks[0, [0, 2]].tolist()
    assert filled[0, FIRST - 1] == 1


def test_its_memory_is_bounded_and_rare_patterns_give_way_first() -> None:
    rows = usual(120_000, 20)
    rows[:, FIRST + 1] = np.arange(len(rows)) + 10
    rows[::50, FIRST + 1] = 777_777
    watch = Watch(SCHEMA)
    watch.fold(rows)
    kept = watch.words[wave.HEAD :].reshape(-1, wave.SLOT)[:, wave.P_KEY]
    assert len(watch.words) == wave.WORDS
    assert 777_777 in kept
    assert watch.words[wave.PATTERNS] <= wave.SETS * wave.WAYS


def test_a_schema_that_asks_for_no_wave_is_not_watched() -> None:
    assert not Watch(Schema(base_currency="EUR", entities=SCHEMA.entities))
