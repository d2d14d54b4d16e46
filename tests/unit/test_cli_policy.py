"""A policy from the command line, in this process: solved, previewed, set, and switched back."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from avalist.app.dataset import collect
from avalist.app.replay import replay
from avalist.app.solve import recent, solve_budgets
from avalist.app.spent import ledger
from avalist.cli.policy import _in_short, _solution, app
from avalist.domain.core import Solved
from avalist.domain.errors import BadInput, NotFound
from avalist.models.artefact import Artefact
from avalist.policy.economics import Budgets, Policy, policy_version
from tests.shop import DAY_MS, T0_MS, Shop, event, iso, opened

N = 400


def live(shop: Shop) -> None:
    """Live ten days: every eighth payment is one of a burst on one card, and half of those are reported."""
    for n in range(N):
        at = T0_MS + n * DAY_MS // 40
        card = f"burst-{n // 80}" if n % 80 < 10 else f"card-{n}"
        at = at - (n % 80) * DAY_MS // 41 if n % 80 < 10 else at
        shop.clock.ms = max(shop.clock.ms, at)
        shop.decide(n, method={"kind": "card", "fingerprint": card}, occurred_at=iso(at))
        shop.record(event("capture", f"cap{n}", payment_id=f"p{n}"))
        if card.startswith("burst") and n % 2:
            shop.record(event("chargeback", f"cb{n}", payment_id=f"p{n}"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        live(shop)
    return folder


def run(data: Path, *words: object) -> str:
    ran = CliRunner().invoke(app, [*map(str, words), "--data", str(data)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def written(folder: Path, policy: Policy) -> Path:
    (folder / "policy.json").write_bytes(msgspec.json.encode(policy))
    return folder / "policy.json"


def test_a_policy_is_set_solved_listed_and_switched_back(lived: Path) -> None:
    new = Policy(margin=0.2, budgets=Budgets(value_bps=100.0))
    said = run(lived, "set", "shop", written(lived, new))
    assert policy_version(new) in said
    assert "bps by value" in said
    assert policy_version(new) + "." in run(lived, "show", "shop")
    assert policy_version(Policy()) in run(lived, "switch-back", "shop")
    assert policy_version(new) in run(lived, "switch-back", "shop")
    history = run(lived, "history", "shop")
    assert history.count(policy_version(Policy())) == 2
    assert "the default" in history


def test_a_preset_keeps_the_rest(lived: Path) -> None:
    run(lived, "set", "shop", written(lived, Policy(margin=0.21)))
    run(lived, "preset", "shop", "protect")
    shown = run(lived, "show", "shop")
    assert '"margin": 0.21' in shown
    assert '"value_bps": 20.0' in shown


def test_a_preview_sets_nothing_and_says_what_would_change(lived: Path) -> None:
    run(lived, "set", "shop", written(lived, Policy(margin=0.95)))
    before = run(lived, "history", "shop")
    said = run(lived, "preview", "shop", written(lived, Policy()))
    assert re.search(r"approve → decline: .* expected to earn [0-9,.]+ EUR (more|less);", said)
    assert re.search(r"altogether [0-9,.]+ EUR (more|less) than the policy now", said)
    assert "reported as fraud so far" in said
    assert run(lived, "history", "shop") == before


def test_the_frontier_is_a_table_and_a_page(lived: Path) -> None:
    said = run(lived, "frontier", "shop", "--out", lived / "f.html")
    assert all(name in said for name in ("approve all", "protect", "balance", "grow", "the policy now"))
    assert (lived / "f.html").read_text().count("<svg") == 2


def test_a_preset_that_cannot_be_held_is_named(lived: Path) -> None:
    found = " ".join(run(lived, "frontier", "shop", "--out", lived / "f.html").split())
    assert "protect cannot hold its 20 bps" in found
    assert "grow cannot" not in found
    assert "protect cannot hold its 20 bps" in (lived / "f.html").read_text()


def test_a_preview_that_changes_nothing_says_so(lived: Path) -> None:
    run(lived, "set", "shop", written(lived, Policy()))
    said = run(lived, "preview", "shop", written(lived, Policy()))
    assert "no payment of these days would go otherwise" in said
    with pytest.raises(BadInput, match="no such preset"):
        run(lived, "preview", "shop", "hope")


def test_what_of_a_policy_is_its_own_is_told_field_by_field() -> None:
    own = Policy(margin=0.2, budgets=Budgets(value_bps=40.0), margin_by_item_kind={"gift_card": 0.05})
    assert _in_short(own) == "margin 0.2, margin_by_item_kind.gift_card 0.05, budgets.value_bps 40.0"
    assert _in_short(Policy()) == "the default"


def test_a_price_is_told_in_the_merchants_currency() -> None:
    solved = Solved(policy="", count_minor=250.0, value=1.5)
    told = _solution(Policy(budgets=Budgets(count_bps=20.0, value_bps=40.0)), solved, "JPY")
    assert "a chargeback counts 250 JPY + 1.50 × its amount dearer" in told
    assert "dearer" not in _solution(Policy(), solved, "JPY")


def test_a_policy_that_makes_no_sense_changes_nothing(lived: Path) -> None:
    before = run(lived, "history", "shop")
    (lived / "bad.json").write_text('{"budgets": {"value_bps": -1}}')
    with pytest.raises(BadInput) as refused:
        run(lived, "set", "shop", lived / "bad.json")
    assert refused.value.field == "$.budgets.value_bps"
    assert run(lived, "history", "shop") == before


def test_strangers_are_named(lived: Path) -> None:
    with pytest.raises(NotFound, match="nobody"):
        run(lived, "show", "nobody")
    with pytest.raises(BadInput, match="no such preset"):
        run(lived, "preset", "shop", "hope")


def test_without_a_model_a_policy_is_set_and_not_solved(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
    assert "no model is active" in run(tmp_path, "preset", "shop", "protect")
    with pytest.raises(BadInput, match="avalist train shop"):
        run(tmp_path, "solve", "shop")


def test_what_was_solved_is_replayed_and_survives_a_restart(lived: Path) -> None:
    run(lived, "set", "shop", written(lived, Policy(budgets=Budgets(count_bps=50.0))))
    with opened(lived) as shop:
        version = shop.writer.merchant("shop").desk.version
        shop.clock.ms = T0_MS + 11 * DAY_MS
        decided = shop.decide("new", occurred_at=iso(shop.clock.ms)).decision
        assert decided.policy_version == version
        assert "." in version
        result = replay(shop.installation.log, shop.installation.load_model)
    assert (result.decisions, result.different) == (N + 1, 0)


def test_reports_correct_the_models_word(lived: Path, artefact: Artefact) -> None:
    with opened(lived) as shop:
        data = collect(shop.installation.log.read, "shop")
        model = shop.writer.merchant("shop").model
    assert model is not None
    seen = recent(data, model.artefact)
    said = data.background.decided[:, 0]
    assert ((seen.p > said[seen.rows]) == (seen.odds > 1.0)).all()
    assert solve_budgets(data, model, Policy(budgets=Budgets(value_bps=9000.0))).value == 0.0


@pytest.mark.parametrize("command", ["show", "solve"])
def test_what_was_spent_is_told_beside_the_budget(lived: Path, command: str) -> None:
    run(lived, "set", "shop", written(lived, Policy(margin=0.2, budgets=Budgets(value_bps=100.0))))
    said = run(lived, command, "shop")
    assert "Approved payments of the last 28 days" in said
    (by_count,) = re.findall(r"by count +([0-9.]+) +([0-9.]+) .* to .* –", said)
    (by_value,) = re.findall(r"by value +([0-9.]+) +([0-9.]+) .* to .* 100.0", said)
    assert 0.0 < float(by_count[0]) <= float(by_count[1])
    assert 0.0 < float(by_value[0]) <= float(by_value[1])


def test_the_policy_alone_needs_no_replay(lived: Path) -> None:
    assert "Approved payments" not in run(lived, "show", "shop", "--no-spent")


def test_what_was_spent_is_that_of_approved_payments(lived: Path) -> None:
    run(lived, "set", "shop", written(lived, Policy(margin=0.2, budgets=Budgets(value_bps=100.0))))
    with opened(lived) as shop:
        data = collect(shop.installation.log.read, "shop")
        model = shop.writer.merchant("shop").model
    assert model is not None
    seen, fraud = recent(data, model.artefact), data.known_at(data.cut_ms)[1]
    rows = (seen.approved > 0) & ~np.isnan(seen.ultimate)
    spent = ledger(data, model.artefact).spent
    assert spent["count"].matured == pytest.approx(1e4 * fraud[seen.rows][rows].mean())
    assert spent["value"].projected.value == pytest.approx(
        1e4 * float(seen.ultimate[rows] @ seen.amount[rows]) / float(seen.amount[rows].sum())
    )
    assert all(one.matured <= one.projected.value for one in spent.values())
    assert (spent["count"].budget, spent["value"].budget) == (None, 100.0)
