"""Three brokers, two deciders, a follower, a gateway: what dies, and what the checker finds afterwards.

``AVALIST_FAULTS=1`` (``make faults``) adds those that take long: all brokers gone, a broker paused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from tests.cluster.checker import Checked, check, messages
from tests.cluster.running import Installation, Load, Process, until
from tests.live import Connection, avalist
from tests.services.kafka import BUILD, Cluster, Unobtainable, running_cluster, start_cluster
from tests.shop import payment_json

pytestmark = [pytest.mark.sockets, pytest.mark.slow, pytest.mark.timeout(600)]

long = pytest.mark.skipif("AVALIST_FAULTS" not in os.environ, reason="takes long: make faults")
MERCHANTS = ("shop", "kiosk", "arcade")


class Running:
    """An installation under test, with its brokers; what callers were told is checked at the end of each test."""

    def __init__(self, folder: Path, brokers: Cluster, restart_brokers: Callable[[], Cluster]) -> None:
        self.brokers, self.restart_brokers = brokers, restart_brokers
        self.installation = Installation(folder, brokers.servers)
        self.gateway, self.other, *_ = self.installation.start("gateway", "gateway", "decider", "decider", "follower")
        self.keys = [self.installation.create(self.gateway.port, merchant) for merchant in MERCHANTS]
        self.load = Load(self.keys, [self.gateway.port, self.other.port])

    @property
    def client(self) -> dict[str, str | int]:
        return {"bootstrap.servers": self.brokers.servers, "log_level": 0}

    def send(self, port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send the first merchant's request to a gateway; return status and answer."""
        with Connection(port, self.keys[0]) as caller:
            status, answer = caller.send(method, path, body)
        return status, msgspec.json.decode(answer)

    def roles(self, role: str) -> list[Process]:
        return [one for one in self.installation.running if one.role == role and one.process.poll() is None]

    def check(self) -> Checked:
        """Wait until nothing is on its way, and hold the log against the answers."""
        found = None

        def sound() -> bool:
            nonlocal found
            found = check(self.client, self.installation.name, self.load.given)
            return not found.wrong

        until(sound, 30, 1.0)
        assert found is not None
        assert not found.wrong
        assert self.load.refused == []
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    there = running_cluster(BUILD / "cluster")  # those of 'make services', where they run
    try:
        brokers = there or start_cluster(tmp_path_factory.mktemp("brokers"))
    except Unobtainable as error:
        pytest.skip(f"no Kafka brokers: {error}")
    folder = brokers.brokers[0].folder.parent
    restart = partial(start_cluster, folder, outlives=there is not None)
    running = Running(tmp_path_factory.mktemp("cluster"), brokers, restart)
    yield running
    running.installation.stop()
    if not there:
        running.brokers.kill()


def under_load(running: Running, fault: Callable[[], None], after_s: float = 3.0) -> Checked:
    """Let a fault happen under load, go on for a while, and check."""
    before = len(running.load.given)
    running.load.start()
    time.sleep(1.0)
    fault()
    time.sleep(after_s)
    running.load.stop()
    assert len(running.load.given) > before
    return running.check()


def test_a_decision_is_given_found_and_given_again(running: Running) -> None:
    here, there = running.gateway.port, running.other.port
    _, first = running.send(here, "POST", "/v1/decisions", payment_json("one"))
    assert (first["degraded"], first["seq"]) == (False, 2)
    assert running.send(there, "POST", "/v1/decisions", payment_json("one")) == (200, first)
    assert until(lambda: running.send(there, "GET", "/v1/decisions/pone")[0] == 200)
    assert running.send(here, "GET", "/v1/decisions/pone")[1]["decision"] == first
    assert running.send(here, "POST", "/v1/decisions", payment_json("one", amount_minor=1))[0] == 409


def test_events_are_recorded_and_what_does_not_fit_is_named(running: Running) -> None:
    capture = {"type": "capture", "event_id": "c1", "payment_id": "ptwo", "occurred_at": "2026-11-01T00:00:00Z"}
    unknown = {**capture, "event_id": "c2", "payment_id": "nobody"}
    running.send(running.gateway.port, "POST", "/v1/decisions", payment_json("two"))
    _, answer = running.send(running.other.port, "POST", "/v1/outcomes", [capture, unknown])
    assert (answer["recorded"], answer["errors"][0]["event_id"]) == (1, "c2")


def test_a_killed_decider_costs_nothing(running: Running) -> None:
    checked = under_load(running, running.roles("decider")[0].kill, 4.0)
    assert checked.events > 20
    running.installation.start("decider")


def test_a_decider_that_stood_still_changes_nothing_when_it_comes_back(running: Running) -> None:
    zombie = running.roles("decider")[0]

    def stall() -> None:
        zombie.pause()
        time.sleep(3.0)
        zombie.resume()

    under_load(running, stall)
    assert until(lambda: zombie.ready)


def test_a_killed_gateway_and_follower_cost_nothing(running: Running) -> None:
    def kill() -> None:
        running.other.kill()
        running.roles("follower")[0].kill()

    under_load(running, kill, 1.0)
    running.load.ports = [running.gateway.port]
    running.installation.start("follower")
    _, last = running.send(running.gateway.port, "POST", "/v1/decisions", payment_json("last"))
    assert until(lambda: running.send(running.gateway.port, "GET", "/v1/decisions/plast")[0] == 200)
    assert running.send(running.gateway.port, "GET", "/v1/decisions/plast")[1]["decision"] == last


def test_what_cannot_be_read_is_laid_aside_and_comes_back(running: Running) -> None:
    name = running.installation.name
    producer = Producer(running.client)
    producer.produce(f"{name}.events", b"no message", "shop", 2)
    producer.flush(10)
    dead = f"{name}.dead-letters"
    assert until(lambda: any(True for _ in messages(running.client, dead)))
    config = ("--config", running.installation.config)
    assert "BadInput: no message of this version" in avalist("dead-letters", "list", *config).stdout.replace("\n", " ")
    assert "sent again: 1" in avalist("dead-letters", "replay", *config).stdout
    running.check()


def test_a_killed_broker_costs_nothing(running: Running) -> None:
    dead = running.brokers.brokers[0]
    under_load(running, dead.kill, 6.0)
    running.brokers = running.restart_brokers()


@long
def test_a_broker_that_stands_still_costs_nothing(running: Running) -> None:
    def pause() -> None:
        running.brokers.brokers[1].pause()
        time.sleep(10.0)
        running.brokers.brokers[1].resume()

    under_load(running, pause, 5.0)


@long
def test_all_brokers_gone_for_a_minute_means_fallbacks_that_are_logged_later(running: Running) -> None:
    def gone() -> None:
        for broker in running.brokers.brokers:
            broker.pause()
        time.sleep(float(os.environ.get("AVALIST_GONE_S", "60")))
        for broker in running.brokers.brokers:
            broker.resume()

    checked = under_load(running, gone, 15.0)
    assert checked.fallbacks > 0
