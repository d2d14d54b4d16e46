"""People: identities with an account, a card, a device and an address, honest or not."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from avalist.domain.events import Address, Card, Customer, Device, Payee, from_ms
from avalist.simulator.behaviour import NO_HANDS, Hands, draw_hands
from avalist.simulator.config import VerticalConfig, WorldConfig
from avalist.simulator.draws import DAY_MS, F64, I64, Ranges, Rng, below, choose, cumulative, hex_ids, text_of_ip
from avalist.simulator.names import HONEST_WEIGHTS, draw_locals, draw_names, title


@dataclass(slots=True)
class Person:
    """An identity as it appears in events; `payee` receives a friend's gift, `wallet` is a crypto address.

    `hands` are how it types and moves, in worlds that say so.
    """

    customer: Customer
    card: Card
    device: Device
    ip: str
    billing: Address
    payee: Payee
    friend: str
    wallet: str
    country: int
    product: int
    tier: int
    hands: Hands = NO_HANDS

    @property
    def mobile(self) -> bool:
        """Tell whether it uses a phone."""
        return "Mobile" in (self.device.user_agent or "")


@dataclass(slots=True)
class Traits:
    """What `n` people are like, an array per trait; processes overwrite the traits that their people share."""

    created_ms: I64
    country: I64
    pattern: I64
    domain: I64
    machine: I64
    version: I64
    screen: I64
    tongue: I64
    bin: I64
    address: I64
    product: I64
    tier: I64

    def __len__(self) -> int:
        return len(self.created_ms)


class Casting:
    """Makes people of a world. Holds tables only: every draw comes from the generator given."""

    def __init__(self, config: WorldConfig, vertical: VerticalConfig) -> None:
        self._config = config
        self._countries = cumulative([c.weight for c in config.countries])
        self._domains = cumulative([d.weight for d in config.domains])
        self._machines = cumulative([m.weight for m in config.machines])
        self._base_version = np.array([m.version for m in config.machines])
        self._screens = np.array([len(m.screens) for m in config.machines])
        self._patterns = cumulative(HONEST_WEIGHTS)
        self._tiers = cumulative(vertical.tiers)
        self._homes = Ranges([c.networks for c in config.countries])
        self._carriers = Ranges([[c.carrier] for c in config.countries])
        self._hosting = Ranges([config.network.hosting])
        self._billing = [Address(country=c.code) for c in config.countries]

    def traits(self, rng: Rng, at_ms: int, created_ms: I64, popularity: F64, country: I64 | None = None) -> Traits:
        """Draw the traits of honest people who opened their accounts at `created_ms`."""
        n = len(created_ms)
        place = self.countries(rng, n) if country is None else country
        machine = choose(rng, self._machines, n)
        return Traits(
            created_ms=created_ms,
            country=place,
            pattern=choose(rng, self._patterns, n),
            domain=choose(rng, self._domains, n),
            machine=machine,
            version=self.version(machine, at_ms) - (rng.random(n) ** 4 * 4).astype(np.int64),
            screen=(rng.random(n) ** 2 * self._screens[machine]).astype(np.int64),
            tongue=place,
            bin=self.bins(rng, place),
            address=self.homes(rng, place),
            product=choose(rng, popularity, n),
            tier=choose(rng, self._tiers, n),
        )

    def version(self, machine: I64, at_ms: int) -> I64:
        """Return the browser versions current at a time."""
        age = (at_ms - self._config.start_ms) // (self._config.drift.version_days * DAY_MS)
        return self._base_version[machine] + age

    def countries(self, rng: Rng, n: int) -> I64:
        """Draw where `n` honest customers live."""
        return choose(rng, self._countries, n)

    def tiers(self, rng: Rng, n: int) -> I64:
        """Draw `n` tiers of amounts as honest customers choose them."""
        return choose(rng, self._tiers, n)

    def bins(self, rng: Rng, country: I64) -> I64:
        """Draw six-digit BINs of each country; few issuers hold most cards."""
        suffix = (rng.random(len(country)) ** 3 * 100).astype(np.int64)
        pick = below(rng, 1 << 30, len(country)).tolist()
        issuers = [self._config.countries[c].issuers for c in country.tolist()]
        return np.array([row[i % len(row)] for row, i in zip(issuers, pick, strict=True)], np.int64) * 100 + suffix

    def homes(self, rng: Rng, country: I64) -> I64:
        """Draw addresses of households."""
        return self._homes.draw(rng, country)

    def carriers(self, rng: Rng, country: I64) -> I64:
        """Draw addresses of mobile carriers, which many customers share."""
        return self._carriers.draw(rng, country)

    def hosting(self, rng: Rng, n: int) -> I64:
        """Draw `n` addresses of hosting companies."""
        return self._hosting.draw(rng, np.zeros(n, np.int64))

    def people(self, rng: Rng, traits: Traits) -> list[Person]:
        """Return people with these traits; their ids are new."""
        names = draw_names(rng, len(traits))
        customers = self._customers(rng, traits, names)
        devices, cards = self.devices(rng, traits), self.cards(rng, traits)
        friends, keys = draw_names(rng, len(traits)), hex_ids(rng, len(traits))
        rest = zip(traits.address.tolist(), friends, keys, strict=True)
        places = zip(traits.country.tolist(), traits.product.tolist(), traits.tier.tolist(), strict=True)
        bodies = zip(customers, cards, devices, strict=True)
        people = [
            Person(
                *body, text_of_ip(ip), self._billing[place[0]], Payee(id="r" + key, kind="recipient"),
                f"{friend[0]}.{friend[1]}@gmail.com", "bc1q" + key + key[:14], *place,
            )
            for body, (ip, friend, key), place in zip(bodies, rest, places, strict=True)
        ]  # fmt: skip
        if self._config.behaviour is not None:
            for person, hands in zip(people, draw_hands(rng, self._config.behaviour, len(people)), strict=True):
                person.hands = hands
        return people

    def _customers(self, rng: Rng, traits: Traits, names: list[tuple[str, str]]) -> list[Customer]:
        domains, countries = self._config.domains, self._config.countries
        boxes = draw_locals(rng, names, traits.pattern)
        columns = (traits.domain.tolist(), traits.created_ms.tolist(), traits.country.tolist())
        return [
            Customer(
                id="c" + key,
                email=f"{box}@{domains[domain].name}",
                name=title(name),
                created_at=_instant(created),
                language=countries[country].language[:2],
            )
            for key, box, name, domain, created, country in zip(
                hex_ids(rng, len(names)), boxes, names, *columns, strict=True
            )
        ]

    def devices(self, rng: Rng, traits: Traits) -> list[Device]:
        """Return new devices of people with these traits."""
        machines, countries = self._config.machines, self._config.countries
        columns = (traits.machine.tolist(), traits.version.tolist(), traits.screen.tolist(), traits.tongue.tolist())
        return [
            Device(
                id="d" + key,
                user_agent=machines[machine].user_agent.format(version),
                screen=machines[machine].screens[screen],
                timezone=countries[tongue].timezone,
                language=countries[tongue].language,
            )
            for key, machine, version, screen, tongue in zip(hex_ids(rng, len(traits)), *columns, strict=True)
        ]

    def cards(self, rng: Rng, traits: Traits) -> list[Card]:
        """Return new cards of people with these traits."""
        last4 = below(rng, 10_000, len(traits)).tolist()
        months = below(rng, 48, len(traits)).tolist()
        return [
            Card(
                fingerprint="f" + key,
                bin=f"{bin:06d}",
                last4=f"{last:04d}",
                expiry=f"{2027 + month // 12}-{month % 12 + 1:02d}",
                issuer_country=self._config.countries[country].code,
            )
            for key, bin, last, month, country in zip(
                hex_ids(rng, len(traits)), traits.bin.tolist(), last4, months, traits.country.tolist(), strict=True
            )
        ]


def _instant(ms: int) -> dt.datetime:
    return from_ms(ms // 1000 * 1000)
