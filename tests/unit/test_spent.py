"""What decisions spent: each sum by hand, exploration by month, schemes beside their programmes."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from avalist.app.dataset import Dataset, collect
from avalist.app.spent import MONITORS, MONTH_D, _watched, ledger
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.policy.economics import Policy, expected_profit
from avalist.render.spent import spent as section
from avalist.render.spent import tables_of
from tests.shop import Shop, event, iso

N = 60


@pytest.fixture
def sold(shop: Shop, artefact: Artefact) -> Shop:
    """Return a shop that took two months of payments, every third by Mastercard; every tenth is charged back."""
    shop.activate(artefact)
    for n in range(N):
        shop.clock.ms += DAY_MS
        bin = "555555" if n % 3 == 0 else "411111"
        card = {"kind": "card", "fingerprint": f"card-{n}", "bin": bin}
        shop.decide(n, method=card, occurred_at=iso(shop.clock.ms))
        shop.record(event("capture", f"cap{n}", payment_id=f"p{n}"))
        if n % 10 == 0:
            shop.record(event("chargeback", f"cb{n}", payment_id=f"p{n}", occurred_at=iso(shop.clock.ms)))
    return shop


def read(shop: Shop) -> Dataset:
    return collect(shop.installation.log.read, "shop")


def test_each_scheme_has_its_own_payments_and_reports(sold: Shop, artefact: Artefact) -> None:
    visa, mastercard = ledger(read(sold), artefact, 1000.0).schemes
    assert (visa.scheme, visa.payments, mastercard.scheme, mastercard.payments) == ("visa", 40, "mastercard", 20)
    assert visa.count.matured == pytest.approx(1e4 * 4 / 40)
    assert mastercard.value.matured == pytest.approx(1e4 * 2 / 20)
    assert all(one.count.matured <= one.count.projected.value for one in (visa, mastercard))


def test_a_programme_counts_what_it_says(sold: Shop) -> None:
    data, of = read(sold), np.arange(N) % 3 == 0
    last = np.arange(N) >= N - MONTH_D
    bad = np.arange(N) % 10 == 0
    assert _watched(data, ~of, MONITORS["visa"]) == (2 * int((bad & last & ~of).sum()), int((last & ~of).sum()))
    assert _watched(data, of, MONITORS["mastercard"]) == (int((bad & last & of).sum()), int((~last & of).sum()))


def test_a_dispute_counts_once_whatever_becomes_of_it(sold: Shop) -> None:
    before = _watched(read(sold), np.ones(N, np.bool_), None)
    for stage in ("represented", "won"):
        sold.record(event("chargeback", stage, payment_id="p50", occurred_at=iso(sold.clock.ms), stage=stage))
    sold.record(event("chargeback", "other", payment_id="p58", occurred_at=iso(sold.clock.ms), fraud=False))
    assert _watched(read(sold), np.ones(N, np.bool_), None) == (before[0] + 1, before[1])


@pytest.mark.parametrize(("cases", "bps", "excessive"), [(100, 150.0, True), (99, 500.0, False), (500, 149.0, False)])
def test_a_programme_needs_both_thresholds(
    sold: Shop, artefact: Artefact, cases: int, bps: float, excessive: bool
) -> None:
    one = msgspec.structs.replace(ledger(read(sold), artefact).schemes[-1], cases=cases, cases_bps=bps)
    assert one.scheme == "mastercard"
    assert one.excessive is excessive


def test_what_was_charged_back_counts_whole_and_other_reports_by_the_policy_s_share(
    sold: Shop, artefact: Artefact
) -> None:
    for n in range(1, 60, 10):
        sold.record(event("early_fraud_warning", f"w{n}", payment_id=f"p{n}", occurred_at=iso(sold.clock.ms)))
    data = read(sold)
    half = replace(data.background, policy=Policy(dispute_share=0.5), scheme=["visa"] * N)
    (both,) = ledger(replace(data, background=half), artefact, 1000.0).schemes
    assert both.count.matured == pytest.approx(1e4 * 6 / N)
    assert both.count.projected.value >= 1e4 * 9 / N
    without = replace(half, disputes=np.empty((0, 3), np.int64))
    (reports,) = ledger(replace(data, background=without), artefact, 1000.0).schemes
    assert reports.count.matured == pytest.approx(1e4 * 0.5 * 12 / N)


def test_a_scheme_without_a_programme_is_told_all_the_same(sold: Shop, artefact: Artefact) -> None:
    data = read(sold)
    made = ledger(replace(data, background=replace(data.background, scheme=["jcb"] * N)), artefact)
    of_scheme, programme = [one for one in tables_of(made, "EUR") if one.head[0] == "scheme"]
    assert of_scheme.rows[0][0] == programme.rows[0][0] == "jcb"
    assert programme.rows[0][3:] == ("–", "–", "–", "")


# --- exploration -----------------------------------------------------------------------------------------------


def explored(shop: Shop, artefact: Artefact) -> Dataset:
    """Return a shop's past in which four payments were released, two of them by and by not taken."""
    data = read(shop)
    released = np.array([0, 10, 20, 59])
    return replace(data, background=replace(data.background, released=released, exploring=((0, 700),)))


def test_releases_cost_what_the_economics_say(sold: Shop, artefact: Artefact) -> None:
    data = explored(sold, artefact)
    months = ledger(data, artefact).explored
    policy, label = data.background.policy, np.array([1.0, 1.0, 1.0, 0.0])
    approve, decline = expected_profit(label, np.full(4, 2500.0), policy)
    assert sum(one.matured_minor for one in months) == pytest.approx(float((decline - approve).sum()))
    assert sum(one.released for one in months) == 4
    assert sum(one.reported for one in months) == 3
    assert months[-1].projected_minor.value > months[-1].matured_minor


def test_what_was_released_and_not_taken_costs_nothing(sold: Shop, artefact: Artefact) -> None:
    data = explored(sold, artefact)
    never = replace(data, changes=data.changes[data.changes[:, 0] == 59])
    assert all(one.matured_minor == 0.0 for one in ledger(never, artefact).explored if one.taken == 0)
    assert sum(one.taken for one in ledger(never, artefact).explored) == 1


def test_a_month_s_budget_is_that_of_its_days(sold: Shop, artefact: Artefact) -> None:
    data = explored(sold, artefact)
    _, whole, _ = ledger(data, artefact).explored
    assert whole.budget_minor == pytest.approx(700.0 * monthrange(*map(int, whole.month.split("-")))[1])
    off = replace(data.background, exploring=((0, 0), (data.cut_ms, 700)))
    assert ledger(replace(data, background=off), artefact).explored[0].budget_minor == 0.0


def test_a_report_without_decisions_or_schemes_says_nothing() -> None:
    assert list(section(None, "EUR")) == []
