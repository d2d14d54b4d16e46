"""The honest customers of one merchant: they arrive, buy by habit, change, and leave."""

from __future__ import annotations

import numpy as np

from avalist.simulator.config import WorldConfig
from avalist.simulator.draws import (
    DAY_MS,
    F64,
    HOUR_MS,
    I64,
    Purpose,
    Rng,
    chance,
    choose,
    cumulative,
    generator,
)
from avalist.simulator.people import Casting, Person

_BLOCK = 256


class Population:
    """Customers by number. Those who were there at the start are cast in blocks, when the first of a block is met.

    A block's draws are its own, so whom a fraudster meets changes nobody's life.
    """

    def __init__(self, config: WorldConfig, casting: Casting, popularity: F64, per_day: float, seed: int) -> None:
        self._config, self._casting, self._seed, self._popularity = config, casting, seed, popularity
        self._settlers = max(round(per_day * config.habits.new_share * config.habits.lifetime_d), _BLOCK)
        self._people: list[Person | None] = [None] * self._settlers
        self._by_peak = _hour_weights(config)
        self._weight, self._peak = np.zeros(0), np.zeros(0, np.int64)
        self._add(generator(seed, Purpose.SETTLERS), self._settlers)
        self._sums = np.cumsum(self._weight)

    def __len__(self) -> int:
        return len(self._people)

    @property
    def alive(self) -> int:
        """Return how many have not left."""
        return int(np.count_nonzero(self._weight))

    def live_a_day(self, day: int) -> None:
        """Let some leave for good."""
        rng = generator(self._seed, Purpose.SETTLERS, 1, day)
        gone = chance(rng, len(self._weight), 1.0 / self._config.habits.lifetime_d)
        self._weight[gone] = 0.0

    def live_an_hour(self, hour_of_day: int) -> None:
        """Weigh everybody by how often they buy and how much they like the hour."""
        self._sums = np.cumsum(self._weight * self._by_peak[hour_of_day][self._peak])

    def pick(self, rng: Rng, n: int) -> list[Person]:
        """Draw `n` customers by their weight of the hour."""
        return [self._people[i] or self._meet(i) for i in choose(rng, self._sums, n).tolist()]

    def settle(self, rng: Rng, people: list[Person]) -> None:
        """Let new customers stay."""
        self._people.extend(people)
        self._add(rng, len(people))

    def _add(self, rng: Rng, n: int) -> None:
        self._weight = np.append(self._weight, rng.standard_gamma(self._config.habits.activity_shape, n) + 0.02)
        self._peak = np.append(self._peak, choose(rng, cumulative(self._config.hours), n))

    def _meet(self, number: int) -> Person:
        block = number // _BLOCK
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, self._settlers)
        rng = generator(self._seed, Purpose.SETTLERS, 2, block)
        age_ms = rng.standard_exponential(last - first) * self._config.habits.lifetime_d * DAY_MS
        created_ms: I64 = self._config.start_ms - 1000 - age_ms.astype(np.int64)
        traits = self._casting.traits(rng, self._config.start_ms, created_ms, self._popularity)
        self._people[first:last] = self._casting.people(rng, traits)
        return self._people[number]  # type: ignore[return-value]


def _hour_weights(config: WorldConfig) -> F64:
    """Return the weight of each hour of the day (row) for a customer of each peak hour (column)."""
    start = config.start_ms // HOUR_MS % 24
    hour = (np.arange(24)[:, None] + start) % 24
    apart = np.abs(hour - np.arange(24)[None, :])
    weight: F64 = np.exp(-((np.minimum(apart, 24 - apart) / 4.0) ** 2)) + 0.05
    return weight
