"""The life of models and drift in the report: the figures of the log, and nothing where there is nothing to tell."""

from __future__ import annotations

from typing import Any

import msgspec

from avalist.app.challengers import challengers
from avalist.app.health import Health, Moved
from avalist.app.level import LevelCheck
from avalist.app.lineage import Step
from avalist.domain.alerts import Alert
from avalist.domain.core import Check, Evidence, ModelActivated, ModelRefused, ModelStaged
from avalist.models.judge import Level
from avalist.models.metrics import Interval
from avalist.render.blocks import Block, Chart, Page
from avalist.render.challengers import champion
from avalist.render.drift import drift
from avalist.render.html import page as html
from avalist.render.markdown import page as markdown

DAY_MS = 86_400_000
GOOD = Evidence(
    against="a0", judged=900, gain_minor=5000.0, gain_low_minor=1000.0, gain_high_minor=9000.0, declined=0.02,
    checks=(Check("profit", True, ""),),
)  # fmt: skip
BAD = msgspec.structs.replace(GOOD, gain_low_minor=-500.0, checks=(Check("profit", False, ""),))
STEPS = [
    Step(1, DAY_MS, "staged", "a0", ModelStaged("a0", "p")),
    Step(2, DAY_MS, "activated", "a0", ModelActivated("a0", "prior")),
    Step(3, 2 * DAY_MS, "refused", "b1", ModelRefused("b1", "p", "schedule", BAD)),
    Step(4, 3 * DAY_MS, "staged", "c2", ModelStaged("c2", "p", "drift", GOOD)),
    Step(5, 3 * DAY_MS, "activated", "c2", ModelActivated("c2", "gate", GOOD)),
    Step(6, 4 * DAY_MS, "rolled back", "a0", ModelActivated("a0", "rollback", GOOD)),
    Step(7, 5 * DAY_MS, "staged", "d3", ModelStaged("d3", "p", "labels", GOOD)),
]


def charts(blocks: list[Block]) -> list[Chart]:
    return [block for block in blocks if isinstance(block, Chart)]


def written(blocks: list[Block]) -> str:
    assert html(Page("t", "", tuple(blocks)))
    return markdown(Page("t", "", tuple(blocks)))


def test_a_challenger_that_was_let_in_at_once_is_one_step() -> None:
    found = [(one.version, one.what, one.cause, one.by, one.failed) for one in challengers(STEPS)]
    assert found == [
        ("a0", "activated", None, "prior", ()),
        ("b1", "refused", "schedule", None, ("profit",)),
        ("c2", "activated", "drift", "gate", ()),
        ("a0", "rolled back", None, "rollback", ()),
        ("d3", "staged", "labels", None, ()),
    ]


def test_the_page_tells_who_won_and_by_how_much() -> None:
    blocks = list(champion(challengers(STEPS), "EUR"))
    text = written(blocks)
    assert "3 challengers were trained; the gate let 1 in and refused 1, and 1 models were taken back" in text
    assert "Model a0 decides, since 1970-01-05" in text
    for words in ("network prior", "schedule: fails profit", "drift: it passed the gate", "waits for a person"):
        assert words in text
    (chart,) = charts(blocks)
    assert [(one.name, one.y, one.low) for one in chart.series] == [
        ("let in", (5000.0,), (1000.0,)),
        ("not let in", (5000.0, 5000.0), (-500.0, 1000.0)),
    ]


def test_nothing_happened_and_nothing_was_checked() -> None:
    assert not list(champion((), "EUR"))
    assert not list(drift(None, ()))


def health(**changes: Any) -> Health:
    moved = Moved(
        column="c", code="shared.card", words="cards", psi=0.6, least=0.5, distance=0.2, p_value=0.0,
        earlier=(0.2, 0.1),
    )  # fmt: skip
    level = LevelCheck(subject="all payments", payments=100, observed=30.0, expected=10.0, z=4.1)
    said = {"levels": (level,), "moved": (moved,)} | changes
    return Health(merchant="shop", at_ms=70 * DAY_MS, days=7, payments=100, checks=2, **said)


def test_the_page_on_drift_shows_when_and_which_columns() -> None:
    level = Level(30.0 * DAY_MS, 37.0 * DAY_MS, 100, 10.0, 30.0, Interval(3.0, 2.0, 4.0))
    blocks = list(drift(health(), (level, msgspec.structs.replace(level, expected=0.1))))
    by_time, columns = charts(blocks)
    assert by_time.series[0].x == (30.0 * DAY_MS,)
    assert (columns.series[0].x, columns.series[0].y) == (
        (56.0 * DAY_MS, 63.0 * DAY_MS, 70.0 * DAY_MS),
        (0.1, 0.2, 0.6),
    )
    text = written(blocks)
    assert "No alarm" in text
    assert "+4.1" in text
    alert = Alert(kind="drift", subject="shared.card", value=0.6, words="cards: moved")
    assert "drift: cards: moved" in written(list(drift(health(alerts=(alert,)), ())))
