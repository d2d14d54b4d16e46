"""The waves of the past, in a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from avalist.app.past_waves import PastWave
from avalist.render.blocks import Block, Chart, Heading, Series, Table, Text
from avalist.render.numbers import at, count, money, percent
from avalist.render.waves import habits_in_short, lasted

_MOST_ROWS: Final = 30


def past_waves(waves: Sequence[PastWave] | None, currency: str) -> Iterator[Block]:
    """Yield the blocks on waves; none where nothing is watched."""
    if waves is None:
        return
    yield Heading("Waves")
    if not waves:
        yield Text("No burst of payments shared habits more than chance explains. 'avalist waves' shows new ones.")
        return
    payments, minor = sum(wave.payments for wave in waves), sum(wave.minor for wave in waves)
    captured, reported = sum(wave.captured for wave in waves), sum(wave.reported for wave in waves)
    yield Text(
        f"{count(len(waves))} bursts of payments shared habits, by many accounts: {count(payments)} payments of "
        f"{money(minor, currency)}. The detector knows no label. Of those captured "
        f"{percent(reported / captured) if captured else 'none'} were reported as fraud by the end of the data; "
        "reports of the latest are still to come. 'avalist waves' lists their payments."
    )
    yield Chart(
        title="Waves by their first payment",
        x_label="first payment",
        y_label="payments",
        x_format="date",
        series=(
            Series(
                name="waves",
                x=tuple(float(wave.first_ms) for wave in waves),
                y=tuple(float(wave.payments) for wave in waves),
                style="points",
            ),
        ),
    )
    rows = tuple(_row(wave, currency) for wave in sorted(waves, key=lambda w: -w.payments)[:_MOST_ROWS])
    head = ("first payment (UTC)", "what they share", "lasted", "payments", "amount", "before the alarm", "reported")
    caption = f"The {len(rows)} largest of {count(len(waves))}." if len(rows) < len(waves) else ""
    yield Table(head, rows, caption, text_columns=2)


def _row(wave: PastWave, currency: str) -> tuple[str, ...]:
    return (
        at(wave.first_ms),
        habits_in_short(wave.shared, currency) or "no single fact",
        lasted(wave.first_ms, wave.last_ms),
        count(wave.payments),
        money(wave.minor, currency),
        count(wave.before_alarm),
        f"{count(wave.reported)} of {count(wave.captured)} captured",
    )
