"""Waves of the past in the report: what became of their payments."""

from __future__ import annotations

import numpy as np

from avalist.app.past_waves import past_waves
from avalist.app.waves import Listed, Shared, Wave
from avalist.render.blocks import Page
from avalist.render.markdown import page
from avalist.render.past_waves import past_waves as blocks
from tests.judged import dataset


def test_reports_are_counted_among_the_listed_payments() -> None:
    data = dataset()
    captured, fraud = data.known_at(data.cut_ms)
    rows = [*np.flatnonzero(fraud)[:3].tolist(), *np.flatnonzero(captured & ~fraud)[:2].tolist()]
    listed = [Listed(f"p{row}", 10 * n, 500) for n, row in enumerate(rows)]
    wave = Wave(id=1, first_ms=0, opened_ms=20, last_ms=40, count=9, amount_minor=4500, payments=listed)
    wave.payments.append(Listed("of another log", 50, 500))
    (found,) = past_waves(data, [wave])
    assert (found.payments, found.listed, found.captured, found.reported, found.before_alarm) == (9, 5, 5, 3, 2)


def test_the_page_says_what_was_reported_and_shared() -> None:
    wave = Wave(id=1, first_ms=0, opened_ms=20, last_ms=40, count=2, amount_minor=4500)
    wave.shared = [Shared("bin", "411111", 1.0, 0.02)]
    text = page(Page("t", "", tuple(blocks(past_waves(dataset(), [wave]), "EUR"))))
    assert "BIN 411111" in text
    assert "0 of 0 captured" in text


def test_no_wave_is_said_and_nothing_watched_is_not() -> None:
    assert [type(block).__name__ for block in blocks((), "EUR")] == ["Heading", "Text"]
    assert not list(blocks(None, "EUR"))
