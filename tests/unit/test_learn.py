"""The daily work on a small shop: a first model, no better one, bad ones, a rollback, the events that say so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from avalist.app.administer import ActivateModel, SetLearning
from avalist.app.dataset import collect
from avalist.app.followed import Followed, tell
from avalist.app.gate import MOST_TREES, judge, last_days, shadow, shares_from
from avalist.app.learn import Done, Tools, _judged, evidence_for, last_done, learn, watch
from avalist.app.lineage import HOUR_MS, Step, lineage
from avalist.app.parity import Checked
from avalist.app.replay import replay
from avalist.bootstrap import keep_model
from avalist.domain.core import Evidence, LearningSet
from avalist.models.artefact import Artefact
from avalist.models.train import TrainParams
from bench import _bad
from tests.shop import DAY_MS, SCHEMA, T0_MS, Shop, event, iso, opened, payment

PARAMS = TrainParams(test_share=0.0, trees=15, leaves=6, min_data_in_leaf=20, learning_rate=0.3, early_stopping=False)
DAYS, PER_DAY = 50, 40


def pay(shop: Shop, n: int, *, decided: bool = False, **changes: Any) -> bool:
    """Let a payment come: one in ten is of few cards, most of them fraud, reported at once; so are a few others."""
    at = T0_MS + n * DAY_MS // PER_DAY
    shop.clock.ms, bad = max(at, shop.clock.ms), n % 10 == 3
    fraud = n % 7 < 5 if bad else n % 51 == 0
    who = {
        "customer": {"id": f"bad{n % 3}" if bad else f"c{n % 997}"},
        "amount_minor": 4000 + 37 * (n % 499),
        "custom": {"lat": n % 101},
    }
    made = {"occurred_at": iso(at), "method": {"kind": "card", "fingerprint": f"k{n % 3 if bad else n}"}, **who}
    if not decided:
        shop.record(payment(n, **(made | changes)))
    elif shop.writer.decide("shop", payment(n, **(made | changes)), at).decision.action != "approve":
        return False
    shop.record(event("capture", f"cap{n}", payment_id=f"p{n}", occurred_at=iso(at)))
    if fraud:
        shop.record(event("early_fraud_warning", f"f{n}", payment_id=f"p{n}", occurred_at=iso(at)))
    return True


def tools_of(shop: Shop) -> Tools:
    here = shop.installation

    def carry_out(request: Any) -> dict[str, Any]:
        return here.administration.carry_out(request, shop.clock.ms)

    return Tools(
        here.log.read, partial(here.load_model, "shop"), partial(keep_model, here.blobs, "shop"), carry_out,
        here.documents, itertools.count(step=1000).__next__, params=PARAMS, prior=False,
    )  # fmt: skip


class Lived:
    """A shop with a history, and what its daily work did."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.tools = shop, tools_of(shop)
        self.n = DAYS * PER_DAY
        for n in range(self.n):
            pay(shop, n)

    @property
    def steps(self) -> list[Step]:
        return lineage(self.tools.read(), "shop")[1]

    @property
    def active(self) -> Artefact:
        return self.tools.load(self.shop.writer.merchant("shop").model_version).artefact

    def learn(self, cause: Any = "schedule") -> Done:
        return learn(self.tools, "shop", self.shop.clock.ms, cause)

    def live(self, payments: int, **changes: Any) -> int:
        made = [pay(self.shop, n, decided=True, **changes) for n in range(self.n, self.n + payments)]
        self.n += payments
        return sum(made)

    def evidence(self, model: Artefact) -> Evidence:
        self.tools.keep(model)
        held = self.tools.load(model.version), self.tools.load(self.active.version)
        return evidence_for(self.tools, "shop", *held, self.shop.clock.ms)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    schema = msgspec.structs.replace(SCHEMA, report_delay_d=(0.5, 1.0))
    with opened(tmp_path_factory.mktemp("learn"), log="memory:") as shop:
        shop.create(schema=schema)
        found = Lived(shop)
        first = found.learn("first")
        assert first.verdict == "staged"
        found.tools.carry_out(ActivateModel("shop", first.version, found.tools.load(first.version).artefact.plan_hash))
        found.live(5 * PER_DAY)
        yield found


def failed(evidence: Evidence | None) -> set[str]:
    assert evidence is not None
    return {check.name for check in evidence.checks if not check.passed}


def test_a_first_model_earns_more_than_what_was_done_and_waits_for_a_person(lived: Lived) -> None:
    assert [step.what for step in lived.steps[:3]] == ["staged", "staged", "activated"]
    evidence = lived.steps[0].told.evidence
    assert evidence is not None
    assert evidence.passed
    assert evidence.gain_low_minor > 0.0
    assert 0 < evidence.judged < evidence.payments
    assert evidence.declined > evidence.declined_before == 0.0


def test_one_that_is_no_better_is_refused_with_the_evidence(lived: Lived) -> None:
    before, stump = lived.active.version, msgspec.structs.replace(PARAMS, trees=1, leaves=2)
    done = learn(lived.tools._replace(params=stump), "shop", lived.shop.clock.ms, "schedule")
    assert (done.verdict, lived.active.version) == ("refused", before)
    assert "profit" in failed(lived.steps[-1].told.evidence)
    assert "the lower bound must be above 0" in done.words[-1]
    assert last_done(lived.tools.documents, "shop") == done


def test_bad_challengers_are_refused(lived: Lived) -> None:
    data = collect(lived.tools.read, "shop")
    assert "profit" in failed(lived.evidence(_bad.shuffled(data, PARAMS)))
    assert "profit" in failed(lived.evidence(_bad.leaked(data, PARAMS)))
    slow = lived.evidence(_bad.slow(lived.active, copies=MOST_TREES + 1))
    assert "latency" in failed(slow)
    assert f"of at most {MOST_TREES}" in next(c.words for c in slow.checks if c.name == "latency")


def test_broken_parity_shuts_the_gate(lived: Lived) -> None:
    seen = shadow(lived.tools.read, "shop", lived.active, None, last_days(lived.shop.clock.ms))
    assert "parity" in failed(judge(seen, lived.active, parity="3 decisions differ"))
    assert "parity" not in failed(judge(seen, lived.active))


def test_nothing_is_trained_while_parity_is_broken(lived: Lived) -> None:
    kept: list[Artefact] = []
    broken = Followed(at_ms=0, position=0, snapshot=0, parity={"shop": Checked(plan="plan", checked=9, different=3)})
    tell(lived.tools.documents, broken)
    done = learn(lived.tools._replace(keep=kept.append), "shop", lived.shop.clock.ms, "schedule")
    tell(lived.tools.documents, msgspec.structs.replace(broken, parity={}))
    assert (done.verdict, kept) == ("not trained", [])
    assert "parity is broken" in done.words[-1]


def test_a_risk_score_means_the_same_in_the_next_model(lived: Lived) -> None:
    x = collect(lived.tools.read, "shop").x[: DAYS * PER_DAY][-28 * PER_DAY :]
    other = replace(lived.active, percentiles=lived.active.percentiles - 1.0)
    p = lived.active.calibration.apply(lived.active.trees.score_many(x))
    for wanted, (above, at) in zip((0.5, 0.2, 0.1, 0.05, 0.02), shares_from(lived.active, p), strict=True):
        assert above - 0.01 <= wanted <= at + 0.01
    seen = shadow(lived.tools.read, "shop", other, None, last_days(lived.shop.clock.ms))
    assert "risk scores" in failed(judge(seen, other))


def test_what_passes_waits_where_a_person_approves(lived: Lived) -> None:
    lived.tools.carry_out(SetLearning("shop", LearningSet(approval="manual")))
    standing, _ = lineage(lived.tools.read(), "shop")
    before, passed = lived.active, Evidence(against=lived.active.version)
    tools, now_ms = lived.tools, lived.shop.clock.ms
    assert _judged(tools, "shop", before, standing, passed, now_ms, "schedule") == "staged"
    assert (lived.steps[-1].what, lived.active.version) == ("staged", before.version)
    lived.tools.carry_out(SetLearning("shop", LearningSet()))
    standing, _ = lineage(tools.read(), "shop")
    assert _judged(tools, "shop", before, standing, passed, now_ms, "schedule") == "activated"


def test_a_killed_training_is_not_done_again(lived: Lived) -> None:
    asked: list[Any] = []
    kept: list[str] = []

    def killed(request: Any) -> dict[str, Any]:
        asked.append(request)
        raise KeyboardInterrupt

    def keep(artefact: Artefact) -> None:
        kept.append(artefact.version)
        lived.tools.keep(artefact)

    with pytest.raises(KeyboardInterrupt):
        learn(lived.tools._replace(carry_out=killed, keep=keep), "shop", lived.shop.clock.ms, "schedule")
    done = learn(lived.tools._replace(keep=keep), "shop", lived.shop.clock.ms, "schedule")
    assert kept == [done.version] == [asked[0].version]


def test_a_training_ends_with_its_time(lived: Lived) -> None:
    tools = lived.tools._replace(budget_s=0.0)
    model = tools.load(learn(tools, "shop", lived.shop.clock.ms, "schedule").version)
    assert len(model.artefact.trees.roots) == 1


def test_a_model_that_turns_bad_is_taken_back_and_the_log_replays(lived: Lived) -> None:
    good = lived.active
    column = next(name for name in good.columns if name.startswith(_bad.ADDRESS))
    bad = _bad.turning(good, column)
    evidence = lived.evidence(bad)
    lived.tools.carry_out(SetLearning("shop", LearningSet(watch_h=240.0)))
    lived.tools.carry_out(ActivateModel("shop", bad.version, bad.plan_hash, by="gate", evidence=evidence))
    lived.live(130)
    assert failed(watch(lived.tools, "shop", lived.shop.clock.ms)) == set()
    assert lived.active.version == bad.version
    assert lived.live(60, ip=None) == 0
    found = watch(lived.tools, "shop", lived.shop.clock.ms)
    assert any(name.startswith("declines") for name in failed(found))
    assert (lived.active.version, lived.steps[-1].what) == (good.version, "rolled back")
    assert watch(lived.tools, "shop", lived.shop.clock.ms + HOUR_MS) is None
    replay(lived.shop.installation.log, lived.shop.installation.load_model).check()


def test_too_few_frauds_are_said_and_nothing_is_logged(tmp_path: Path) -> None:
    with opened(tmp_path, log="memory:") as shop:
        shop.create()
        shop.decide(1)
        steps = len(lineage(shop.installation.log.read(), "shop")[1])
        done = learn(tools_of(shop), "shop", shop.clock.ms, "first")
        assert (done.verdict, len(lineage(shop.installation.log.read(), "shop")[1])) == ("not trained", steps)
        assert "too few frauds" in done.words[0]


def test_a_held_day_is_the_same_for_models_of_other_days(lived: Lived) -> None:
    held = lived.active.held
    assert held is not None
    again = Artefact.from_bytes(lived.active.to_bytes())
    assert again.held == held
    t_ms = np.arange(held.from_ms, held.from_ms + 400 * DAY_MS, HOUR_MS)
    assert held(t_ms).mean() == pytest.approx(held.share, abs=0.05)
    assert msgspec.structs.replace(held, from_ms=int(t_ms[200]))(t_ms[200:]).tolist() == held(t_ms[200:]).tolist()
