"""Lone fraud: single fraudsters, more or less bold, a few payments each."""

from __future__ import annotations

import dataclasses

import numpy as np

from avalist.simulator.config import Mix, VerticalConfig, WorldConfig
from avalist.simulator.draws import (
    DAY_MS,
    F64,
    HOUR_MS,
    I64,
    Purpose,
    Rng,
    below,
    chance,
    choose,
    generator,
)
from avalist.simulator.market import Market
from avalist.simulator.names import PATTERNS
from avalist.simulator.people import Casting, Person, Traits
from avalist.simulator.population import Population
from avalist.simulator.slots import Sessions, Slots, leads, spread_over

Fraudster = tuple[Person, float, int]
"""A person, how bold it is (0 to 1), and when its account was opened just before its first payment (else 0)."""


class Lone:
    """Makes an hour of lone fraudsters' payments; bolder ones look less like customers, and are fraud more surely."""

    def __init__(
        self, config: WorldConfig, vertical: VerticalConfig, mix: Mix, seed: int, casting: Casting, market: Market
    ) -> None:
        self._config, self._mix, self._seed, self._vertical = config, mix, seed, vertical
        self._casting, self._market = casting, market
        self._sessions = Sessions([config.sessions.calm, config.sessions.bold], config.behaviour)
        self._last: Fraudster | None = None

    def hour(self, hour: int, start_ms: int, rate: float, population: Population) -> Slots:
        """Return the payments of an hour in which `rate` regular payments are expected."""
        rng = generator(self._seed, Purpose.LONE, hour)
        at_ms = spread_over(rng, start_ms, HOUR_MS, int(rng.poisson(rate * self._mix.lone_slots)))
        back = chance(rng, len(at_ms), self._config.fraud.lone_return_share).tolist()
        new = iter(self._arrive(rng, at_ms, start_ms, population))
        return self._slots(rng, at_ms, [self._enter(next(new), returns) for returns in back])

    def _enter(self, new: Fraudster, returns: bool) -> Fraudster:
        """Return the last fraudster with another stolen card, or the new one."""
        if returns and self._last:
            person, bold, _ = self._last
            self._last = (dataclasses.replace(person, card=new[0].card), bold, 0)
            return self._last
        self._last = new
        return new

    def _arrive(self, rng: Rng, at_ms: I64, start_ms: int, population: Population) -> list[Fraudster]:
        n = len(at_ms)
        bold, now = rng.random(n), chance(rng, n, 0.5)
        signed_ms = np.where(now, np.maximum(at_ms - leads(rng, n, 300.0), start_ms) // 1000 * 1000, 0)
        aged_ms = start_ms - 60_000 - (rng.standard_exponential(n) * 3 * DAY_MS).astype(np.int64)
        people = self._casting.people(rng, self._traits(rng, np.where(now, signed_ms, aged_ms), start_ms, bold))
        taken = chance(rng, n, self._config.fraud.lone_takeover_share)
        self._take_over(people, taken.tolist(), population.pick(rng, n))
        return list(zip(people, bold.tolist(), (signed_ms * ~taken).tolist(), strict=True))

    def _take_over(self, people: list[Person], taken: list[bool], victims: list[Person]) -> None:
        for person, takes, victim in zip(people, taken, victims, strict=True):
            if takes:
                person.customer = victim.customer

    def _traits(self, rng: Rng, created_ms: I64, at_ms: int, bold: F64) -> Traits:
        n = len(bold)
        traits = self._casting.traits(rng, at_ms, created_ms, self._market.popularity)
        traits.tongue = np.where(rng.random(n) < 0.5 * bold, self._casting.countries(rng, n), traits.country)
        traits.address = np.where(
            rng.random(n) < 0.5 * bold,
            self._casting.hosting(rng, n),
            self._casting.homes(rng, traits.tongue),
        )
        traits.pattern = np.where(rng.random(n) < bold, 8 + below(rng, len(PATTERNS) - 8, n), traits.pattern)
        greedy = rng.random(n) < 0.35 + 0.6 * bold
        traits.product = np.where(greedy, choose(rng, self._market.fraud_taste, n), traits.product)
        traits.tier = np.where(greedy, choose(rng, self._market.fraud_tiers, n), traits.tier)
        return traits

    def _slots(self, rng: Rng, at_ms: I64, cast: list[Fraudster]) -> Slots:
        n, people = len(cast), [person for person, _, _ in cast]
        bold, signed_ms = np.array([b for _, b, _ in cast]), np.array([s for _, _, s in cast], np.int64)
        low, high = self._config.fraud.lone_p
        product = np.array([p.product for p in people], np.int64)
        return Slots(
            process="lone",
            wave_id=None,
            at_ms=at_ms,
            people=people,
            ips=[p.ip for p in people],
            product=product,
            amount=self._market.amounts[product, np.array([p.tier for p in people], np.int64)],
            gift=chance(rng, n, self._vertical.gift_share),
            sessions=self._sessions.draw(rng, (rng.random(n) < 0.2 + 0.7 * bold).astype(np.int64), people, 0.06),
            signed_ms=signed_ms,
            failed_logins=rng.poisson(0.4 * bold) * (signed_ms == 0),
            logs_in=signed_ms == 0,
            p=low + (high - low) * bold,
        )
