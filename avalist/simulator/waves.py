"""Waves: many stolen identities, one behaviour, minutes to hours. Each behaves unlike the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np

from avalist.simulator.behaviour import Script, draw_script
from avalist.simulator.config import TIERS, SessionStyle, VerticalConfig, WaveConfig, WorldConfig
from avalist.simulator.draws import (
    DAY_MS,
    HOUR_MS,
    I64,
    Purpose,
    Rng,
    chance,
    choose,
    cumulative,
    generator,
)
from avalist.simulator.market import Market
from avalist.simulator.names import SCRIPTED
from avalist.simulator.people import Casting, Person, Traits
from avalist.simulator.population import Population
from avalist.simulator.slots import Sessions, Slots, leads

_EXTRA_ID = 1_000_000
HABITS = ("device", "email", "card", "goods", "session")
"""What the payments of a wave may share besides their time: machine and settings, address pattern, issuer, goods with
their amounts and receivers, session.
"""


class WavePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A wave that is made to come: `payments` spread over `minutes` from `start_ms` (milliseconds since 1970).

    Its truths carry ``wave_id`` 1,000,000 plus its place among the extra waves. `habits` are those of ``HABITS`` that
    its payments share; the others are like honest customers', and so are country and network unless all are shared.
    `payments_per_identity`: 1 for a new identity each time; None: as the world's other waves.
    """

    start_ms: int
    minutes: float
    payments: int
    habits: tuple[str, ...] = HABITS
    payments_per_identity: float | None = None


class WaveStyle(msgspec.Struct, frozen=True, kw_only=True):
    """What the payments of a wave share. Numbers index the world's tables."""

    machine: int
    version: int
    screen: int
    tongue: int
    country: int
    pattern: int
    domain: int
    bin: int
    bins: int
    products: tuple[int, ...]
    tiers: tuple[int, ...]
    networks: tuple[int, ...]
    session: SessionStyle
    takes_over: bool
    aged: bool
    gift_share: float
    stuffing: float
    p: float
    script: Script | None = None


@dataclass(slots=True)
class Wave:
    """A wave on its way; `odds` of its payments to regular ones, or their planned times."""

    id: int
    start_ms: int
    end_ms: int
    style: WaveStyle
    odds: float = 0.0
    planned_ms: I64 | None = None
    habits: tuple[str, ...] = HABITS
    payments_per_identity: float | None = None
    drops: list[Person] = field(default_factory=list)
    current: Person | None = None


class Waves:
    """Plans the waves of a world and makes their payments hour by hour."""

    def __init__(
        self, config: WorldConfig, vertical: VerticalConfig, seed: int, casting: Casting, market: Market
    ) -> None:
        self._config, self._vertical, self._seed = config, vertical, seed
        self._casting, self._market = casting, market
        self._tailor = Tailor(config, vertical, market)
        self._scheduled: list[Wave] = []
        self._extra: list[Wave] = []
        self._last: WaveStyle | None = None

    def plan_day(self, day: int, start_ms: int) -> None:
        """Draw the waves that start on a day. Days come in order."""
        rng, waves = generator(self._seed, Purpose.WAVE_DATES, day), self._config.waves
        starts = np.sort(rng.integers(0, DAY_MS, int(rng.poisson(waves.per_month / 30.0)))).tolist()
        for number, offset in enumerate(starts):
            minutes = math.exp(rng.uniform(math.log(waves.minutes[0]), math.log(waves.minutes[1])))
            share, wave_id = rng.uniform(*waves.share), day * 100 + number + 1
            style = self._last = self._tailor.style(self._style_rng(wave_id), start_ms, self._last)
            begin = start_ms + offset
            self._scheduled.append(Wave(wave_id, begin, begin + round(minutes * 60_000), style, share / (1.0 - share)))

    def add(self, number: int, plan: WavePlan) -> None:
        """Make an extra wave come."""
        wave_id = _EXTRA_ID + number
        rng = self._style_rng(wave_id)
        span = round(plan.minutes * 60_000)
        times = np.sort(plan.start_ms + rng.integers(0, span, plan.payments))
        style = self._tailor.style(rng, plan.start_ms, self._last)
        end_ms, reuse = plan.start_ms + span, plan.payments_per_identity
        self._extra.append(
            Wave(
                wave_id,
                plan.start_ms,
                end_ms,
                style,
                planned_ms=times,
                habits=plan.habits,
                payments_per_identity=reuse,
            )
        )

    def hour(self, hour: int, start_ms: int, rate: float, regular: int, population: Population) -> list[Slots]:
        """Return the payments of every wave in an hour, given its expected and its actual regular payments.

        Scheduled waves share the room below ``hour_share_max``; extra ones are as large as they were planned.
        """
        most, out = self._config.waves.hour_share_max, []
        room = math.floor(regular * most / (1.0 - most) + 1e-9)
        for wave in self._running(start_ms):
            rng = generator(self._seed, Purpose.WAVE, wave.id, hour)
            at_ms = self._times(rng, wave, start_ms, rate, room)
            room -= len(at_ms) if wave.planned_ms is None else 0
            if len(at_ms):
                out.append(self._slots(rng, wave, at_ms, start_ms, population))
        return out

    def _style_rng(self, wave_id: int) -> Rng:
        return generator(self._seed, Purpose.WAVE_STYLE, wave_id)

    def _running(self, start_ms: int) -> list[Wave]:
        self._scheduled = [w for w in self._scheduled if w.end_ms > start_ms]
        self._extra = [w for w in self._extra if w.end_ms > start_ms]
        return [w for w in (*self._scheduled, *self._extra) if w.start_ms < start_ms + HOUR_MS]

    def _times(self, rng: Rng, wave: Wave, start_ms: int, rate: float, room: int) -> I64:
        first, last = max(wave.start_ms, start_ms), min(wave.end_ms, start_ms + HOUR_MS)
        if wave.planned_ms is not None:
            return wave.planned_ms[(wave.planned_ms >= first) & (wave.planned_ms < last)]
        n = min(int(rng.poisson(rate * wave.odds * (last - first) / HOUR_MS)), room)
        return np.sort(rng.integers(first, last, n))

    def _slots(self, rng: Rng, wave: Wave, at_ms: I64, start_ms: int, population: Population) -> Slots:
        n, style = len(at_ms), wave.style
        people, signed_ms = self._people(rng, wave, at_ms, start_ms, population)
        product, tier = self._goods(rng, wave, n)
        scripted = "session" in wave.habits
        sessions = Sessions([style.session if scripted else self._config.sessions.calm], self._config.behaviour)
        return Slots(
            process="wave",
            wave_id=wave.id,
            at_ms=at_ms,
            people=people,
            ips=[p.ip for p in people],
            product=product,
            amount=self._market.amounts[product, tier],
            gift=chance(rng, n, style.gift_share),
            sessions=sessions.draw(rng, np.zeros(n, np.int64), people, 0.02, style.script if scripted else None),
            signed_ms=signed_ms,
            failed_logins=rng.poisson(style.stuffing, n),
            logs_in=chance(rng, n, 0.9) & (signed_ms == 0),
            p=np.full(n, style.p),
        )

    def _goods(self, rng: Rng, wave: Wave, n: int) -> tuple[I64, I64]:
        """Return products and tiers: the wave's few, or what honest customers like."""
        if "goods" in wave.habits:
            return rng.choice(wave.style.products, n), rng.choice(wave.style.tiers, n)
        return choose(rng, self._market.popularity, n), self._casting.tiers(rng, n)

    def _people(
        self, rng: Rng, wave: Wave, at_ms: I64, start_ms: int, population: Population
    ) -> tuple[list[Person], I64]:
        """Return who pays at each time: mostly new identities, some used again at once."""
        n, style = len(at_ms), wave.style
        new = chance(rng, n, 1.0 / (wave.payments_per_identity or self._config.waves.payments_per_identity))
        new[0] |= wave.current is None
        fresh = new & (not (style.aged or style.takes_over))
        signed_ms = np.where(fresh, np.maximum(at_ms - leads(rng, n, 240.0), start_ms) // 1000 * 1000, 0)
        weeks_ago = start_ms - rng.integers(10 * DAY_MS, 60 * DAY_MS, n)
        created_ms = np.where(fresh, signed_ms, weeks_ago)[new]
        people = iter(self._enlist(rng, wave, self._casting.people(rng, self._traits(rng, wave, created_ms, start_ms))))
        victims = iter(population.pick(rng, n))
        out = []
        for is_new in new.tolist():
            if is_new or wave.current is None:
                wave.current = next(people)
                wave.current.customer = next(victims).customer if style.takes_over else wave.current.customer
            out.append(wave.current)
        return out, signed_ms

    def _enlist(self, rng: Rng, wave: Wave, people: list[Person]) -> list[Person]:
        """Point the goods of all of them at the wave's few receivers, where goods are what it shares."""
        if "goods" not in wave.habits:
            return people
        if not wave.drops:
            wave.drops = people[:3]
        for person, drop in zip(people, rng.integers(0, len(wave.drops), len(people)).tolist(), strict=True):
            receiver = wave.drops[drop]
            person.payee, person.friend, person.wallet = receiver.payee, receiver.friend, receiver.wallet
        return people

    def _traits(self, rng: Rng, wave: Wave, created_ms: I64, at_ms: int) -> Traits:
        n, style, habits = len(created_ms), wave.style, wave.habits
        alike = len(habits) == len(HABITS)
        country = np.full(n, style.country) if alike else None
        traits = self._casting.traits(rng, at_ms, created_ms, self._market.popularity, country)
        for habit, names in _SHARED.items():
            for name in names if habit in habits else ():
                setattr(traits, name, np.full(n, getattr(style, name)))
        if "card" in habits:
            traits.bin = style.bin + rng.integers(0, style.bins, n)
        if alike and style.networks:
            traits.address = rng.choice(style.networks, n) + rng.integers(1, 255, n)
        return traits


_SHARED = {"email": ("pattern", "domain"), "device": ("machine", "version", "screen", "tongue")}


class Tailor:
    """Draws the style of each wave, unlike the last."""

    def __init__(self, config: WorldConfig, vertical: VerticalConfig, market: Market) -> None:
        self._config, self._market, self._vertical = config, market, vertical
        self._countries = cumulative([c.weight for c in config.countries])
        self._domains = cumulative([d.weight**0.5 for d in config.domains])

    def style(self, rng: Rng, at_ms: int, last: WaveStyle | None) -> WaveStyle:
        """Draw a style; machine, e-mail pattern, BIN range and goods differ from the last wave's."""
        waves, machines = self._config.waves, self._config.machines
        machine = _unlike(rng, len(machines), last.machine if last else None)
        country = int(choose(rng, self._countries, 1)[0])
        takes_over = bool(rng.random() < waves.takeover_share)
        return WaveStyle(
            machine=machine,
            version=self._version(rng, machine, at_ms),
            screen=int(rng.integers(0, len(machines[machine].screens))),
            tongue=country if rng.random() < 0.6 else int(rng.integers(0, len(self._config.countries))),
            country=country,
            pattern=SCRIPTED[_unlike(rng, len(SCRIPTED), SCRIPTED.index(last.pattern) if last else None)],
            domain=int(choose(rng, self._domains, 1)[0]),
            bin=self._bin(rng, country, last),
            bins=int(rng.integers(1, 5)),
            products=self._products(rng, last),
            tiers=self._tiers(rng),
            networks=self._networks(rng, at_ms, waves),
            session=self._session(rng),
            takes_over=takes_over,
            aged=bool(rng.random() < waves.aged_share),
            gift_share=float(rng.choice([0.0, 0.5, 0.95])) if self._vertical.gift_share else 0.0,
            stuffing=float(rng.uniform(*waves.stuffing)) if takes_over else 0.0,
            p=float(rng.uniform(*waves.p)),
            script=self._script(rng, machine),
        )

    def _script(self, rng: Rng, machine: int) -> Script | None:
        behaviour = self._config.behaviour
        mobile = "Mobile" in self._config.machines[machine].user_agent
        return None if behaviour is None else draw_script(rng, behaviour, mobile)

    def _tiers(self, rng: Rng) -> tuple[int, ...]:
        weights = np.sqrt(self._vertical.tiers)
        drawn = rng.choice(TIERS, int(rng.integers(1, 3)), replace=False, p=weights / weights.sum())
        return tuple(sorted(drawn.tolist()))

    def _version(self, rng: Rng, machine: int, at_ms: int) -> int:
        age = (at_ms - self._config.start_ms) // (self._config.drift.version_days * DAY_MS)
        return int(self._config.machines[machine].version + age - rng.integers(0, 3))

    def _bin(self, rng: Rng, country: int, last: WaveStyle | None) -> int:
        issuers = self._config.countries[country].issuers
        bin = issuers[int(rng.integers(0, len(issuers)))] * 100 + int(rng.integers(0, 95))
        return bin + 5 * (bin % 100 < 50 or -1) if last and abs(bin - last.bin) < 5 else bin

    def _products(self, rng: Rng, last: WaveStyle | None) -> tuple[int, ...]:
        on_sale = self._market.on_sale()
        products = tuple(sorted(rng.choice(on_sale, int(rng.integers(1, 3)), replace=False).tolist()))
        if last and products == last.products:
            products = (on_sale[(on_sale.index(products[0]) + 1) % len(on_sale)],)
        return products

    def _networks(self, rng: Rng, at_ms: int, waves: WaveConfig) -> tuple[int, ...]:
        """Draw a few hosting /24s; none for a wave behind home networks, which grow common."""
        years = (at_ms - self._config.start_ms) / (365 * DAY_MS)
        if rng.random() < min(waves.proxy_share + waves.proxy_growth_per_year * years, 0.9):
            return ()
        bases = rng.choice(self._config.network.hosting, int(rng.integers(1, 5))).tolist()
        return tuple(_slash24(base, int(rng.integers(0, 256))) for base in bases)

    def _session(self, rng: Rng) -> SessionStyle:
        script, slow = self._config.sessions.scripted, float(rng.uniform(0.6, 2.5))
        keys, pastes = (
            script.key_presses * float(rng.choice([0.3, 1.0, 3.0])),
            script.pastes * float(rng.uniform(0.2, 1.4)),
        )
        return msgspec.structs.replace(
            script,
            duration_s=script.duration_s * slow,
            pages=script.pages * float(rng.uniform(0.7, 1.6)),
            key_presses=keys,
            pointer_moves=script.pointer_moves * float(rng.choice([0.3, 1.0, 3.0])),
            pastes=pastes,
        )


def _unlike(rng: Rng, n: int, last: int | None) -> int:
    """Draw one of `n` numbers, any but the last."""
    drawn = int(rng.integers(0, n - (last is not None)))
    return drawn + (last is not None and drawn >= last)


def _slash24(network: str, third: int) -> int:
    first, second = (int(part) for part in network.split(".")[:2])
    return (first << 24) + (second << 16) + (third << 8)
