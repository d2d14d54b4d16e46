"""A world: one merchant's customers, fraudsters and waves, hour by hour."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import Payment
from avalist.simulator.config import Vertical, VerticalConfig, WorldConfig, load_world, mix_of
from avalist.simulator.draws import DAY_MS, HOUR_MS, Purpose, generator
from avalist.simulator.enact import Step, enact, enact_logins
from avalist.simulator.fate import Attempt, Oracle
from avalist.simulator.honest import Honest
from avalist.simulator.lone import Lone
from avalist.simulator.market import Market, hourly_rate
from avalist.simulator.people import Casting
from avalist.simulator.slots import Process, Slots
from avalist.simulator.waves import WavePlan, Waves

_PURPOSE: dict[Process, Purpose] = {"honest": Purpose.HONEST, "lone": Purpose.LONE, "wave": Purpose.WAVE}


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """An hour of a world: its sign-ups, logins and payments in the order in which they are received."""

    start_ms: int
    end_ms: int
    steps: tuple[Step, ...]

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Return the payments with their truth and follow-ups, in order."""
        return tuple(step.attempt for step in self.steps if step.attempt)

    @property
    def payments(self) -> tuple[Payment, ...]:
        """Return the payments, in order."""
        return tuple(attempt.payment for attempt in self.attempts)


class World:
    """One merchant: a vertical of a world file, a seed, and optionally a rate of its own and extra waves.

    Merchants of one seed and different verticals have nothing in common. A world object is a recipe: each call of
    :meth:`batches` lives it again from its start, the same way.

    >>> world = World(vertical="games", seed=3, payments_per_day=300)
    >>> batch = next(world.batches(days=1))
    >>> batch.end_ms - batch.start_ms, batch == next(world.batches(days=2))
    (3600000, True)
    """

    def __init__(
        self,
        config: WorldConfig | None = None,
        *,
        vertical: Vertical = "gift_cards",
        seed: int = 0,
        payments_per_day: float | None = None,
        extra_waves: tuple[WavePlan, ...] = (),
    ) -> None:
        self.config = config or load_world()
        chosen = self.config.verticals.get(vertical)
        if chosen is None:
            raise BadInput(
                "no such vertical", field="vertical", expected=" or ".join(self.config.verticals), got=vertical
            )
        if seed < 0 or (payments_per_day is not None and payments_per_day <= 0):
            raise BadInput("seed is not negative and payments_per_day is above 0", field="seed, payments_per_day")
        rate = chosen.payments_per_day if payments_per_day is None else float(payments_per_day)
        self.vertical = msgspec.structs.replace(chosen, payments_per_day=rate)
        if any(plan.start_ms < self.config.start_ms for plan in extra_waves):
            raise BadInput(
                "a wave starts before the world does", field="extra_waves", expected=f"from {self.start_ms} on"
            )
        self.seed, self.extra_waves = seed, extra_waves
        self._root = (seed << 32) + zlib.crc32(f"{self.config.name}/{vertical}".encode())

    @property
    def start_ms(self) -> int:
        """Return when the world starts, in milliseconds since 1970."""
        return self.config.start_ms

    def batches(self, days: float) -> Iterator[Batch]:
        """Yield the hours of the first `days`, in order. A longer run starts with the very same hours."""
        life = _Life(self.config, self.vertical, self._root, self.extra_waves)
        for hour in range(round(days * 24)):
            yield life.hour(hour)


class _Life:
    """A world being lived."""

    def __init__(
        self, config: WorldConfig, vertical: VerticalConfig, seed: int, extra_waves: tuple[WavePlan, ...]
    ) -> None:
        self._config, self._vertical, self._seed = config, vertical, seed
        mix, casting = mix_of(config), Casting(config, vertical)
        self._market = Market(config, vertical, seed)
        self._market.open(0)
        self._honest = Honest(config, vertical, mix, seed, casting, self._market)
        self._lone = Lone(config, vertical, mix, seed, casting, self._market)
        self._waves = Waves(config, vertical, seed, casting, self._market)
        self._oracle = Oracle(config)
        self._extra = extra_waves

    def hour(self, hour: int) -> Batch:
        """Live one more hour. Hours come in order."""
        start_ms = self._config.start_ms + hour * HOUR_MS
        self._market.open(hour)
        if hour % 24 == 0:
            self._start_day(hour // 24, start_ms)
        rate = hourly_rate(self._config, self._vertical.payments_per_day, hour)
        steps = [s for slots in self._slots(hour, start_ms, rate) for s in self._enact(slots, hour, start_ms)]
        steps += self._browse(hour, start_ms, rate)
        steps.sort(key=attrgetter("at_ms"))
        return Batch(start_ms=start_ms, end_ms=start_ms + HOUR_MS, steps=tuple(steps))

    def _start_day(self, day: int, start_ms: int) -> None:
        self._honest.population.live_a_day(day)
        self._waves.plan_day(day, start_ms)
        for number, plan in enumerate(self._extra):
            if start_ms <= plan.start_ms < start_ms + DAY_MS:
                self._waves.add(number, plan)

    def _browse(self, hour: int, start_ms: int, rate: float) -> list[Step]:
        at_ms, people = self._honest.browsers(hour, start_ms, rate)
        return enact_logins(generator(self._seed, Purpose.FATE + Purpose.BROWSE, hour), at_ms, people)

    def _slots(self, hour: int, start_ms: int, rate: float) -> list[Slots]:
        honest = self._honest.hour(hour, start_ms, rate)
        population = self._honest.population
        lone = self._lone.hour(hour, start_ms, rate, population)
        return [honest, lone, *self._waves.hour(hour, start_ms, rate, len(honest) + len(lone), population)]

    def _enact(self, slots: Slots, hour: int, start_ms: int) -> list[Step]:
        rng = generator(self._seed, Purpose.FATE + _PURPOSE[slots.process], hour, slots.wave_id or 0)
        fates = self._oracle.draw(rng, slots.p)
        behaviour = self._config.behaviour
        apart_share = behaviour.apart_share if behaviour is not None else 0.0
        return enact(rng, slots, fates, self._market, self._config.currency, start_ms, apart_share)
