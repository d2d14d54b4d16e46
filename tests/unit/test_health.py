"""Health checks: what is right raises nothing, and what is wrong raises its own alert, logged once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as replace_struct

from avalist.api.health import TrainerMetrics
from avalist.api.metrics import EmbeddedMetrics
from avalist.app.administer import SetAlerts
from avalist.app.dataset import Dataset, collect
from avalist.app.followed import Checkup, Followed, Work, tell, told
from avalist.app.health import check, keep, kept
from avalist.app.level import ALL_PAYMENTS
from avalist.app.parity import Checked
from avalist.domain.alerts import Alert
from avalist.features.codes import code_of
from avalist.follow.health import Checkups
from tests.judged import dataset
from tests.shop import opened

ALERT = Alert(kind="level", subject=ALL_PAYMENTS, value=1.9, words="too many")


def lived(share: float = 1.0) -> Dataset:
    """Return a replayed log of decisions that told the truth, or a share of it."""
    data = dataset(8000, frauds=0.05)
    logit = 3.0 * data.x[:, 0] - 2.0
    p = 0.05 * len(logit) * np.exp(logit) / np.exp(logit).sum()
    decided = np.column_stack((np.clip(p * share, 1e-6, 0.9), np.ones(len(p)))).astype(np.float32)
    return replace(data, background=replace(data.background, decided=decided))


def test_nothing_is_wrong() -> None:
    found = check(lived(), "shop")
    assert found.alerts == ()
    whole = found.levels[0]
    assert (whole.subject, abs(whole.z) < 3.0) == (ALL_PAYMENTS, True)
    assert found.checks > 50


def test_a_level_that_is_too_low_is_told_on_immature_labels() -> None:
    found = check(lived(0.4), "shop")
    (alert, *_) = found.alerts
    assert (alert.kind, alert.subject) == ("level", ALL_PAYMENTS)
    assert alert.value == pytest.approx(2.5, rel=0.25)
    assert "days old" in {level.subject[-8:] for level in found.levels}


def test_a_column_that_moves_is_told_in_words() -> None:
    data = lived()
    late = data.t_ms > data.t_ms[-1] - 7 * 86_400_000
    x = data.x.copy()
    x[late, 5] += 3.0
    (alert,) = check(replace(data, x=x), "shop").alerts
    named = {feature.name: feature for feature in data.plan.features}
    assert (alert.kind, alert.subject) == ("drift", code_of(data.plan.features[5], named))
    assert alert.value > 0.25


def test_a_field_that_goes_missing_is_told_by_its_source() -> None:
    data = lived()
    keys = data.background.keys.copy()
    keys[data.t_ms > data.t_ms[-1] - 7 * 86_400_000, 0] = 0
    (alert,) = check(replace(data, background=replace(data.background, keys=keys)), "shop").alerts
    assert (alert.kind, alert.subject) == ("missing", "method.fingerprint")
    assert alert.value == pytest.approx(0.9, abs=0.02)


def test_broken_parity_is_told_as_the_follower_found_it() -> None:
    broken = Checked(plan="p1", checked=40, different=10, first="payment a: 1 columns differ")
    (alert,) = check(lived(), "shop", broken=broken).alerts
    assert (alert.kind, alert.subject, alert.value) == ("parity", "plan p1", 0.25)
    assert alert.words.endswith("(payment a: 1 columns differ)")


def test_a_young_merchant_is_not_compared() -> None:
    data = dataset(150)
    undecided = replace(data.background, decided=np.full((150, 2), np.nan, np.float32))
    found = check(replace(data, background=undecided), "shop")
    assert (found.moved, found.missing, found.alerts) == ((), (), ())


def test_alerts_are_events_that_change_no_decision(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        before = shop.decide(1).decision
        shop.installation.administration.carry_out(SetAlerts("shop", (ALERT,), 5), shop.clock.ms)
        shop.installation.log.sync()
        after = shop.decide(2).decision
        assert (after.action, after.seq) == (before.action, before.seq + 2)
        assert collect(shop.installation.log.read, "shop").background.alerts == (ALERT,)


def test_the_follower_tells_metrics_what_a_check_found(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        documents, health = shop.installation.documents, check(lived(0.4), "shop")
        keep(documents, health)
        assert kept(documents, "shop") == health
        checkups = Checkups(documents, ["true"], 0)
        checkups.tick(["shop", "other"])
        tell(documents, Followed(at_ms=1, position=0, snapshot=0, health=checkups.found))
        said = told(documents)
        assert said is not None
        assert said.health == {"shop": Checkup.of(health)}
        metrics = EmbeddedMetrics()
        metrics.followed(said, 1, 0)
        assert metrics.health.alerts.labels("shop", "level")._value.get() >= 1
        assert metrics.health.level_z.labels("shop")._value.get() > 5.0


def test_the_follower_tells_metrics_of_trainings_and_messages(tmp_path: Path) -> None:
    metrics, counted = EmbeddedMetrics(), []
    with opened(tmp_path) as shop:
        for runs in (2, 3, 1):  # it began anew before the last
            work = Work(training=True, trainings={"refused": runs}, sending=4, oldest_ms=1_000, attempts={"dead": runs})
            tell(shop.installation.documents, Followed(at_ms=1, position=0, snapshot=0, work=work))
            metrics.followed(told(shop.installation.documents), 5_000, 0)
            counted.append(metrics.trainings.runs.labels("refused")._value.get())
    assert counted == [2, 3, 4]
    assert metrics.webhooks.attempts.labels("dead")._value.get() == 4
    values = [
        one._value.get() for one in (metrics.trainings.running, metrics.webhooks.sending, metrics.webhooks.oldest)
    ]
    assert values == [1, 4, 4.0]


def test_a_trainer_shows_the_checks_of_its_own_merchants_alone(tmp_path: Path) -> None:
    metrics, health = TrainerMetrics(), check(dataset(150), "shop")
    with opened(tmp_path) as shop:
        for id in ("shop", "kiosk"):
            keep(shop.installation.documents, replace_struct(health, merchant=id))
        checkups = Checkups(shop.installation.documents, ["true"], 0)
        shown = []
        for ours in (["shop", "kiosk"], ["kiosk"], [], ["shop"]):
            checkups.tick(ours)
            metrics.health.show(checkups.found)
            (family,) = metrics.health.alerts.collect()
            shown.append({sample.labels["merchant"] for sample in family.samples})
    assert shown == [{"shop", "kiosk"}, {"kiosk"}, set(), {"shop"}]


def test_a_check_that_ended_is_noted_and_read(tmp_path: Path) -> None:
    noted: list[tuple[str, dict[str, object]]] = []
    now = [0.0]
    with opened(tmp_path) as shop:
        documents = shop.installation.documents
        checkups = Checkups(
            documents,
            ["sh", "-c", "exit 3"],
            60,
            lambda: now[0],
            note=lambda what, /, **more: noted.append((what, more)),
        )
        checkups.tick(["shop"])
        now[0] = 61.0
        checkups.tick(["shop"])
        assert checkups._running is not None
        checkups._running.wait()
        keep(documents, check(dataset(150), "shop"))
        checkups.tick(["shop"])
    assert noted == [("checks", {"merchants": 1}), ("check broke off", {"exit_code": 3})]
    assert set(checkups.found) == {"shop"}


def test_a_check_that_runs_when_the_next_is_due_is_ended(tmp_path: Path) -> None:
    noted: list[str] = []
    now = [0.0]
    command = ["sh", "-c", "exec sleep 600"]
    with opened(tmp_path) as shop:
        documents = shop.installation.documents
        checkups = Checkups(documents, command, 60, lambda: now[0], note=lambda what, /, **_: noted.append(what))
        for now[0] in (61.0, 122.0):
            checkups.tick(["shop"])
        assert checkups._running is not None
        checkups._running.wait()
        checkups.tick(["shop"])
        checkups.close()
    assert noted == ["checks", "check broke off", "checks"]


def test_checks_run_when_they_are_due_and_never_two_at_once(tmp_path: Path) -> None:
    now, note = [0.0], tmp_path / "asked"
    with opened(tmp_path / "data") as shop:
        command = ["sh", "-c", f'echo "$@" >> {note}', "sh"]
        checkups = Checkups(shop.installation.documents, command, 3600, lambda: now[0])
        for now[0] in (0.0, 61.0, 601.0, 602.0, 3000.0, 4202.0):
            checkups.tick(["shop", "shop~1"])
            if checkups._running is not None:
                checkups._running.wait()
        assert note.read_text() == "shop\nshop\n"
        checkups.close()
