"""Patterns are chosen by the past: what pays is taken, what does not is not, and the days that chose do not judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from avalist.app.dataset import Dataset
from avalist.app.past_waves import past_waves
from avalist.app.pattern_candidates import Left, combined, group_of, keys_of, own_of, screened, spread
from avalist.app.pattern_choice import PatternChoice, choose, groups_of, left_without, watched_in
from avalist.app.waves import Listed, Wave
from avalist.domain.errors import BadInput
from avalist.domain.schema import CategoryDecl, EntityDecl, Schema
from avalist.features.derive import derive
from avalist.features.own import decode_own, encode_own, with_own
from avalist.models.metrics import Interval
from avalist.render.blocks import Page
from avalist.render.markdown import page
from avalist.render.pattern_choice import pattern_choice as blocks
from tests.judged import dataset

SCHEMA = Schema(
    base_currency="EUR",
    entities=(
        EntityDecl("account", "customer.id"),
        EntityDecl("device_pattern", "pattern.device"),
        EntityDecl("goods_pattern", "pattern.goods"),
        EntityDecl("bin", "bin"),
    ),
    categories=(CategoryDecl("country", "billing.country"),),
    report_delay_d=(5.0, 15.0),
)
TELLS = "device_pattern__count__events__1d"


@cache
def lived(also: str = TELLS) -> tuple[Dataset, Left]:
    data = dataset(schema=SCHEMA, also=also, frauds=0.1)
    return data, left_without(data, groups_of(data))


def choice(also: str = TELLS, budget: int = 40) -> PatternChoice:
    data, left = lived(also)
    return choose(data, left, groups_of(data), budget)


def verdicts(made: PatternChoice) -> dict[str, str]:
    return {one.name: one.verdict for one in made.evidence}


def test_the_pattern_that_tells_of_fraud_pays_and_the_other_does_not() -> None:
    made = choice()
    assert made.kept == ("device_pattern",)
    assert verdicts(made) == {"device_pattern": "pays", "goods_pattern": "no gain"}
    assert made.together.low > 0.02
    assert made.retired == ()  # together they pay: nothing is sure of the other one alone


def test_patterns_that_tell_nothing_are_not_kept() -> None:
    made = choice(also="")
    assert made.kept == ()
    assert "pays" not in verdicts(made).values()
    assert (made.together.low, made.together.high) == (0.0, 0.0)


@pytest.mark.parametrize(("high", "retired"), [(0.005, ("goods_pattern",)), (0.05, ())])
def test_what_surely_brings_nothing_alone_and_together_is_retired(high: float, retired: tuple[str, ...]) -> None:
    made = msgspec.structs.replace(choice(), present=Interval(0.0, -0.01, high))
    assert made.retired == retired


def test_the_same_log_chooses_the_same() -> None:
    again = dataset(schema=SCHEMA, also=TELLS, frauds=0.1)
    assert choose(again, left_without(again, groups_of(again)), groups_of(again)) == choice()


def test_a_budget_too_small_for_a_pattern_keeps_none() -> None:
    assert choice(budget=5).kept == ()
    assert choice(budget=12).kept == ("device_pattern",)


def test_what_does_not_hold_on_the_last_days_is_not_kept() -> None:
    data, left = lived()
    x, last = np.array(data.x), left.rows[left.fold == left.fold.max()]
    group = next(g for g in groups_of(data) if g.name == "device_pattern")
    x[np.ix_(last, group.places)] = np.random.default_rng(1).permutation(x[np.ix_(last, group.places)])
    made = choose(replace(data, x=x), left, groups_of(data))
    assert made.kept == ()
    assert verdicts(made)["device_pattern"] != "pays"


def test_a_short_history_says_so() -> None:
    data = dataset(1500, 20, schema=SCHEMA)
    with pytest.raises(BadInput, match="too short to choose"):
        left_without(data, groups_of(data))


def test_the_report_says_which_pay_and_is_silent_where_nothing_was_judged() -> None:
    text = page(Page("t", "", tuple(blocks(choice()))))
    assert "Worth their columns: device\\_pattern" in text or "Worth their columns: device_pattern" in text
    assert not list(blocks(None))


def with_keys(data: Dataset, name: str, keys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Dataset:
    held = data.background.keys.copy()
    held[:, [e.name for e in data.schema.entities].index(name)] = keys
    return replace(data, background=replace(data.background, keys=held))


def test_a_combination_whose_past_was_fraud_is_screened_first() -> None:
    """Frauds share ten pairs of device and BIN, whose halves are everybody's."""
    data, left = lived("")
    rng, (_, fraud) = np.random.default_rng(2), data.known_at(data.cut_ms)
    n = len(fraud)
    device, card = rng.integers(1, 40, n), rng.integers(1, 40, n)
    device[fraud] = card[fraud] = rng.integers(1, 11, int(fraud.sum()))
    told = with_keys(with_keys(data, "device_pattern", device), "bin", card)
    names = combined(told)
    assert "device_pattern+bin" in names
    assert screened(told, left, names, np.arange(len(left.rows)), 2)[0] == "device_pattern+bin"


def test_what_everybody_shares_or_nobody_repeats_is_no_habit() -> None:
    data, _ = lived("")
    n = len(data.t_ms)
    told = with_keys(with_keys(data, "device_pattern", np.ones(n, np.int64)), "bin", np.arange(1, n + 1))
    assert not [name for name in combined(told) if name in ("device_pattern+bin", "bin+country")]
    assert spread(keys_of(told, "device_pattern")).commonest == 1.0


def test_a_combination_becomes_columns_by_a_file() -> None:
    own = decode_own(encode_own(own_of("device_pattern+bin", SCHEMA)))
    features = with_own(SCHEMA, derive(SCHEMA), own)
    group = group_of("device_pattern+bin", SCHEMA, features)
    assert [features[n].name for n in group.places] == [f.name for f in features[-len(own) :]]


@pytest.mark.parametrize("columns", [(0,), (0, 3)])
def test_part_of_a_combination_that_is_absent_makes_it_absent(columns: Sequence[int]) -> None:
    data = dataset(600, schema=SCHEMA)
    held = data.background.keys.copy()
    held[:, columns] = 0
    data = replace(data, background=replace(data.background, keys=held))
    assert not keys_of(data, "account+bin").any()
    assert keys_of(data, "device_pattern").all()


def test_the_detector_is_judged_by_what_became_of_its_alarms() -> None:
    data, _ = lived()
    _, fraud = data.known_at(data.cut_ms)
    ids = [data.background.payment_ids[n] for n in np.flatnonzero(fraud)[:3]]
    wave = Wave(id=1, first_ms=0, opened_ms=1, last_ms=2, count=3, patterns=["bin"])
    wave.payments = [Listed(id, 0, 100) for id in ids]
    seen = {one.name: one for one in watched_in(data, [wave], past_waves(data, [wave]))}
    assert msgspec.structs.asdict(seen["bin"]) | {"spread": 0} == {
        "name": "bin", "spread": 0, "waves": 1, "alone": 1, "captured": 3, "reported": 3,
    }  # fmt: skip
    assert seen["device_pattern"].waves == 0
