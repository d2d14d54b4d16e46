"""The honest process. A small hazard of its payments is fraud all the same: nothing drawn here tells which."""

from __future__ import annotations

import numpy as np

from avalist.simulator.config import Mix, VerticalConfig, WorldConfig
from avalist.simulator.draws import HOUR_MS, I64, Bools, Purpose, Rng, below, chance, choose, generator, text_of_ip
from avalist.simulator.market import Market, free_amounts
from avalist.simulator.people import Casting, Person, Traits
from avalist.simulator.population import Population
from avalist.simulator.slots import Sessions, Slots, leads, spread_over

_PARTS = ("card", "device", "ip")


class Honest:
    """Makes an hour of honest customers' payments and logins."""

    def __init__(
        self, config: WorldConfig, vertical: VerticalConfig, mix: Mix, seed: int, casting: Casting, market: Market
    ) -> None:
        self._config, self._vertical, self._mix, self._seed = config, vertical, mix, seed
        self._casting, self._market = casting, market
        self._sessions = Sessions([config.sessions.calm, config.sessions.hurried], config.behaviour)
        self._comers: list[Person] = []  # settle an hour later: nobody meets them before their accounts are open
        per_day = vertical.payments_per_day * (1.0 - config.habits.echo_share)
        self.population = Population(config, casting, market.popularity, per_day, seed)

    def hour(self, hour: int, start_ms: int, rate: float) -> Slots:
        """Return the payments of an hour in which `rate` regular payments are expected."""
        habits, rng = self._config.habits, generator(self._seed, Purpose.HONEST, hour)
        self.population.settle(rng, self._comers)
        self.population.live_an_hour(hour % 24)
        n = int(rng.poisson(rate * (1.0 - self._mix.lone_slots)))
        originals = n - int(rng.binomial(max(n - 1, 0), habits.echo_share))
        at_ms = spread_over(rng, start_ms, HOUR_MS, originals)
        people, signed_ms = self._buyers(rng, at_ms, start_ms)
        source = np.append(np.arange(originals), below(rng, originals, n - originals))
        again = np.arange(n) >= originals
        delay = again * (20_000 + rng.random(n) * 900_000).astype(np.int64)
        at_ms = np.minimum(at_ms[source] + delay, start_ms + HOUR_MS - 1)
        return self._slots(rng, at_ms, [people[i] for i in source.tolist()], signed_ms[source] * ~again, ~again)

    def _buyers(self, rng: Rng, at_ms: I64, start_ms: int) -> tuple[list[Person], I64]:
        """Return who buys at each time, and when newcomers opened their accounts."""
        new = chance(rng, len(at_ms), self._config.habits.new_share)
        signed_ms = np.where(new, np.maximum(at_ms - leads(rng, len(at_ms), 600.0), start_ms) // 1000 * 1000, 0)
        known = self.population.pick(rng, int(np.count_nonzero(~new)))
        self._change(rng, known, start_ms)
        self._comers = self._casting.people(rng, self._traits(rng, signed_ms[new], start_ms))
        new_people, old_people = iter(self._comers), iter(known)
        return [next(new_people if is_new else old_people) for is_new in new.tolist()], signed_ms

    def _traits(self, rng: Rng, created_ms: I64, at_ms: int, country: I64 | None = None) -> Traits:
        return self._casting.traits(rng, at_ms, created_ms, self._market.popularity, country)

    def _change(self, rng: Rng, people: list[Person], at_ms: int) -> None:
        """Give some of them a new card, device or home address, as life does."""
        habits = self._config.habits
        sums, n = np.cumsum((habits.card_change, habits.device_change, habits.address_change)), len(people)
        part = sums.searchsorted(rng.random(n), side="right")
        chosen = np.flatnonzero(part < len(_PARTS)).tolist()
        country = np.array([people[i].country for i in chosen], np.int64)
        fresh = self._casting.people(rng, self._traits(rng, np.full(len(chosen), at_ms), at_ms, country))
        for i, other in zip(chosen, fresh, strict=True):
            setattr(people[i], _PARTS[part[i]], getattr(other, _PARTS[part[i]]))

    def _slots(self, rng: Rng, at_ms: I64, people: list[Person], signed_ms: I64, first: Bools) -> Slots:
        habits, n = self._config.habits, len(people)
        product, amount = self._goods(rng, people)
        style = chance(rng, n, habits.hurried_share).astype(np.int64)
        return Slots(
            process="honest",
            wave_id=None,
            at_ms=at_ms,
            people=people,
            ips=self._addresses(rng, people),
            product=product,
            amount=amount,
            gift=chance(rng, n, self._vertical.gift_share),
            sessions=self._sessions.draw(rng, style, people, habits.session_missing),
            signed_ms=signed_ms,
            failed_logins=(chance(rng, n, habits.mistyped_share) & first).astype(np.int64),
            logs_in=chance(rng, n, habits.login_share) & first & (signed_ms == 0),
            p=np.full(n, self._mix.hazard),
        )

    def _goods(self, rng: Rng, people: list[Person]) -> tuple[I64, I64]:
        habits, n = self._config.habits, len(people)
        usual = chance(rng, n, habits.loyalty)
        product = np.where(usual, [p.product for p in people], choose(rng, self._market.popularity, n)).astype(np.int64)
        steady = chance(rng, n, habits.steady)
        tier = np.where(steady, [p.tier for p in people], self._casting.tiers(rng, n)).astype(np.int64)
        return product, free_amounts(rng, self._market.amounts[product, tier], self._vertical.free_amounts)

    def _addresses(self, rng: Rng, people: list[Person]) -> list[str]:
        """Return home addresses, but for those who use their phone's carrier or a private network."""
        habits, n = self._config.habits, len(people)
        way = rng.random(n)
        mobile = self._casting.carriers(rng, np.array([p.country for p in people], np.int64))
        other = np.where(way < habits.vpn_share, self._casting.hosting(rng, n), mobile).tolist()
        home = (way >= habits.vpn_share + habits.away_share).tolist()
        return [p.ip if at_home else text_of_ip(ip) for p, at_home, ip in zip(people, home, other, strict=True)]

    def browsers(self, hour: int, start_ms: int, rate: float) -> tuple[I64, list[Person]]:
        """Return when customers log in without paying, and who; after the payments of the hour."""
        rng = generator(self._seed, Purpose.BROWSE, hour)
        n = int(rng.poisson(rate * self._config.habits.browse_per_payment))
        return spread_over(rng, start_ms, HOUR_MS, n), self.population.pick(rng, n)
