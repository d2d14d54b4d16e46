"""Features of a merchant's own: what a file may say, and what it is told when it may not."""

from __future__ import annotations

import pytest

from avalist.domain.errors import BadInput
from avalist.domain.records import FoldKind
from avalist.features.cost import cost_of
from avalist.features.declare import Feature, lagged, windowed
from avalist.features.derive import derive
from avalist.features.own import decode_own, with_own
from avalist.features.plan import compile_plan
from avalist.features.words import in_words
from tests.shop import DAY_MS, SCHEMA

DERIVED = derive(SCHEMA)


def own(*tables: str) -> tuple[Feature, ...]:
    """Return the features of a file of these tables."""
    text = "\n".join(f"[[feature]]\n{table}" for table in tables)
    return with_own(SCHEMA, DERIVED, decode_own(text))[len(DERIVED) :]


def test_standard_names_and_definitions_are_those_of_the_derived() -> None:
    hour = 3_600_000
    assert own(
        'aggregate="count"\nentity="card"\nwindow="2h"',
        'aggregate="sum"\nentity="card"\nwindow="2h"\ninclude_current=true',
        'aggregate="count"\nentity="card+ip24"\nwindow="2h"\nkinds=["auth_declined"]',
        'aggregate="distinct"\nentity="ip24"\nof="account"\nwindow="2h"',
        'aggregate="frauds"\nentity="card"\nwindow="5d"\nlag="3d"',
    ) == (
        windowed("card", "count", 2 * hour),
        windowed("card", "sum", 2 * hour, include_current=True),
        windowed("card+ip24", "count", 2 * hour, kinds=1 << FoldKind.AUTH_DECLINED),
        windowed("ip24", "distinct", 2 * hour, of="account"),
        lagged("card", "frauds", 5 * DAY_MS, 3 * DAY_MS),
    )


def test_a_column_may_name_one_before_it() -> None:
    prior = 'aggregate="rate"\nentity="merchant"\nwindow="5d"\nstrength=20.0'
    rate = 'aggregate="rate"\nentity="card"\nwindow="5d"\nprior="merchant__rate__fraud__5d"'
    share = 'aggregate="ratio"\nname="share"\nover=["card__rate__fraud__5d", "merchant__rate__fraud__5d"]'
    assert [feature.name for feature in own(prior, rate, share)][2] == "share"
    with pytest.raises(BadInput) as refused:
        own(rate, prior)
    assert (refused.value.field, refused.value.got) == ("$.feature[0]", "merchant__rate__fraud__5d")


COUNT = 'aggregate="count"\nentity="card"\n'


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ('aggregate="count"\nentity="crad"\nwindow="2h"', ".entity"),
        ('aggregate="count"\nentity="card+merchant"\nwindow="2h"', ".entity"),
        ('aggregate="count"\nentity="card+ip24+account+country+email+bin"\nwindow="2h"', ".entity"),
        (COUNT + 'window="2h"\nfrom_minor=-1', ".from_minor"),
        (COUNT + 'window="2h"\nfrom_minor=500\nbelow_minor=500', ".below_minor"),
        ('aggregate="distinct"\nentity="card"\nof="account"\nwindow="2h"\nfrom_minor=5', ".from_minor"),
        ('aggregate="share"\nentity="card"\nof="crad"\nwindow="2h"', ".of"),
        ('aggregate="last"\nentity="card"\nwindow="2h"', ".latest"),
        ('aggregate="last"\nentity="card"\nlatest=65\nwindow="2h"', ".latest"),
        ('aggregate="speed"\nentity="card"\nwindow="2h"', ".place"),
        ('aggregate="speed"\nentity="card"\nplace=["lat", "long"]\nwindow="2h"', ".place"),
        ('aggregate="ring"\nentity="card"\nlinks=["card", "crad"]', ".links[1]"),
        ('aggregate="ring"\nentity="card+ip24"\nlinks=["card", "ip24"]', ".entity"),
        ('aggregate="ring"\nentity="card"\nlinks=["account", "ip24"]', ""),
        ('aggregate="count"\nentity="card+card"\nwindow="2h"', ".entity"),
        ('aggregate="distinct"\nentity="card"\nof="merchant"\nwindow="2h"', ".of"),
        ('aggregate="sum"\nentity="card"\nfield="pages"\nwindow="2h"', ".field"),
        (COUNT, ".window"),
        (COUNT + 'window="0h"', ".window"),
        (COUNT + 'window="two hours"', ".window"),
        (COUNT + 'window="500d"', ".window"),
        (COUNT + 'window="2h"\nstep="3h"', ".step"),
        (COUNT + 'window="2h"\nstep="0s"', ".step"),
        (COUNT + 'window="2h"\nstep="1s"', ""),
        (COUNT + 'window="2h"\nlag="1d"', ".lag"),
        (COUNT + 'window="1h"', ""),
        (COUNT + 'window="2h"\nname="Card!"', ".name"),
        (COUNT + 'window="2h"\nkinds=["payout"]', ".kinds[0]"),
        (COUNT + 'window="2h"\nwidth=3', ".width"),
        ('aggregate="median"\nentity="card"\nwindow="2h"', ".aggregate"),
        ('aggregate="ratio"\nover=["amount", "hour"]', ".name"),
    ],
)
def test_a_feature_that_makes_no_sense_is_refused_by_its_place(table: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        own('aggregate="hour"\nname="noon"', table)
    assert refused.value.field == f"$.feature[1]{field}"
    assert refused.value.expected


def test_limits_lists_and_links_have_names_and_words() -> None:
    limited = COUNT + 'window="2h"\nbelow_minor=500'
    share = 'aggregate="share"\nentity="card"\nkinds=["auth_declined"]\namong=["auth_approved", "auth_declined"]'
    latest = 'aggregate="mean_last"\nentity="account+card+ip24"\nlatest=3\nwindow="1d"'
    speed = 'aggregate="speed"\nentity="account"\nplace=["lat", "lat"]\nwindow="1d"'
    ring = 'aggregate="ring"\nentity="card"\nlinks=["account", "card"]'
    told = {one.name: in_words(one) for one in own(limited, share + '\nwindow="6h"', latest, speed, ring)}
    assert told == {
        "card__count__events_below_500__2h": "payments of amounts below 500 minor units of the card in the last 2 "
        "hours",
        "card__share__auth_declined_among_auth_approved_auth_declined__6h": "share of issuer declines of the card "
        "among the issuer approvals and issuer declines of the card in the last 6 hours",
        "account+card+ip24__mean_last3__amount__1d": "mean amount of the last 3 payments of the account with the card "
        "with the ip24 in the last day",
        "account__speed__lat_lat__1d": "speed from where the account was last seen to here, by payments in the last "
        "day",
        "card__ring__account_card": "how many accounts and cards hang together with the card",
    }


def test_kinds_are_told_in_words() -> None:
    (feature,) = own(COUNT + 'window="2h"\nkinds=["login_ok", "auth_declined"]')
    assert feature.name == "card__count__login_ok_auth_declined__2h"
    assert in_words(feature) == "logins and issuer declines of the card in the last 2 hours"


def test_a_column_costs_what_the_others_do_not_keep() -> None:
    count, mean = COUNT + 'window="2h"', 'aggregate="mean"\nentity="card"\nwindow="1h"'
    features = [*DERIVED, *own(count, mean, 'aggregate="known"\nentity="ip24+country"')]
    plan, first = compile_plan(SCHEMA, features), len(DERIVED)
    costs = [cost_of(SCHEMA, plan, first + n) for n in range(3)]
    assert [(cost.entities, cost.streams) for cost in costs] == [(0, 1), (0, 0), (1, 0)]
    assert costs[0].busy_bytes >= 62 * 32
