"""How people and scripts go through a site: worlds that say so give each session its details.

A person has a pace of its own, kept from session to session with some jitter; so an account taken over shows another
one. A script has one pace for a whole wave, mostly too regular; some play recorded people. A few honest sessions show
signs of automation, and most waves hide theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.domain.events import DeviceTraits, Pointer, SessionSummary, Tell, Timings, Touch, Typing
from avalist.simulator.config import BehaviourConfig
from avalist.simulator.draws import F64, Rng, chance, choose, cumulative

_FIELDS: Final = ("email", "card", "name")
_CORES: Final = (4, 8, 8, 12, 16)
_FEWEST_KEYS: Final = 3


class Hands(NamedTuple):
    """What is a person's own: milliseconds a key or tap is held and between two, pointer speed (pixels a second), and
    the cores of the machine.
    """

    hold_ms: float
    flight_ms: float
    speed: float
    cores: int


NO_HANDS: Final = Hands(0.0, 0.0, 0.0, 0)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of a wave share: their pace, how much it varies within a session, steps and signs."""

    hands: Hands
    spread: float
    detour: float
    journey: tuple[str, ...]
    tells: tuple[Tell, ...]


def draw_hands(rng: Rng, behaviour: BehaviourConfig, n: int) -> list[Hands]:
    """Draw the paces of `n` people."""
    around = np.exp(behaviour.between_people * rng.standard_normal((3, n)))
    holds, flights, speeds = (around * np.array([[95.0], [180.0], [700.0]])).tolist()
    cores = rng.integers(0, len(_CORES), n).tolist()
    rows = zip(holds, flights, speeds, cores, strict=True)
    return [Hands(hold, flight, speed, _CORES[core]) for hold, flight, speed, core in rows]


def draw_script(rng: Rng, behaviour: BehaviourConfig, mobile: bool) -> Script:
    """Draw a wave's script: a machine's regularity, or a recorded person's."""
    recorded = bool(rng.random() < behaviour.recorded_share)
    hold, flight, speed = np.exp(rng.uniform(np.log([10.0, 8.0, 300.0]), np.log([130.0, 220.0, 4000.0]))).tolist()
    low, high = (0.3, 0.6) if recorded else (0.01, 0.2)
    steps = list(behaviour.journeys[int(rng.integers(0, len(behaviour.journeys)))])
    shown = rng.random() < behaviour.wave_tells
    loud: tuple[Tell, ...] = ("webdriver", "untrusted_input")
    tells: tuple[Tell, ...] = ("emulator",) if mobile else loud[: int(rng.integers(1, 3))]
    return Script(
        hands=Hands(hold, flight, speed, _CORES[int(rng.integers(0, len(_CORES)))]),
        spread=float(rng.uniform(low, high)),
        detour=float(rng.uniform(1.1, 1.5)) if recorded else float(rng.uniform(1.0, 1.08)),
        journey=tuple(step for step in steps if step not in ("search", "reviews")),
        tells=tells if shown else (),
    )


class Manners:
    """Gives sessions their details, as one world's people and scripts behave."""

    def __init__(self, behaviour: BehaviourConfig) -> None:
        self._behaviour = behaviour
        self._journeys = cumulative([1.0 / (1 + n) for n in range(len(behaviour.journeys))])

    def dress(
        self,
        rng: Rng,
        sessions: Sequence[SessionSummary | None],
        hands: Sequence[Hands],
        mobile: Sequence[bool],
        script: Script | None = None,
    ) -> list[SessionSummary | None]:
        """Return the sessions with details of their people, or all of one script; a share has none, as of old apps."""
        behaviour, n = self._behaviour, len(sessions)
        bare = chance(rng, n, behaviour.bare_share).tolist()
        jitter = np.exp((behaviour.script_jitter if script else behaviour.jitter) * rng.standard_normal((5, n)))
        spreads: F64 = rng.uniform(0.35, 0.8, (2, n)) if script is None else script.spread * jitter[3:]
        detours: F64 = rng.uniform(1.1, 1.6, n) if script is None else 1.0 + (script.detour - 1.0) * jitter[3]
        walks = choose(rng, self._journeys, n).tolist()
        told = chance(rng, n, behaviour.honest_tells).tolist()
        rows = zip(sessions, hands, mobile, bare, jitter[:3].T.tolist(), spreads.T.tolist(), strict=True)
        dressed: list[SessionSummary | None] = []
        for k, (session, own, touched, without, paces, regular) in enumerate(rows):
            if session is None or without:
                dressed.append(session)
                continue
            one = script.hands if script else own
            pace = Hands(one.hold_ms * paces[0], one.flight_ms * paces[1], one.speed * paces[2], one.cores)
            journey = script.journey if script else self._walk(walks[k], session.pages or 1)
            tells: tuple[Tell, ...] = script.tells if script else (("webdriver",) if told[k] else ())
            details = _details(session, pace, (regular[0], regular[1], float(detours[k])), touched)
            dressed.append(msgspec.structs.replace(session, journey=journey, tells=tells, **details))
        return dressed

    def _walk(self, number: int, pages: int) -> tuple[str, ...]:
        """Return the steps of a person: one of the usual ways, wandering where more pages were seen than it has."""
        steps = self._behaviour.journeys[number]
        wandered = [("product", "search")[n % 2] for n in range(max(min(pages, 12) - len(steps), 0))]
        return (*steps[:1], *wandered, *steps[1:])


def _details(
    session: SessionSummary, pace: Hands, regular: tuple[float, float, float], touched: bool
) -> dict[str, object]:
    duration_ms, keys = session.duration_ms or 0, session.key_presses or 0
    hold_spread, flight_spread, detour = (round(value, 3) for value in regular)
    hold_ms, pasted = round(pace.hold_ms), _FIELDS[: session.pastes or 0]
    return {
        "timings": Timings(first_input_ms=duration_ms // 12, form_ms=round(keys * (pace.flight_ms + pace.hold_ms))),
        "typing": None
        if keys < _FEWEST_KEYS
        else Typing(
            hold_ms=hold_ms, flight_ms=round(pace.flight_ms), hold_spread=hold_spread, flight_spread=flight_spread
        ),
        "pointer": None if touched else Pointer(speed=round(pace.speed, 1), detour=detour),
        "touch": Touch(hold_ms=hold_ms, hold_spread=hold_spread) if touched else None,
        "pasted": pasted,
        "device": DeviceTraits(cores=pace.cores, touch_points=5 if touched else 0),
    }
