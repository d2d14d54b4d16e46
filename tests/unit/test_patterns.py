"""Patterns: what equal habits share, and identities do not change."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from avalist.domain.events import Login, Payment
from avalist.domain.schema import DIGITAL_GOODS, PATTERN_SOURCES
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.patterns import PATTERNS
from avalist.enrich.sources import Sources
from avalist.simulator import HABITS, WavePlan, World

_OF_SESSIONS = ("pattern.session", "pattern.conduct", "pattern.behaviour")
"""Tested by their spread: here, and in test_behaviour, where sessions tell more."""


def paid(extra: tuple[WavePlan, ...] = ()) -> tuple[list[Payment], list[Payment]]:
    """Return a day's honest payments, and those of an extra wave."""
    world = World(seed=3, payments_per_day=600, extra_waves=extra)
    attempts = [a for batch in world.batches(1) for a in batch.attempts]
    honest = [a.payment for a in attempts if a.truth.process == "honest"]
    return honest, [a.payment for a in attempts if (a.truth.wave_id or 0) >= 1_000_000]


def keys(source: str, payments: list[Payment]) -> Counter[object]:
    read = Sources([source]).payment
    return Counter(text for payment in payments for text in read(payment, payment_facts(payment, DIGITAL_GOODS)))


@pytest.fixture(scope="module")
def day() -> tuple[list[Payment], list[Payment]]:
    return paid((WavePlan(start_ms=World().start_ms + 3_600_000, minutes=60, payments=80, payments_per_identity=1.0),))


def test_every_source_has_its_pattern() -> None:
    assert set(PATTERNS) == set(PATTERN_SOURCES)


@pytest.mark.parametrize("source", [s for s in PATTERN_SOURCES if s not in _OF_SESSIONS])
def test_a_wave_collides_with_itself(source: str, day: tuple[list[Payment], list[Payment]]) -> None:
    honest, wave = day
    (_, most), *_ = keys(source, wave).most_common(1)
    assert most >= 0.15 * len(wave)
    assert most / len(wave) > 4 * keys(source, honest).most_common(1)[0][1] / len(honest) or source == "pattern.device"


def test_a_script_s_sessions_stay_in_few_cells(day: tuple[list[Payment], list[Payment]]) -> None:
    honest, wave = ([p for p in payments if p.session] for payments in day)
    cells = {p: len(keys("pattern.session", some)) / len(some) for p, some in (("honest", honest), ("wave", wave))}
    assert sum(n for _, n in keys("pattern.session", wave).most_common(6)) > 0.5 * len(wave)
    assert sum(n for _, n in keys("pattern.session", honest).most_common(6)) < 0.35 * len(honest), cells


def test_a_new_version_of_the_browser_is_no_new_habit(day: tuple[list[Payment], list[Payment]]) -> None:
    payment = day[0][0]
    assert payment.device is not None
    assert payment.device.user_agent is not None
    newer = msgspec.structs.replace(payment.device, user_agent=payment.device.user_agent.replace("143", "144"))
    changed = msgspec.structs.replace(payment, device=newer)
    assert len(keys("pattern.device", [payment, changed])) == 1


def test_only_payments_have_patterns(day: tuple[list[Payment], list[Payment]]) -> None:
    payment = day[0][0]
    assert payment.customer is not None
    login = Login(event_id="l", occurred_at=payment.occurred_at, customer=payment.customer, ok=True)
    assert set(Sources([*PATTERNS]).identity(login, identity_facts(login))) == {None}


def test_a_payment_of_nothing_has_no_pattern_of_it() -> None:
    bare = Payment(event_id="e", occurred_at=paid()[0][0].occurred_at, payment_id="p", amount_minor=100, currency="EUR")
    assert [s for s in PATTERNS if keys(s, [bare]) != {None: 1}] == ["pattern.payment"]


def test_a_habit_that_a_wave_does_not_share_is_as_with_honest_customers() -> None:
    only = WavePlan(start_ms=World().start_ms, minutes=60, payments=80, habits=("device",), payments_per_identity=1.0)
    _, wave = paid((only,))
    assert len(keys("pattern.device", wave)) == 1 < 20 < len(keys("pattern.identity", wave))
    assert len({p.customer.id for p in wave if p.customer}) == 80
    assert "device" in HABITS
