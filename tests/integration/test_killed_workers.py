"""A notifier and a trainer that are killed in the middle of it, each followed by the checker: ``make faults``."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from avalist.app.lineage import lineage
from avalist.bootstrap import open_documents
from avalist.cluster import open_tools
from avalist.config import Settings, settings_from
from tests.cluster.checker import check
from tests.cluster.lived import live
from tests.cluster.receiving import Holding, receiving
from tests.cluster.running import Installation, until
from tests.cluster.under_test import MERCHANTS, UnderTest, under_load
from tests.shop import DAY_MS, payment_json

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("AVALIST_FAULTS" not in os.environ, reason="takes long: make faults"),
]


def test_a_notifier_killed_with_messages_on_their_way_loses_none(cluster: UnderTest, tmp_path: Path) -> None:
    with receiving() as receiver:
        told = UnderTest(tmp_path / "told", cluster.brokers, cluster.restart_brokers, each=1, webhook_private=1)
        try:
            (notifier,) = told.installation.start("notifier")
            subscribe(told, receiver)
            receiver.open.clear()
            before = len(receiver.got)

            def kill() -> None:
                outcomes(told, "told", 20)
                assert until(lambda: len(receiver.got) > before)
                notifier.kill()
                receiver.open.set()
                told.installation.start("notifier")

            under_load(told, kill)
            assert until(lambda: told_of(receiver) == {f"ptold{n}": OUTCOMES for n in range(20)}), receiver.got
            held = receiver.ids()[before]
            assert receiver.ids().count(held) >= 2  # nobody knew that it was taken
        finally:
            told.installation.stop()


OUTCOMES = ("capture", "early_fraud_warning")


def subscribe(told: UnderTest, receiver: Holding) -> None:
    """Have a merchant's outcomes told; return once the follower knows."""
    add = {"do": "add_webhook", "merchant": MERCHANTS[0], "url": receiver.url, "topics": ["outcome.recorded"]}
    with told.installation.office(told.gateway.port) as office:
        office.json("POST", "/v1/admin/webhooks", add)
    tried = itertools.count()

    def heard() -> bool:
        outcomes(told, f"first{next(tried)}-", 1)
        return bool(receiver.got)

    assert until(heard, pause_s=1.0)


def outcomes(told: UnderTest, name: str, many: int) -> None:
    """Let payments come, and of each every outcome, one after the other."""
    for id in (f"{name}{n}" for n in range(many)):
        told.send(told.gateway.port, "POST", "/v1/decisions", payment_json(id))
        about = {"payment_id": f"p{id}", "occurred_at": "2026-11-01T00:00:00Z"}
        for type in OUTCOMES:
            sent = {**about, "type": type, "event_id": f"{type}-{id}"}
            assert told.send(told.gateway.port, "POST", "/v1/events", sent)[0] == 200


def told_of(receiver: Holding) -> dict[str, tuple[str, ...]]:
    """Return which outcomes of each payment were told, in the order in which each came first."""
    came: dict[str, dict[str, None]] = {}
    for data in (message["data"] for message in receiver.got):
        if data["payment_id"].startswith("ptold"):
            came.setdefault(data["payment_id"], {})[data["outcome"]] = None
    return {payment: tuple(outcomes) for payment, outcomes in came.items()}


def test_a_trainer_killed_in_the_middle_of_a_run_leaves_one_verdict(cluster: UnderTest, tmp_path: Path) -> None:
    here = Installation(tmp_path / "lived", cluster.brokers.servers, train_budget_s=20)
    settings = settings_from({}, file=here.config)
    live(settings, int(time.time() * 1000) - 60 * DAY_MS)
    try:
        here.start("decider", "follower")
        child = killed(here, lambda: True)
        assert until(lambda: command_of(child) == b"")  # a run ends with its trainer: never two at once
        assert job(settings) is None
        killed(here, lambda: job(settings) is not None)
        trained = job(settings)
        (trainer,) = here.start("trainer")
        assert until(lambda: steps(settings) != [], pause_s=1.0), here.said()
        assert trained is not None
        time.sleep(7.0)  # the trainer looks for work each five seconds
        assert [version for _, version in steps(settings)] == [trained]
        assert trainer.process.poll() is None
        assert check(cluster.client, here.name, []).wrong == {}
    finally:
        here.stop()


def killed(here: Installation, when: Callable[[], bool]) -> int:
    """Start a trainer and kill it once it has begun a run, and something is so; return the run's process."""
    (trainer,) = here.start("trainer")
    children = Path(f"/proc/{trainer.process.pid}/task/{trainer.process.pid}/children")
    assert until(lambda: children.read_text() != ""), here.said()
    child = int(children.read_text())
    assert until(when, pause_s=0.02), here.said()
    trainer.kill()
    return child


def command_of(pid: int) -> bytes:
    """Return the command line of a process; of one that has ended nothing is left."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def job(settings: Settings) -> str | None:
    """Return the version of a model that is trained and has no verdict yet."""
    with closing(open_documents(settings)) as documents:
        body = documents.get("shop", "learning", "job")
    found = msgspec.json.decode(body) if body else None
    return found["version"] if found else None


def steps(settings: Settings) -> list[tuple[str, str]]:
    """Return what the log says of models."""
    with open_tools(settings, "shop") as tools:
        return [(step.what, step.version) for step in lineage(tools.read(), "shop")[1]]
