"""The pattern of a session's behaviour: a script stays in few cells, people spread; and the world that shows it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from avalist.domain.events import Payment, Pointer, SessionClosed, SessionSummary, Touch, Typing
from avalist.enrich.patterns import behaviour_shape
from avalist.simulator import WavePlan, World, load_world

SECOND = load_world("default-2")
START_MS = SECOND.start_ms
WAVE = WavePlan(start_ms=START_MS + 3_600_000, minutes=120, payments=150, payments_per_identity=1.0)


@pytest.fixture(scope="module")
def sessions() -> tuple[list[SessionSummary], list[list[SessionSummary]]]:
    """Return honest sessions, and those of six waves; told with the payment or before it."""
    honest: list[SessionSummary] = []
    waves: defaultdict[int, list[SessionSummary]] = defaultdict(list)
    extra = tuple(msgspec.structs.replace(WAVE, start_ms=START_MS + n * 4 * 3_600_000) for n in range(6))
    apart: dict[str, SessionSummary] = {}
    for batch in World(SECOND, seed=5, payments_per_day=900, extra_waves=extra).batches(2):
        for step in batch.steps:
            if isinstance(step.event, SessionClosed) and step.event.session and step.event.session.id:
                apart[step.event.session.id] = step.event.session
            if step.attempt is None or step.attempt.payment.session is None:
                continue
            session = step.attempt.payment.session
            session = apart.pop(session.id) if session.id else session
            wave = step.attempt.truth.wave_id or 0
            if step.attempt.truth.process == "honest":
                honest.append(session)
            elif wave >= 1_000_000:
                waves[wave].append(session)
    return honest, [*waves.values()]


def collisions(found: list[SessionSummary]) -> float:
    """Return the chance that two sessions share a cell, those that tell nothing left out."""
    shapes = Counter(shape for one in found if (shape := behaviour_shape(one)) is not None)
    n = shapes.total()
    return sum(k * (k - 1) for k in shapes.values()) / (n * (n - 1))


def test_a_script_stays_in_few_cells_and_people_spread(
    sessions: tuple[list[SessionSummary], list[list[SessionSummary]]],
) -> None:
    honest, waves = sessions
    stable = [collisions(wave) for wave in waves]
    assert len(waves) == 6
    assert np.median(stable) > 0.25, stable
    assert collisions(honest) < 0.05
    assert min(stable) > 2 * collisions(honest), (stable, collisions(honest))


@pytest.mark.parametrize("jitter", [0.05, 0.1])
def test_a_tenth_of_jitter_mostly_stays_in_its_cell(jitter: float) -> None:
    rng, kept = np.random.default_rng(1), []
    for _ in range(40):
        flight, hold, spread = np.exp(rng.uniform(np.log([8, 10, 0.01]), np.log([300, 150, 0.06])))
        around = np.exp(jitter * rng.standard_normal((60, 3)))
        shapes = Counter(
            behaviour_shape(
                SessionSummary(
                    journey=("a", "b"), typing=Typing(flight_ms=round(flight * a), flight_spread=float(spread * c)),
                    touch=Touch(hold_ms=round(hold * b)), pointer=Pointer(detour=1.005), tells=(),
                )
            )
            for a, b, c in around.tolist()
        )  # fmt: skip
        kept.append(shapes.most_common(1)[0][1] / 60)
    assert np.mean(kept) > 0.7


def test_a_session_without_details_has_no_such_pattern() -> None:
    assert behaviour_shape(SessionSummary(duration_ms=1, pages=2, key_presses=3)) is None
    assert behaviour_shape(SessionSummary(tells=())) is None
    assert behaviour_shape(SessionSummary(tells=("webdriver",))) == "||||webdriver"


def test_people_keep_their_pace(sessions: tuple[list[SessionSummary], list[list[SessionSummary]]]) -> None:
    by_account: defaultdict[str, list[int]] = defaultdict(list)
    for batch in World(SECOND, seed=5, payments_per_day=900).batches(3):
        for attempt in batch.attempts:
            one = attempt.payment
            if attempt.truth.process == "honest" and one.session and one.session.typing and one.customer:
                by_account[one.customer.id or ""].append(one.session.typing.flight_ms or 0)
    own = [abs(np.log(a / b)) for paces in by_account.values() for a, b in pairwise(paces)]
    all_paces = [pace for paces in by_account.values() for pace in paces]
    others = [abs(np.log(a / b)) for a, b in zip(all_paces, all_paces[::-1], strict=True)]
    assert len(own) > 30
    assert np.median(own) < 0.7 * np.median(others)


def test_half_of_the_sessions_are_told_by_an_event_that_the_payment_names() -> None:
    events = [step.event for batch in World(SECOND, seed=1, payments_per_day=500).batches(1) for step in batch.steps]
    told = {e.session.id for e in events if isinstance(e, SessionClosed) and e.session}
    named = {e.session.id for e in events if isinstance(e, Payment) and e.session and e.session.id}
    assert told == named
    assert 0.4 < len(named) / sum(isinstance(e, Payment) for e in events) < 0.55
    times = [e.received_at for e in events if e.received_at]
    assert times == sorted(times)


def test_default_2_is_frozen() -> None:
    digest = hashlib.sha256()
    for batch in World(SECOND, seed=1, payments_per_day=300).batches(1):
        digest.update(msgspec.json.encode([step.event for step in batch.steps]))
    assert digest.hexdigest()[:16] == "2d1e4901db60b3e4", "results name default-2: change it by adding default-3"


def test_but_for_sessions_it_is_the_first_world() -> None:
    first, second = load_world(), msgspec.structs.replace(SECOND, behaviour=None, name="default-1")
    assert first == second
