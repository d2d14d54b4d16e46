"""How near to the policy that knows p anybody can come who sees what the merchant sees, in the frozen world.

``python -m bench.ceiling [--rate N] [--seeds K] [--from D] [--to D] [--verticals V]``; the last line is JSON. The
oracle of ``bench.policy`` knows which process made a payment. Of a newcomer, who signs up and pays within the hour,
nothing that is sent says so: an honest one and a lone fraudster draw from overlapping laws. Here each such payment
gets its exact posterior: all laws of the world are known, down to the fraudsters' taste of the day; every other payment
gets its true p. So `ceiling` is above what a model that has to learn can reach: profit over the oracle's, without
budgets. `missed` is what approved fraud of newcomers costs of it, `declined` their honest payments.
"""

from __future__ import annotations

import argparse
import ipaddress
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from avalist.domain.events import Payment, SessionSummary, to_ms
from avalist.models.trees import F64
from avalist.policy.economics import Policy, expected_profit
from avalist.simulator import World
from avalist.simulator.config import SessionStyle, mix_of
from avalist.simulator.fate import Attempt
from avalist.simulator.market import Market
from avalist.simulator.names import HONEST_WEIGHTS, PATTERNS
from bench.policy import VERTICALS, policy_of

Networks = Sequence[ipaddress.IPv4Network]
HOUR_S: Final = 3600
BOLD: Final = (np.arange(24) + 0.5) / 24
"""How bold a lone fraudster is: evenly drawn."""
BUSY: Final = np.linspace(-3.5, 3.5, 71)
_DIGITS: Final = {"two": r"\d\d", "four": r"\d{4}", "six": r"\d{6}", "year": r"(?:19|20)\d\d"}
_VALUES: Final = {"two": 100, "four": 10_000, "six": 1_000_000, "year": 48}
_LEAD_HONEST_S, _LEAD_LONE_S, _LEAST_LEAD_S = 600.0, 300.0, 20.0
_RARE: Final = 8
_LONE_SESSION_MISSING: Final = 0.06


class Newcomers:
    """The laws of one world, as far as they tell newcomers apart."""

    def __init__(self, world: World) -> None:
        config = self._config = world.config
        self._vertical, self._mix = world.vertical, mix_of(config)
        self._market = Market(config, world.vertical, world._root)
        self._weight = _shares([c.weight for c in config.countries])
        self._tiers, self._patterns = _shares(world.vertical.tiers), _shares(HONEST_WEIGHTS)
        self._country = {c.code: n for n, c in enumerate(config.countries)}
        self._tongue = {c.language: n for n, c in enumerate(config.countries)}
        self._homes = [[ipaddress.IPv4Network(n) for n in c.networks] for c in config.countries]
        self._carrier = [[ipaddress.IPv4Network(c.carrier)] for c in config.countries]
        self._hosting = [ipaddress.IPv4Network(n) for n in config.network.hosting]

    def open(self, hour: int) -> None:
        """Move the market to an hour; hours come in order."""
        self._market.open(hour)

    def p_fraud(self, payment: Payment, age_s: float) -> float:
        """Return P(fraud | all that a newcomer's first payment shows)."""
        fraud, habits, mix = self._config.fraud, self._config.habits, self._mix
        honest = (1.0 - mix.lone_slots) * (1.0 - habits.echo_share) * habits.new_share
        lone = mix.lone_slots * (1.0 - fraud.lone_return_share) * (1.0 - fraud.lone_takeover_share) * 0.5
        waited_s = max(age_s - _LEAST_LEAD_S, 0.0)
        of_honest = honest * math.exp(-waited_s / _LEAD_HONEST_S) / _LEAD_HONEST_S
        of_lone = lone / len(BOLD) * math.exp(-waited_s / _LEAD_LONE_S) / _LEAD_LONE_S * np.ones(len(BOLD))
        for seen in (self._places(payment), self._name(payment), self._goods(payment), self._session(payment.session)):
            of_honest, of_lone = of_honest * seen[0], of_lone * seen[1]
        low, high = fraud.lone_p
        every = of_honest + float(of_lone.sum())
        return (float(of_lone @ (low + (high - low) * BOLD)) + of_honest * mix.hazard) / every

    def _places(self, payment: Payment) -> tuple[float, F64]:
        assert payment.billing is not None
        assert payment.device is not None
        habits, ip = self._config.habits, ipaddress.IPv4Address(str(payment.ip))
        home, tongue = self._country[str(payment.billing.country)], self._tongue[str(payment.device.language)]
        hosted = _density(ip, self._hosting)
        at_home = (1.0 - habits.vpn_share - habits.away_share) * _density(ip, self._homes[home])
        honest = at_home + habits.away_share * _density(ip, self._carrier[home]) + habits.vpn_share * hosted
        speaks = 0.5 * BOLD * self._weight[tongue] + (1.0 - 0.5 * BOLD) * (home == tongue)
        lone = 0.5 * BOLD * hosted + (1.0 - 0.5 * BOLD) * _density(ip, self._homes[tongue])
        return honest * (home == tongue), speaks * lone

    def _name(self, payment: Payment) -> tuple[float, F64]:
        assert payment.customer is not None
        local, (first, family) = str(payment.customer.email).split("@")[0], str(payment.customer.name).lower().split()
        words = {"first": first, "family": family, "initial": first[0], "nick": first[:2] + family[:3]}
        chance = np.zeros(len(PATTERNS))
        for place, pattern in enumerate(PATTERNS):
            fields = re.findall(r"\{(\w+)\}", pattern)
            text = re.escape(pattern).replace(r"\{", "{").replace(r"\}", "}")
            if re.fullmatch(text.format(**{name: re.escape(word) for name, word in words.items()}, **_DIGITS), local):
                chance[place] = 1.0 / math.prod(_VALUES.get(field, 1) for field in fields)
        honest = float(self._patterns @ chance)
        return honest, BOLD * chance[_RARE:].mean() + (1.0 - BOLD) * honest

    def _goods(self, payment: Payment) -> tuple[float, F64]:
        place = [product.sku for product in self._vertical.products].index(payment.cart[0].sku)
        tiers = self._market.amounts[place] == payment.amount_minor
        if not tiers.any():  # a sum that was typed: only honest customers do
            return 1.0, np.zeros(len(BOLD))
        usual = _steps(self._market.popularity)[place] * self._tiers[tiers].sum()
        wanted = _steps(self._market.fraud_taste)[place] * _steps(self._market.fraud_tiers)[tiers].sum()
        greedy = 0.35 + 0.6 * BOLD
        return (1.0 - self._vertical.free_amounts) * usual, greedy * wanted + (1.0 - greedy) * usual

    def _session(self, session: SessionSummary | None) -> tuple[float, F64]:
        styles, habits = self._config.sessions, self._config.habits
        if session is None:
            return habits.session_missing, np.full(len(BOLD), _LONE_SESSION_MISSING)
        logs = np.array([_log_likelihood(session, one) for one in (styles.calm, styles.hurried, styles.bold)])
        calm, hurried, bold = np.exp(logs - logs.max()).tolist()
        bolder = 0.2 + 0.7 * BOLD
        honest = (1.0 - habits.hurried_share) * calm + habits.hurried_share * hurried
        told = 1.0 - habits.session_missing
        return told * honest, (1.0 - _LONE_SESSION_MISSING) * (bolder * bold + (1.0 - bolder) * calm)


def _log_likelihood(session: SessionSummary, style: SessionStyle) -> float:
    """Return the log likelihood of a session's numbers; how busy it was is summed over."""
    apart = (math.log(max(session.duration_ms or 0, 1)) - math.log(style.duration_s * 1000.0)) / style.spread
    log = -0.5 * BUSY**2
    busy, norm = np.exp(style.spread * BUSY - style.spread**2 / 2), np.exp(log).sum()
    means = style.pages - 1.0, style.key_presses, style.pointer_moves, style.pastes
    counts = (session.pages or 1) - 1, session.key_presses or 0, session.pointer_moves or 0, session.pastes or 0
    for mean, count in zip(means, counts, strict=True):
        expected = np.maximum(mean * busy, 1e-9)
        log = log + count * np.log(expected) - expected - math.lgamma(count + 1)
    return float(log.max() + np.log(np.exp(log - log.max()).sum() / norm)) - 0.5 * apart**2 - math.log(style.spread)


def _density(ip: ipaddress.IPv4Address, networks: Networks) -> float:
    return any(ip in network for network in networks) / sum(network.num_addresses for network in networks)


def _shares(weights: Sequence[float]) -> F64:
    return np.array(weights, np.float64) / sum(weights)


def _steps(cumulative: F64) -> F64:
    """Return the shares of a cumulative weight."""
    shares: F64 = np.diff(cumulative, prepend=0.0) / cumulative[-1]
    return shares


class Judged(NamedTuple):
    """A payment: p as the world knows it, as can be known at most, its amount, and whether it is a newcomer's."""

    p: float
    known: float
    amount: int
    newcomer: bool


def judged(world: World, first_day: int, last_day: int) -> Iterator[Judged]:
    """Yield the payments of some days, by what can be known of them at most."""
    laws, met = Newcomers(world), set[str]()
    for hour, batch in enumerate(world.batches(last_day)):
        laws.open(hour)
        for attempt in batch.attempts:
            customer = str(attempt.payment.customer and attempt.payment.customer.id)
            new = customer not in met and _comes(attempt, batch.start_ms)
            met.add(customer)
            if hour >= first_day * 24:
                p, payment = attempt.truth.p_fraud, attempt.payment
                known = laws.p_fraud(payment, _age_s(payment)) if new else p
                yield Judged(p, known, payment.amount_minor, new)


def _age_s(payment: Payment) -> float:
    assert payment.customer is not None
    assert payment.customer.created_at is not None
    return (to_ms(payment.occurred_at) - to_ms(payment.customer.created_at)) / 1000.0


def _comes(attempt: Attempt, hour_ms: int) -> bool:
    """Tell whether the account was opened within the hour, other than by a wave: of waves all is taken as known."""
    age_s = _age_s(attempt.payment)
    in_hour = to_ms(attempt.payment.occurred_at) - age_s * 1000.0 >= hour_ms - 1000
    return attempt.truth.process != "wave" and age_s <= HOUR_S and in_hour


def figures(rows: Sequence[Judged], policy: Policy, issuer: tuple[float, float]) -> dict[str, Any]:
    """Return the ceiling of some payments; `issuer` has the shares of honest and fraud that it approves."""
    p, known, amount = (np.array([row[k] for row in rows], np.float64) for k in range(3))
    newcomer = np.array([row.newcomer for row in rows])
    margin, lost = policy.margin * amount, policy.dispute_share * (amount + policy.chargeback_cost_minor)
    approve = (1.0 - p) * issuer[0] * margin + p * issuer[1] * (margin - lost)
    decline = -(1.0 - p) * policy.lifetime_value_minor

    def kept(by: F64) -> Any:
        return np.greater_equal(*expected_profit(by, amount, policy))

    best, found = kept(p), kept(known)
    most, brought = np.where(best, approve, decline), np.where(found, approve, decline)
    less = (most - brought) / most.sum()
    return {
        "payments": len(rows),
        "newcomers": int(newcomer.sum()),
        "expected_frauds": round(float(known[newcomer].sum()), 1),
        "frauds": round(float(p[newcomer].sum()), 1),
        "ceiling": round(float(brought.sum() / most.sum()), 4),
        "missed": round(float(less[found & ~best].sum()), 4),
        "declined": round(float(less[~found & best].sum()), 4),
        "profit_minor": float(brought.sum()),
        "oracle_minor": float(most.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ceiling", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=400.0, help="payments a day")
    parser.add_argument("--seeds", type=int, default=3, help="merchants per vertical")
    parser.add_argument("--from", type=int, default=120, dest="first", help="day from which payments count")
    parser.add_argument("--to", type=int, default=180, dest="last", help="day on which they end")
    parser.add_argument("--verticals", default=",".join(VERTICALS))
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for vertical, seed in itertools.product(given.verticals.split(","), range(1, given.seeds + 1)):
        world = World(vertical=vertical, seed=seed, payments_per_day=given.rate)
        outcomes = world.config.outcomes
        rows = list(judged(world, given.first, given.last))
        one = figures(rows, policy_of(world), (outcomes.approved_honest, outcomes.approved_fraud))
        found.setdefault(vertical, []).append(one)
        print(json.dumps({"vertical": vertical, "seed": seed, **one}), flush=True)
    every = [one for ones in found.values() for one in ones]
    print(json.dumps({"bench": "ceiling", "ceiling": _over(every), **{v: _over(ones) for v, ones in found.items()}}))


def _over(ones: Sequence[dict[str, Any]]) -> float:
    return round(float(sum(one["profit_minor"] for one in ones) / sum(one["oracle_minor"] for one in ones)), 4)


if __name__ == "__main__":
    main()
