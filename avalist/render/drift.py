"""Whether the shop is what the models learnt: level by time and columns that moved, in a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from avalist.app.health import MOVED, Health, Moved
from avalist.app.level import LevelCheck
from avalist.domain.schema import DAY_MS
from avalist.models.judge import Level
from avalist.render.blocks import Block, Chart, Heading, Listing, Series, Table, Text
from avalist.render.numbers import count, number, percent

_FEWEST_EXPECTED: Final = 3.0
_LINES: Final = 4
_ROWS: Final = 12


def drift(health: Health | None, by_time: tuple[Level, ...]) -> Iterator[Block]:
    """Yield the blocks on drift; none where nothing was checked."""
    if health is None:
        return
    yield Heading("Drift")
    yield Text(
        "Fraud changes, and shops do. Three questions tell, before the last report is in: are as many frauds reported "
        "as the models expected by now, have the values of columns moved, are fields missing? The latest "
        f"{health.days} days are compared with the four weeks before them. {count(health.checks)} such questions were "
        "asked, and each kind is allowed one false alarm in a thousand reports."
    )
    if health.alerts:
        yield Listing(tuple(f"{alert.kind}: {alert.words}" for alert in health.alerts))
    else:
        yield Text("No alarm: what differs is within chance, or too small to matter.")
    if levels := tuple(level for level in by_time if level.expected >= _FEWEST_EXPECTED):
        yield _over_time(levels)
    if health.levels:
        yield _levels(health.levels)
    if health.moved:
        yield from _moved(health)


def _over_time(levels: tuple[Level, ...]) -> Chart:
    ratios = [level.ratio for level in levels]
    return Chart(
        title="Observed over expected fraud, by when payments were made",
        x_label="first day",
        y_label="observed / expected",
        x_format="date",
        level=(1.0, ""),
        series=(
            Series(
                name="observed / expected", x=tuple(level.low for level in levels), y=tuple(r.value for r in ratios),
                low=tuple(r.low for r in ratios), high=tuple(r.high for r in ratios), style="points",
            ),
        ),
        caption="Expected are the reports that should be in by now. A step or a trend away from 1 is drift.",
    )  # fmt: skip


def _levels(levels: tuple[LevelCheck, ...]) -> Table:
    first, *others = levels
    loudest = [first, *sorted(others, key=lambda one: -abs(one.z))[: _ROWS - 1]]
    rows = tuple(_level(one) for one in loudest)
    caption = "Z: standard deviations beyond a factor of 1.3, by what whole days vary; 0 is within."
    return Table(("frauds of", "payments", "reported", "expected", "ratio", "Z"), rows, caption)


def _level(one: LevelCheck) -> tuple[str, ...]:
    figures = count(one.payments), number(one.observed), number(one.expected), f"{one.ratio:.2f}", f"{one.z:+.1f}"
    return one.subject, *figures


def _moved(health: Health) -> Iterator[Block]:
    lines = tuple(_line(one, health, colour) for colour, one in enumerate(health.moved[:_LINES], 1) if one.earlier)
    if lines:
        yield Chart(
            title="The columns that moved most",
            x_label="last day",
            y_label="stability index",
            x_format="date",
            level=(MOVED, "moved"),
            series=lines,
            caption="Each period against the four weeks before it: a line that is always high is no news.",
        )
    rows = tuple(
        (one.words, f"{one.psi:.2f}", f"{max(one.earlier):.2f}" if one.earlier else "–", percent(one.distance))
        for one in health.moved[:_ROWS]
    )
    yield Table(("column", "stability index", "most in periods before", "largest distance"), rows)


def _line(one: Moved, health: Health, colour: int) -> Series:
    """Return a column's index by the end of each period, the earliest first."""
    found = (one.psi, *one.earlier)[::-1]
    ends = (health.at_ms - k * health.days * DAY_MS for k in range(len(found) - 1, -1, -1))
    return Series(name=one.column, x=tuple(float(end) for end in ends), y=found, colour=colour)
