"""The delay law: estimated from reports seen so far, without their bias; what a model and a report make of it."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from avalist.app.report import report
from avalist.app.train import delay_at, known_by, train_on
from avalist.domain.delay import DelayLaw
from avalist.models.artefact import Artefact
from avalist.models.delay import ReportDelay, estimate
from avalist.models.judge import Level
from avalist.models.metrics import Interval
from avalist.models.trees import F64
from tests.judged import SCHEMA, SMALL, dataset

DECLARED, TRUE = DelayLaw(25.0, 90.0), DelayLaw(40.0, 120.0)
AGES = np.array([10.0, 20.0, 40.0, 80.0])


def seen(n: int, days: float, law: DelayLaw = TRUE, seed: int = 0) -> tuple[F64, F64]:
    """Return delays and ages of the reports that are in, of `n` frauds over `days`."""
    rng = np.random.default_rng(seed)
    age_d, delay_d = rng.uniform(0, days, n), law.median_d * np.exp(law.sigma * rng.standard_normal(n))
    return delay_d[delay_d <= age_d], age_d[delay_d <= age_d]


def truth(law: DelayLaw) -> F64:
    return np.array([law.reported_by(age) for age in AGES.tolist()])


def test_without_reports_it_is_the_declared_law() -> None:
    none = estimate(DECLARED, np.empty(0), np.empty(0))
    assert none.reported_by(AGES) == pytest.approx(truth(DECLARED), abs=1e-4)
    assert none.reported_by(np.array([0.0, 1000.0])) == pytest.approx([0.0, 1.0], abs=1e-4)


def test_a_constant_law_is_a_step() -> None:
    constant = estimate(DelayLaw(7.0, 7.0), np.empty(0), np.empty(0))
    assert constant.reported_by(np.array([6.999, 7.0, 30.0])).tolist() == pytest.approx([0.0, 1.0, 1.0])


def test_that_only_fast_reports_are_in_yet_does_not_make_reports_fast() -> None:
    delay_d, age_d = seen(6000, 150.0)
    found = estimate(DECLARED, delay_d, age_d).reported_by(AGES)
    assert found == pytest.approx(truth(TRUE), rel=0.05, abs=0.01)
    naive = (delay_d[:, None] <= AGES).mean(axis=0)
    assert (naive > 1.1 * truth(TRUE)).all()


def test_the_interval_covers_and_shrinks() -> None:
    covered = 0
    for seed in range(40):
        law = estimate(DECLARED, *seen(1500, 365.0, seed=seed))
        low, high = np.interp(AGES, law.age_d, law.low), np.interp(AGES, law.age_d, law.high)
        covered += int(((low <= truth(TRUE)) & (truth(TRUE) <= high)).sum())
    assert covered / 160 > 0.75
    widths = [np.ptp(estimate(DECLARED, *seen(n, 365.0)).quantile_d(0.5)[1:]) for n in (100, 3000)]
    assert widths[1] < 0.5 * widths[0]


def test_beyond_the_history_the_declared_law_decides() -> None:
    young = estimate(DECLARED, *seen(500, 40.0)).reported_by(np.array([90.0, 150.0]))
    assert young == pytest.approx([DECLARED.reported_by(90.0), DECLARED.reported_by(150.0)], abs=1e-3)


def test_drawn_times_say_nothing() -> None:
    data = dataset()
    drawn = data.changes.copy()
    drawn[:, 4] = 0
    assert delay_at(data, data.cut_ms).reports > 90
    assert delay_at(replace(data, changes=drawn), data.cut_ms).reports == 0


def test_a_report_taken_back_or_still_to_come_is_not_counted() -> None:
    data = dataset(500)
    reports = data.reports_at(data.cut_ms)
    payment, at = reports[0].tolist()
    back = np.concatenate((data.changes, [[payment, 0, -1, at + 1, 1]]))
    assert payment not in replace(data, changes=back).reports_at(data.cut_ms)[:, 0]
    assert payment not in data.reports_at(at - 1)[:, 0]


def test_the_model_keeps_the_law_and_its_check() -> None:
    model = train_on(data := dataset())
    assert model.delay == delay_at(data, data.cut_ms)
    assert sum(level.observed for level in model.by_age) == known_by(data, data.cut_ms).y.sum()
    again = Artefact.from_bytes(model.to_bytes())
    assert (again.delay, again.by_age, again.version) == (model.delay, model.by_age, model.version)


def test_a_wrong_law_is_noticed() -> None:
    data = dataset(20_000)
    drawn = data.changes.copy()
    drawn[:, 4] = 0  # nothing corrects what is declared
    slow = msgspec.structs.replace(SCHEMA, report_delay_d=(60.0, 120.0))
    assert not train_on(data).off
    assert train_on(replace(data, schema=slow, changes=drawn)).off


def test_a_level_is_off_where_its_whole_interval_is() -> None:
    def level(expected: float, low: float, high: float) -> Level:
        return Level(0.0, 7.0, 10, expected, 1.0, Interval((low + high) / 2, low, high))

    assert level(20.0, 1.4, 2.0).off
    assert level(20.0, 0.2, 0.7).off
    assert not level(20.0, 0.9, 2.0).off
    assert not level(2.0, 1.4, 2.0).off  # chance: one seen, two expected


def test_the_report_tells_the_law() -> None:
    found = report(dataset(), "shop", SMALL).census.delay
    assert found.reports > 90
    assert found.median_d.low <= 5.0 <= found.median_d.high


def test_quantiles_are_ages() -> None:
    law = ReportDelay((1.0, 2.0), 0, (0.0, 1.0, 2.0), (0.0, 0.5, 1.0), (0.0, 0.4, 0.9), (0.0, 0.6, 1.0))
    assert law.quantile_d(0.5) == (1.0, 1.0, 2.0)
