"""The life of models from the command line, in this process, and what the follower starts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avalist.app.administer import RefuseModel, StageModel
from avalist.app.learn import last_done
from avalist.app.lineage import Standing, lineage
from avalist.bootstrap import keep_model, open_documents
from avalist.cli.learn import Trainer, place_of, wanted
from avalist.cli.lifecycle import app
from avalist.config import Settings
from avalist.domain.core import Check, Evidence, LearningSet
from avalist.domain.errors import BadInput, Conflict
from avalist.domain.keys import twin
from avalist.follow import Follower
from avalist.follow.learning import standings_of
from avalist.models.artefact import Artefact
from tests.shop import DAY_MS, T0_MS, Shop, event, opened

WORDS = "on 900 payments it earns less"


@pytest.fixture
def lived(tmp_path: Path, artefact: Artefact) -> Path:
    """Return a folder of a shop with two models that decided and one that was refused."""
    second, third = (replace(artefact, percentiles=artefact.percentiles + k) for k in (1.0, 2.0))
    evidence = Evidence(against=second.version, payments=900, checks=(Check("profit", False, WORDS),))
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(artefact)
        shop.activate(second)
        keep_model(shop.installation.blobs, "shop", third)
        refusal = RefuseModel("shop", third.version, third.plan_hash, cause="labels", evidence=evidence)
        shop.installation.administration.carry_out(refusal, T0_MS)
    return tmp_path


def run(data: Path, *words: str) -> str:
    ran = CliRunner().invoke(app, [*words, "--data", str(data)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def models_of(data: Path) -> tuple[str, list[str]]:
    with opened(data) as shop:
        standing, steps = lineage(shop.installation.log.read(), "shop")
    return standing.active, [step.version for step in steps]


def test_every_step_is_listed_and_shown_with_its_evidence(lived: Path) -> None:
    active, versions = models_of(lived)
    listed = run(lived, "list", "shop")
    assert all(version in listed for version in versions)
    assert f"active: {active}" in listed
    assert "1970" not in listed  # a merchant's clock begins with its first event
    shown = run(lived, "show", "shop", versions[-1][:6])
    assert WORDS in shown
    assert "refused (cause: labels; fails profit)" in shown


def test_what_a_person_promotes_is_watched(lived: Path) -> None:
    _, versions = models_of(lived)
    assert "it is not watched" in run(lived, "promote", "shop", versions[0])
    before = versions[0]
    with opened(lived) as shop:
        evidence = Evidence(against=before, checks=(Check("profit", True, WORDS),))
        staged = StageModel("shop", versions[-1], shop.writer.merchant("shop").plan.hash, "labels", evidence)
        shop.installation.administration.carry_out(staged, T0_MS)
    assert "not watched" not in run(lived, "promote", "shop", versions[-1])
    with opened(lived) as shop:
        standing, _ = lineage(shop.installation.log.read(), "shop")
    assert (standing.by, standing.evidence, standing.previous) == ("operator", evidence, before)
    assert standing.watched(standing.activated_ms)


def test_rollback_promote_and_refuse(lived: Path, artefact: Artefact) -> None:
    second, versions = models_of(lived)
    run(lived, "rollback", "shop")
    assert models_of(lived)[0] == artefact.version
    with pytest.raises(Conflict, match="nothing to go back to"):
        run(lived, "rollback", "shop")
    run(lived, "promote", "shop", versions[-1])
    assert models_of(lived)[0] == versions[-1]
    run(lived, "refuse", "shop", second)
    with pytest.raises(Conflict, match="models rollback shop"):
        run(lived, "refuse", "shop", versions[-1])
    with pytest.raises(BadInput, match="no such model"):
        run(lived, "promote", "shop", "zzz")


def test_a_model_that_cannot_be_brought_is_refused_before_the_replay(
    lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avalist.cli.take_away.replay_of", lambda *_: pytest.fail("it replays"))
    (tmp_path / "model.txt").write_text("tree\n")
    with pytest.raises(BadInput, match="another plan"):
        run(lived, "import", "shop", str(tmp_path / "model.txt"), "--plan", "1234")


def test_how_models_follow_each_other_is_set_by_an_event(lived: Path) -> None:
    assert "waits for a person" in run(lived, "set", "shop", "--approval", "manual")
    assert "every 7 days" in run(lived, "set", "shop", "--every-d", "7")
    with opened(lived) as shop:
        learning = lineage(shop.installation.log.read(), "shop")[0].learning
    assert learning == LearningSet(approval="manual", every_d=7.0)
    with pytest.raises(BadInput, match="approval"):
        run(lived, "set", "shop", "--approval", "never")


def caught_up(shop: Shop) -> Follower:
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    return follower


def test_the_follower_counts_reports_across_restarts(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.key(kind="sandbox")
        for n in range(3):
            shop.decide(n)
            shop.record(event("early_fraud_warning", f"f{n}", payment_id=f"p{n}"))
            follower = caught_up(shop)
            assert follower.learning.standings["shop"].labels == n + 1
            assert standings_of(shop.installation.documents) == follower.learning.standings
            follower.states.save()
        assert twin("shop", 1) not in follower.learning.standings


def test_what_decides_is_looked_at_once_a_day() -> None:
    standing = Standing(active="a", news=True, activated_ms=T0_MS, trained_ms=T0_MS, learning=LearningSet(every_d=0.0))
    assert not wanted(standing, T0_MS + DAY_MS - 1)
    assert wanted(standing, T0_MS + DAY_MS)
    assert not wanted(Standing(active="a", activated_ms=T0_MS), T0_MS + DAY_MS)


def test_a_process_of_its_own_does_the_work(lived: Path) -> None:
    settings, said = Settings(data=lived), list[str]()
    documents = open_documents(settings)
    trainer = Trainer(
        settings, place_of(settings), documents, settle_s=0.0, note=lambda what, /, **_: said.append(what)
    )
    standings = {"shop": Standing(labels=500, news=True, began_ms=0)}
    trainer.tick(standings, T0_MS)
    assert trainer._busy()
    while trainer._busy():
        time.sleep(0.05)
    done = last_done(documents, "shop")
    assert done is not None
    assert done.cause is None  # it goes by the log, not by what it was told
    trainer.tick(standings, T0_MS + 1000)
    assert not trainer._busy()
    assert (said, trainer.running, trainer.waiting) == (["learns", "learnt"], "", 0)
    assert trainer.ended == {done.verdict or "nothing due": 1}
    never = Trainer(Settings(data=lived, train_budget_s=0), place_of(settings), documents, settle_s=0.0)
    never.tick(standings, T0_MS)
    assert not never._busy()
    documents.close()
