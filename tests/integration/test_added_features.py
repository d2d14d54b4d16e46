"""Features added to a merchant that exists: back-filled, in force from their event on, and replayed the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import avalist
from avalist.app.administer import CreateMerchant, IssueKey
from avalist.app.dataset import collect
from avalist.app.merchant import Merchant, plan_of
from avalist.app.replay import Replayed, replay
from avalist.app.reread import read_past
from avalist.app.train import without
from avalist.bootstrap import load_model
from avalist.cli import app
from avalist.domain.core import PolicySet
from avalist.domain.errors import ArtefactInvalid, BadInput
from avalist.domain.schema import EntityDecl
from avalist.features.own import OwnFeature, decode_own
from avalist.models.artefact import Artefact
from avalist.policy.economics import Exploration, Policy
from tests.shop import DAY_MS, SCHEMA, T0_MS, FakeClock, Shop, event, opened, payment

FIRST = decode_own("""
[[feature]]
aggregate = "variance"
entity = "card"
window = "30d"

[[feature]]
aggregate = "ring"
entity = "card"
links = ["account", "card"]
""")
SECOND = decode_own("""
[[feature]]
aggregate = "ratio"
name = "spread"
over = ["card__variance__amount__30d", "amount"]

[[feature]]
aggregate = "last"
entity = "account+card+ip24"
latest = 2
window = "7d"
""")
NAMES = ["card__variance__amount__30d", "card__ring__account_card", "spread", "account+card+ip24__last2__amount__7d"]


def live(shop: Shop, numbers: range, merchant: str = "shop") -> None:
    """Let a shop decide payments, three at a time on one card, and hear what became of some."""
    for n in numbers:
        shop.clock.ms = T0_MS + n // 3 * DAY_MS // 3 + n % 3 * 60_000
        method = {"kind": "card", "fingerprint": f"card-{n // 3 % 3}"}
        shop.decide(n, merchant, method=method, customer={"id": f"c{n % 4}"}, amount_minor=100 + n * n * 7919 % 89_000)
        if n % 5 == 0:
            shop.record(event("capture", f"k{n}", payment_id=f"p{n}"), merchant)


def add(shop: Shop, own: tuple[OwnFeature, ...]) -> None:
    shop.writer.add_features("shop", own, shop.clock.ms)


def grown(shop: Shop, artefact: Artefact) -> None:
    """Let a shop live through two additions, under a model that knows nothing of them."""
    live(shop, range(10))
    shop.activate(artefact)
    live(shop, range(10, 20))
    add(shop, FIRST)
    live(shop, range(20, 30))
    add(shop, SECOND)
    live(shop, range(30, 40))


@pytest.fixture
def lived(shop: Shop, artefact: Artefact) -> Shop:
    grown(shop, artefact)
    return shop


def replayed(shop: Shop) -> Replayed:
    return replay(shop.installation.log, partial(load_model, shop.installation.blobs))


def all_at_once(shop: Shop, own: tuple[OwnFeature, ...] = (*FIRST, *SECOND)) -> Merchant:
    """Return a merchant that lived the same with all features from its creation."""
    shop.installation.administration.carry_out(CreateMerchant("whole", SCHEMA, own), T0_MS)
    for record in [r for _, r in shop.installation.log.read() if r.merchant == "shop" and r.kind == 1]:
        shop.writer.merchant("whole").fold(record, 0)
    shop.writer.merchant("whole").settle()
    return shop.writer.merchant("whole")


def test_the_state_is_that_of_a_merchant_created_with_them(lived: Shop) -> None:
    whole, merchant = all_at_once(lived), lived.writer.merchant("shop")
    merchant.settle()
    assert merchant.plan.columns == whole.plan.columns
    assert merchant.plan.hash == whole.plan.hash
    assert merchant.features.digest() == whole.features.digest()


def test_replay_decides_the_same_before_between_and_after(lived: Shop) -> None:
    result = replayed(lived)
    assert (result.decisions, result.different) == (40, 0), result.examples
    lived.writer.merchant("shop").settle()
    assert result.digests["shop"] == lived.writer.merchant("shop").features.digest()


def widths(shop: Shop) -> list[int]:
    merchant = shop.writer.merchant("shop")
    before = len(merchant.plan.columns) - len(NAMES)
    looked_up = [shop.writer.lookup("shop", f"p{n}", "pre_auth")[1].features for n in (19, 20, 29, 30)]
    return [len(features) // 4 - before for features in looked_up]


def test_decisions_see_them_from_their_event_on(lived: Shop) -> None:
    assert widths(lived) == [0, 2, 2, 4]
    told = lived.writer.merchant("shop")
    assert list(told.plan.columns[-4:]) == NAMES


def test_a_model_of_before_decides_as_if_nothing_had_been_added(shop: Shop, artefact: Artefact) -> None:
    grown(shop, artefact)
    shop.create("plain")
    shop.activate(artefact, "plain")
    live(shop, range(40), "plain")
    (got, wanted) = (
        [shop.writer.lookup(id, f"p{n}", "pre_auth")[1].decision.p_fraud for n in range(20, 40)]
        for id in ("shop", "plain")
    )
    assert got == wanted
    assert len(set(got)) > 1


def test_training_sees_them_from_the_first_payment_on(lived: Shop) -> None:
    data = collect(lived.installation.log.read, "shop")
    assert list(data.plan.columns[-4:]) == NAMES
    seen = [lived.features(n) for n in range(30, 40)]
    logged = np.array([[one[name] for name in data.plan.columns] for one in seen], np.float32)
    assert data.x[30:].tobytes() == logged.tobytes()
    assert np.isfinite(data.x[9:20, -4]).all()


def test_a_model_of_before_is_taken_away(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path / "data") as shop:
        shop.create()
        grown(shop, artefact)
    words = ["models", "export", "shop", str(tmp_path / "model"), "--data", str(tmp_path / "data")]
    ran = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    plan = json.loads((tmp_path / "model" / "plan.json").read_text())
    assert (plan["hash"], len(plan["features"])) == (artefact.plan_hash, len(artefact.columns))
    script = [sys.executable, "-I", "score.py", "--check"]
    checked = subprocess.run(script, cwd=tmp_path / "model", capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "40 of 40 rows score as they did\n"), checked.stderr


def test_a_start_from_the_log_or_a_snapshot_goes_on_the_same(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        grown(shop, artefact)
        shop.installation.log.sync()
        follower = shop.follower()
        while follower.behind_bytes:
            follower.advance()
        assert [one.different for one in follower.states.parity.merchants.values()] == [0]
        digest = shop.writer.merchant("shop").features.digest()
        follower.states.save()
    for cleared in (False, True):
        if cleared:
            for part in (tmp_path / "blobs" / "_").glob("snapshot*"):
                part.unlink()
        with opened(tmp_path) as shop:
            assert shop.writer.merchant("shop").features.digest() == digest
            live(shop, range(40 + 2 * cleared, 42 + 2 * cleared))
            assert replayed(shop).different == 0
            assert list(shop.writer.merchant("shop").plan.columns[-4:]) == NAMES
            digest = shop.writer.merchant("shop").features.digest()


def test_a_snapshot_of_before_is_enough_to_start_from(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        live(shop, range(20))
        shop.installation.log.sync()
        follower = shop.follower()
        while follower.behind_bytes:
            follower.advance()
        follower.states.save()
        add(shop, FIRST)
        live(shop, range(20, 25))
        digest = shop.writer.merchant("shop").features.digest()
    with opened(tmp_path) as shop:
        assert shop.writer.merchant("shop").features.digest() == digest
        assert replayed(shop).different == 0


def test_a_backtest_scores_with_a_model_of_any_of_the_plans(lived: Shop, artefact: Artefact) -> None:
    found = read_past(lived.installation.log.read, "shop", model=artefact)
    logged = [lived.writer.lookup("shop", f"p{n}", "pre_auth")[1].decision.p_fraud for n in range(10, 40)]
    assert found.p[10:].tolist() == logged


def test_a_sandbox_twin_has_them_too(lived: Shop) -> None:
    lived.installation.administration.carry_out(IssueKey("shop", "sandbox"), lived.clock.ms)
    twin, owner = lived.writer.merchant("shop~1"), lived.writer.merchant("shop")
    assert (twin.plan.hash, twin.model_version) == (owner.plan.hash, owner.model_version)
    lived.writer.decide("shop~1", payment("in-the-twin"), lived.clock.ms)
    assert replayed(lived).different == 0


def test_what_does_not_fit_changes_nothing(shop: Shop) -> None:
    end = shop.installation.log.end
    with pytest.raises(BadInput, match="no such column"):
        add(shop, SECOND)
    add(shop, FIRST)
    assert shop.installation.log.end > end
    with pytest.raises(BadInput, match="two columns of one name"):
        add(shop, FIRST)


# --- what is retired -----------------------------------------------------------------------------------------------

GONE = decode_own('[[feature]]\naggregate = "retired"\nentity = "ip24"')


@pytest.fixture
def leaner(shop: Shop, artefact: Artefact) -> Shop:
    """A shop that retired an entity's columns after 20 of 40 payments, and added others in the same event."""
    shop.activate(artefact)
    live(shop, range(20))
    add(shop, (*FIRST, *GONE))
    live(shop, range(20, 40))
    return shop


def test_retired_columns_keep_their_places_and_no_state(leaner: Shop) -> None:
    merchant, whole = leaner.writer.merchant("shop"), all_at_once(leaner, (*FIRST, *GONE))
    merchant.settle()
    gone = [name for name, live in zip(merchant.plan.columns, merchant.plan.live, strict=True) if not live]
    assert {"ip24__known", "ip24__count__events__1d", "ip24__count__short_over_long"} <= {*gone}
    assert "account+ip24__known" in merchant.plan.live
    assert len(merchant.plan.streams) < len(plan_of(merchant.created).streams)
    assert merchant.plan.columns[: -len(FIRST)] == plan_of(merchant.created).columns
    assert (merchant.plan.hash, merchant.features.digest()) == (whole.plan.hash, whole.features.digest())


def test_decisions_see_nothing_of_them_from_their_event_on_and_replay_agrees(leaner: Shop) -> None:
    _, before = leaner.writer.lookup("shop", "p19", "pre_auth")
    after, place = leaner.features(20), leaner.writer.merchant("shop").plan.columns.index("ip24__known")
    assert np.frombuffer(before.features, "<f4")[place] == 2.0
    assert np.isnan(after["ip24__known"])
    assert after["account__known"] == 2.0
    result = replayed(leaner)
    assert (result.decisions, result.different) == (40, 0), result.examples


def test_a_model_that_does_not_ask_for_them_goes_on(leaner: Shop, artefact: Artefact) -> None:
    assert leaner.features(39)["card__count__events__10m"] >= 0
    found = read_past(leaner.installation.log.read, "shop", model=artefact)
    logged = [leaner.writer.lookup("shop", f"p{n}", "pre_auth")[1].decision.p_fraud for n in range(40)]
    assert found.p.tolist() == logged


@pytest.mark.parametrize("first", ["model", "columns"])
def test_a_model_and_a_plan_without_its_columns_do_not_meet(shop: Shop, artefact: Artefact, first: str) -> None:
    cards = decode_own('[[feature]]\naggregate = "retired"\nentity = "card"')
    if first == "model":
        shop.activate(artefact)
    else:
        add(shop, cards)
    end = shop.installation.log.end
    with pytest.raises(ArtefactInvalid, match="card__count__events__10m"):
        add(shop, cards) if first == "model" else shop.activate(artefact)
    assert shop.installation.log.end == end


def test_a_policy_that_explores_keeps_the_columns_that_it_asks_for(shop: Shop) -> None:
    shop.create(
        "curious", msgspec.structs.replace(SCHEMA, entities=(*SCHEMA.entities, EntityDecl("shape", "email_shape")))
    )
    explores = Policy(exploration=Exploration(on=True))
    shop.writer.control("curious", PolicySet(msgspec.json.encode(explores)), 0)
    with pytest.raises(BadInput, match="nothing can be explored"):
        shop.writer.add_features("curious", decode_own('[[feature]]\naggregate = "retired"\nentity = "card"'), 0)


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ('entity = "planet"', "$.feature[0].entity"), ("", "$.feature[0].entity"),
        ('entity = "card"\nwindow = "1d"', "$.feature[0].window"), ('entity = "card"\nname = "x"', "$.feature[0].name"),
    ],
)  # fmt: skip
def test_what_cannot_be_retired_is_refused_by_its_place(shop: Shop, table: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        add(shop, decode_own(f'[[feature]]\naggregate = "retired"\n{table}'))
    assert refused.value.field == field


def test_a_place_counts_what_is_retired_before_it(shop: Shop) -> None:
    with pytest.raises(BadInput) as refused:
        add(shop, (*GONE, *SECOND))
    assert refused.value.field.startswith("$.feature[1]")


def test_training_without_them_makes_a_model_that_does_not_ask(leaner: Shop) -> None:
    data = collect(leaner.installation.log.read, "shop")
    masked = without(data, ("account",))
    gone = [n for n, one in enumerate(masked.plan.features) if one.aggregate == "retired"]
    assert np.isnan(masked.x[:, gone]).all()
    assert masked.plan.hash == data.plan.hash
    assert np.isfinite(data.x[20:, data.plan.columns.index("account__known")]).all()
    with pytest.raises(BadInput, match="it has no columns"):
        without(data, ("ip24",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path / "data", FakeClock()) as shop:
        shop.create()
        live(shop, range(12))
        shop.installation.log.sync()
    return tmp_path / "data"


def run(*arguments: object) -> str:
    ran = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def test_the_command_adds_them_and_says_what_comes_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda by: by)  # the tests that follow are as urgent as before
    file = tmp_path / "own.toml"
    file.write_text('[[feature]]\naggregate = "min"\nentity = "card"\nwindow = "1d"\n')
    assert "avalist features add shop" in run("features", "check", "shop", file, "--data", folder)
    said = run("features", "add", "shop", file, "--data", folder)
    assert "decisions after seq" in said
    assert "smallest amount of the card in the last day" in said
    assert "card__min__amount__1d" in run("features", "list", "shop", "--own", "--data", folder)
    with avalist.open(folder) as here:
        assert here.features("shop", columns=["card__min__amount__1d"]).height == 12
    assert "verified" in run("replay", "--verify", "--data", folder)
