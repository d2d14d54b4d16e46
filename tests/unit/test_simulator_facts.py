"""The facts that the default world must satisfy, and the oracle's own calibration."""

from collections import defaultdict
from importlib import resources

import msgspec
import numpy as np
import pytest

from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.events import Card, Device, to_ms
from avalist.simulator import Attempt, Batch, WavePlan, World, load_world, parse_world
from avalist.simulator.config import mix_of
from avalist.simulator.draws import generator
from avalist.simulator.market import Market
from avalist.simulator.waves import Tailor, WaveStyle

DAYS = 20
Z = 4.0  # seeded, so never by chance; still far below any mistake worth a name


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return list(World(seed=3).batches(DAYS))


@pytest.fixture(scope="module")
def attempts(batches: list[Batch]) -> list[Attempt]:
    return [a for b in batches for a in b.attempts]


def assert_calibrated(attempts: list[Attempt]) -> None:
    p, fraud = np.array([a.truth.p_fraud for a in attempts]), np.array([a.truth.fraud for a in attempts])
    assert abs(fraud.sum() - p.sum()) < Z * np.sqrt((p * (1 - p)).sum())


@pytest.mark.parametrize("process", ["honest", "lone", "wave"])
def test_labels_are_drawn_from_p_in_every_process(attempts: list[Attempt], process: str) -> None:
    chosen = [a for a in attempts if a.truth.process == process]
    assert len(chosen) > 100
    assert_calibrated(chosen)


def test_labels_are_drawn_from_p_in_every_decile(attempts: list[Attempt]) -> None:
    suspects = sorted((a for a in attempts if a.truth.process != "honest"), key=lambda a: a.truth.p_fraud)
    for decile in np.array_split(np.arange(len(suspects)), 10):
        assert_calibrated([suspects[i] for i in decile])


def test_labels_are_drawn_from_p_whatever_the_amount_and_hour(attempts: list[Attempt]) -> None:
    for key in (lambda a: a.payment.amount_minor, lambda a: a.payment.occurred_at.hour, lambda a: a.payment.ip):
        ranked = sorted(attempts, key=key)
        for part in np.array_split(np.arange(len(ranked)), 10):
            assert_calibrated([ranked[i] for i in part])


def test_fraud_attempts_are_one_and_a_half_percent_between_waves(attempts: list[Attempt]) -> None:
    regular = [a.truth.fraud for a in attempts if a.truth.wave_id is None]
    assert abs(np.mean(regular) - 0.015) < Z * np.sqrt(0.015 / len(regular))


def test_a_wave_is_up_to_thirty_percent_of_an_hour(batches: list[Batch]) -> None:
    share = [np.mean([a.truth.wave_id is not None for a in b.attempts]) for b in batches]
    assert 0.2 < max(share) <= 0.30


def test_a_tenth_of_all_fraud_is_made_by_the_honest_process(attempts: list[Attempt]) -> None:
    hazards = {a.truth.p_fraud for a in attempts if a.truth.process == "honest"}
    assert hazards == {mix_of(load_world()).hazard}
    hidden = [a.truth.process == "honest" for a in attempts if a.truth.fraud]
    assert 0.075 < np.mean(hidden) < 0.14  # a month's waves are few: their luck is most of this
    kinds = {a.truth.kind for a in attempts if a.truth.process == "honest"}
    assert kinds == {"honest", "friendly", "takeover"}


def test_the_mix_comes_to_the_declared_rates() -> None:
    config, mix = load_world(), mix_of(load_world())
    hidden = (1 - mix.lone_slots) * mix.hazard
    assert hidden + mix.lone_slots * 0.85 == pytest.approx(config.fraud.rate)
    assert hidden / (config.fraud.rate + mix.wave_fraud) == pytest.approx(0.10)


def test_scheduled_waves_bring_the_fraud_the_mix_counts_on() -> None:
    config = load_world()
    busy = msgspec.structs.replace(
        config, waves=msgspec.structs.replace(config.waves, per_month=60.0, hour_share_max=0.9)
    )
    made = [a.truth for b in World(busy, seed=2, payments_per_day=300).batches(20) for a in b.attempts]
    frauds, regular = sum(t.p_fraud for t in made if t.wave_id is not None), sum(t.wave_id is None for t in made)
    assert frauds / regular == pytest.approx(mix_of(busy).wave_fraud, rel=0.3)


def test_reports_obey_the_delay_law(attempts: list[Attempt]) -> None:
    reported = [a for a in attempts if a.truth.reported_at_ms is not None]
    days = np.array([(a.truth.reported_at_ms or 0) - to_ms(a.payment.occurred_at) for a in reported]) / 86_400_000
    law = DelayLaw(25.0, 90.0)
    for age in (5.0, 25.0, 90.0):
        share = law.reported_by(age)
        assert abs(np.mean(days <= age) - share) < Z * np.sqrt(share * (1 - share) / len(days))


def test_the_first_report_is_the_one_the_truth_names(attempts: list[Attempt]) -> None:
    for a in attempts:
        reports = [at for at, e in a.follow_ups if e.type in ("chargeback", "early_fraud_warning")]
        assert (min(reports) if reports else None) == a.truth.reported_at_ms
        assert bool(reports) == (a.truth.fraud and a.truth.issuer_approves)


def test_issuers_decline_fraud_more_often(attempts: list[Attempt]) -> None:
    for fraud, share in ((False, 0.945), (True, 0.74)):
        said = [a.truth.issuer_approves for a in attempts if a.truth.fraud is fraud]
        assert abs(np.mean(said) - share) < Z * np.sqrt(share * (1 - share) / len(said))


def test_honest_customers_keep_their_habits(attempts: list[Attempt]) -> None:
    last: dict[str, Attempt] = {}
    kept = []
    for a in (a for a in attempts if a.truth.process == "honest"):
        customer = (a.payment.customer.id or "") if a.payment.customer else ""
        if before := last.get(customer):
            kept.append((before.payment.method == a.payment.method, before.payment.device == a.payment.device,
                         before.payment.ip == a.payment.ip))  # fmt: skip
        last[customer] = a
    card, device, ip = np.mean(kept, axis=0)
    assert 0.97 < min(card, device) < max(card, device) < 1.0
    assert 0.5 < ip < 0.85


def test_the_people_of_a_wave_differ_and_their_behaviour_does_not() -> None:
    plan = WavePlan(start_ms=World().start_ms + 3_600_000, minutes=60, payments=100)
    made = [a.payment for b in World(seed=8, extra_waves=(plan,)).batches(0.2) for a in b.attempts if a.truth.wave_id]
    assert len({p.customer.id for p in made if p.customer}) > 60
    assert len({p.method.fingerprint for p in made if isinstance(p.method, Card)}) > 60
    assert len({_shape(p.device) for p in made if p.device}) == 1
    assert len({p.cart[0].sku for p in made}) <= 2
    assert len({p.amount_minor for p in made}) <= 4
    assert len({p.method.bin for p in made if isinstance(p.method, Card)}) <= 4


def _shape(device: Device) -> tuple[str | None, ...]:
    return device.user_agent, device.screen, device.timezone, device.language


def test_each_wave_behaves_unlike_the_last() -> None:
    config = load_world()
    market = Market(config, config.verticals["games"], 1)
    market.open(0)
    tailor, rng, last = Tailor(config, config.verticals["games"], market), generator(1, 0), None
    for _ in range(300):
        style: WaveStyle = tailor.style(rng, config.start_ms, last)
        if last:
            same = [getattr(style, name) == getattr(last, name) for name in ("machine", "pattern", "products")]
            assert not any(same)
            assert abs(style.bin - last.bin) > 4
        last = style


def test_the_market_drifts() -> None:
    config = load_world()
    market, seen = Market(config, config.verticals["gift_cards"], 1), defaultdict(list)
    for day in range(0, 100):
        market.open(day * 24)
        seen["amounts"].append(market.amounts.tolist())
        seen["popularity"].append((np.diff(market.popularity, prepend=0.0) / market.popularity[-1]).tolist())
        seen["taste"].append((np.diff(market.fraud_taste, prepend=0.0) / market.fraud_taste[-1]).tolist())
    assert seen["amounts"][0] == seen["amounts"][29] != seen["amounts"][31]
    assert seen["taste"][0] == seen["taste"][20] != seen["taste"][21]
    assert seen["popularity"][79][9] == 0.0 < seen["popularity"][80][9]


def test_worlds_that_make_no_sense_are_refused() -> None:
    text = resources.files("avalist.simulator").joinpath("worlds/default-1.toml").read_bytes()
    assert parse_world(text) == load_world()
    for old, new in ((b"hour_share_max = 0.30", b"hour_share_max = 1.0"), (b"growth_per_year", b"growth"),
                     (b"lone_p = [0.75, 0.95]", b"lone_p = [0.95, 0.75]"), (b"84.128.0.0/10", b"84.128.0.1/10"),
                     (b"lone_p = [0.75, 0.95]", b"lone_p = [0.01, 0.01]")):  # fmt: skip
        assert old in text
        with pytest.raises(BadInput):
            parse_world(text.replace(old, new))


def test_unknown_worlds_and_verticals_are_named() -> None:
    with pytest.raises(NotFound, match="default-1"):
        load_world("default-0")
    with pytest.raises(BadInput, match="vertical"):
        World(vertical="shoes")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="before the world"):
        World(extra_waves=(WavePlan(start_ms=0, minutes=5, payments=5),))
