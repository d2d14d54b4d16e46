"""Which patterns pay, in a report."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.pattern_choice import PatternChoice
from avalist.models.metrics import Interval
from avalist.render.blocks import Block, Heading, Table, Text
from avalist.render.numbers import count, percent


def pattern_choice(choice: PatternChoice | None) -> Iterator[Block]:
    """Yield the blocks on patterns; none where nothing was judged."""
    if choice is None:
        return
    yield Heading("Do the patterns pay?")
    kept = f"Worth their columns: {', '.join(choice.kept)}." if choice.kept else "None is clearly worth its columns."
    gone = f" Surely not worth them: {', '.join(choice.retired)}." if choice.retired else ""
    yield Text(
        f"A model without columns of patterns scored {count(choice.payments)} later payments, {count(choice.frauds)} "
        f"of them reported as fraud; then each pattern's columns explained what it had left. {kept}{gone} All "
        f"{count(choice.present_columns)} together take away {gained(choice.present)} of its log loss on the last "
        "stretch of days. 'avalist features patterns' tries new combinations too, and changes the plan."
    )
    rows = tuple(
        (one.name, one.verdict, count(one.columns), percent(one.spread.commonest), gained(one.gain))
        for one in choice.evidence
    )
    yield Table(("pattern", "verdict", "columns", "share of the commonest", "gain alone"), rows, "", text_columns=2)


def gained(gain: Interval) -> str:
    """Return a share of the log loss with its interval.

    >>> gained(Interval(0.0213, 0.01, -0.0))
    '+2.13% (+1.00% to -0.00%)'
    """
    return f"{gain.value:+.2%} ({gain.low:+.2%} to {gain.high:+.2%})"
