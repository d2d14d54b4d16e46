"""Champion against challengers, in a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from avalist.app.challengers import Challenger
from avalist.domain.core import By
from avalist.models.metrics import Interval
from avalist.render.blocks import Block, Chart, Heading, Series, Table, Text
from avalist.render.numbers import NOTHING, between, count, day, money, percent

WHO: Final[dict[By, str]] = {
    "operator": "by a person",
    "gate": "it passed the gate",
    "rollback": "taken back",
    "prior": "the network prior that every merchant begins with",
}
"""Who activated a model, in words."""
_MOST_ROWS: Final = 30
_OUTCOMES: Final = (("let in", True, 1), ("not let in", False, 2))


def champion(steps: Sequence[Challenger], currency: str) -> Iterator[Block]:
    """Yield the blocks on the models' life; none where there was no step."""
    if not steps:
        return
    yield Heading("Champion against challengers")
    yield Text(_summary(steps))
    judged = [step for step in steps if step.judged]
    if judged:
        yield _gains(judged, currency)
    shown = tuple(_row(step, currency) for step in reversed(steps[-_MOST_ROWS:]))
    head = ("day (UTC)", "model", "what became of it", "why", "judged on", "earns more", "90 % interval", "declines")
    caption = f"The last {len(shown)} of {count(len(steps))} steps." if len(shown) < len(steps) else ""
    yield Table(head, shown, caption, text_columns=4)


def _summary(steps: Sequence[Challenger]) -> str:
    trained = sum(step.what in ("staged", "refused") or step.by == "gate" for step in steps)
    let_in, back = sum(step.by == "gate" for step in steps), sum(step.what == "rolled back" for step in steps)
    refused = sum(step.what == "refused" for step in steps)
    active = next((step for step in reversed(steps) if step.what in ("activated", "rolled back")), None)
    decides = f"Model {active.version} decides, since {day(active.at_ms)}." if active else "No model decides."
    return (
        f"{count(trained)} challengers were trained; the gate let {count(let_in)} in and refused {count(refused)}, and "
        f"{count(back)} models were taken back. {decides} A challenger must be shown to earn more than the model that "
        "decides, on payments that grew no tree of either, so an equal one is refused."
    )


def _gains(judged: Sequence[Challenger], currency: str) -> Chart:
    series = []
    for name, let_in, colour in _OUTCOMES:
        mine = [one for one in judged if (one.what == "activated") is let_in]
        gains = [_gain(one) for one in mine]
        series.append(
            Series(
                name=name,
                x=tuple(float(one.at_ms) for one in mine),
                y=tuple(gain.value for gain in gains),
                low=tuple(gain.low for gain in gains),
                high=tuple(gain.high for gain in gains),
                style="points",
                colour=colour,
            )
        )
    return Chart(
        title="What each challenger would have earned more",
        x_label="day of its training",
        y_label=f"gain in {currency}",
        x_format="date",
        y_format="money",
        currency=currency,
        level=(0.0, "the model that decided"),
        series=tuple(one for one in series if one.x),
        caption="On the last 45 days as of then, doubly robust, with 90 % intervals.",
    )


def _gain(step: Challenger) -> Interval:
    assert step.evidence is not None, "only those that were judged are shown"
    return Interval(step.evidence.gain_minor, step.evidence.gain_low_minor, step.evidence.gain_high_minor)


def _row(step: Challenger, currency: str) -> tuple[str, ...]:
    why = WHO[step.by] if step.by else f"fails {', '.join(step.failed)}" if step.failed else "waits for a person"
    told = day(step.at_ms), step.version, step.what, f"{step.cause}: {why}" if step.cause else why
    if step.evidence is None or not step.judged:
        return (*told, *[NOTHING] * 4)
    gain, said = _gain(step), step.evidence
    declines = f"{percent(said.declined)}, the other {percent(said.declined_before)}"
    return (
        *told,
        count(said.judged),
        money(gain.value, currency),
        between(gain, "money", currency),
        declines,
    )
