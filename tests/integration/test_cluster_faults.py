"""Faults of a cluster that take long, each followed by the checker: ``make faults``.

Brokers gone, standing still, with a full disk; documents out of reach; clocks that jump; two versions at once; a
follower that comes back; a full disk below the roles.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from avalist import ENGINE
from avalist.adapters.file.log import FileLog
from avalist.adapters.mongo.documents import MongoDocuments
from avalist.app.snapshot import FORMAT
from avalist.domain.errors import Unavailable
from tests.cluster.altered import UNKNOWN
from tests.cluster.checker import documents_equal, documents_in, records
from tests.cluster.disk import small_disk
from tests.cluster.running import Load, until
from tests.cluster.under_test import UnderTest, under_load
from tests.services import mongodb
from tests.services.kafka import Broker, running
from tests.services.server import Unobtainable

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("AVALIST_FAULTS" not in os.environ, reason="takes long: make faults"),
]


def pause(brokers: tuple[Broker, ...], seconds: float) -> None:
    for broker in brokers:
        broker.pause()
    time.sleep(seconds)
    for broker in brokers:
        broker.resume()


def documents_are_the_log(cluster: UnderTest) -> bool:
    log = records(cluster.client, f"{cluster.installation.name}.decisions")
    with documents_in(cluster.installation.folder / "data" / "documents.sqlite") as look:
        return documents_equal(look, log)


def test_a_broker_that_stands_still_costs_nothing(cluster: UnderTest) -> None:
    under_load(cluster, lambda: pause(cluster.brokers.brokers[1:2], 10.0), 5.0)


def test_all_brokers_gone_for_a_minute_means_fallbacks_that_are_logged_later(cluster: UnderTest) -> None:
    gone_s = float(os.environ.get("AVALIST_GONE_S", "60"))
    checked = under_load(cluster, lambda: pause(cluster.brokers.brokers, gone_s), 15.0)
    assert checked.fallbacks > 0


def test_a_broker_whose_disk_is_full_costs_nothing(cluster: UnderTest) -> None:
    full = cluster.brokers.brokers[2]

    def fill() -> None:
        resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (4096, 4096))  # no file of it grows any more

    try:
        under_load(cluster, fill, 8.0)
        assert until(lambda: running(full.folder) is None)  # it ended itself; its own words may have found no room
    finally:
        full.kill()
        cluster.brokers = cluster.restart_brokers()


def test_clocks_that_jump_cost_nothing(cluster: UnderTest, tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    before = cluster.roles("decider")
    (gateway,) = cluster.installation.start("gateway", ALTERED_CLOCK=str(ahead))
    cluster.installation.start("decider", ALTERED_CLOCK=str(ahead))
    cluster.installation.dismiss(before)
    ports, cluster.load.ports = cluster.load.ports, [gateway.port]

    def jump() -> None:
        for hours in (2, -3, 0):
            ahead.write_text(str(hours * 3_600_000))
            time.sleep(2.0)

    under_load(cluster, jump, 1.0)
    cluster.load.ports = ports
    arrivals: dict[str, list[int]] = {}
    for one in records(cluster.client, f"{cluster.installation.name}.decisions"):
        arrivals.setdefault(one.merchant, []).append(one.raw[3])
    assert all(ats == sorted(ats) for ats in arrivals.values())
    cluster.installation.start("decider", "decider")
    cluster.installation.dismiss([gateway, *cluster.roles("decider")[:1]])


def test_two_versions_take_turns_and_cost_nothing(cluster: UnderTest) -> None:
    here = cluster.installation
    old, followers = cluster.roles("decider"), cluster.roles("follower")

    def roll() -> None:
        (follower,) = here.start("follower", ALTERED_VERSION="next")
        here.dismiss(followers)
        new = here.start("decider", "gateway", ALTERED_VERSION="next")
        cluster.load.ports = [cluster.gateway.port, new[1].port]
        here.dismiss(old)
        assert until(lambda: saved_by_the_next_version(here.folder))
        here.start("decider")  # it is taken back, the hard way
        here.start("follower")
        cluster.load.ports = [cluster.gateway.port]
        for process in (*new, follower):
            process.kill()

    under_load(cluster, roll, 6.0)
    log = records(cluster.client, f"{here.name}.decisions")
    assert {one.raw[-1] == UNKNOWN for one in log} == {True, False}
    said = "".join(process.said.read_text() for process in cluster.roles("decider"))
    assert "was made by other code" in said
    assert documents_are_the_log(cluster)
    here.start("decider")


def saved_by_the_next_version(folder: Path) -> bool:
    code = f"{FORMAT + 1}-{ENGINE}-".encode()
    return any(code in file.read_bytes() for file in folder.glob("data/partitions/*/_/snapshot~*"))


def test_a_follower_that_comes_back_writes_over_nothing(cluster: UnderTest) -> None:
    zombie = cluster.roles("follower")[0]

    def stall() -> None:
        zombie.pause()
        cluster.installation.start("follower")
        time.sleep(4.0)
        zombie.resume()

    cluster.load.deadlines_ms = (1, 8)  # fallbacks, which come after the decisions that a zombie may hold
    checked = under_load(cluster, stall)
    cluster.load.deadlines_ms = (2000,)
    assert checked.fallbacks > 0
    assert documents_are_the_log(cluster)


def test_documents_out_of_reach_cost_no_decision_and_catch_up(cluster: UnderTest, tmp_path: Path) -> None:
    try:
        server = mongodb.start(tmp_path / "mongodb")
    except Unobtainable as error:
        pytest.skip(f"no MongoDB server: {error}")
    url = f"mongodb://{server.address}/far"
    far = UnderTest(tmp_path / "far", cluster.brokers, cluster.restart_brokers, each=1, documents=url)
    # One caller, or this server has too much to catch up with; and time, for that of a busy machine is no matter here.
    far.load = Load(far.keys, [far.gateway.port], deadline_ms=10_000, callers=1)

    def away() -> None:
        server.kill()
        time.sleep(float(os.environ.get("AVALIST_GONE_S", "60")))
        server.start()

    try:
        assert under_load(far, away, 5.0).fallbacks == 0
        log = records(far.client, f"{far.installation.name}.decisions")
        with closing(MongoDocuments(url)) as documents:
            assert documents_equal(partial(decision_in, documents), log)
        server.pause()
        far.load.start()
        time.sleep(3.0)  # a batch is under way, and no answer comes
        far.load.stop()
        far.installation.stop()
    finally:
        far.installation.stop()
        server.kill()


def decision_in(documents: MongoDocuments, merchant: str, id: str) -> bytes | None:
    with suppress(Unavailable):  # it is looked for again
        return documents.get(merchant, "decisions", id)
    return None


def test_a_full_disk_below_the_roles_costs_no_decision_and_heals(cluster: UnderTest, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        full = UnderTest(disk.folder / "full", cluster.brokers, cluster.restart_brokers, each=1)

        def fill() -> None:
            disk.fill()
            time.sleep(3.0)
            pause(full.brokers.brokers, 5.0)  # fallbacks that no spool takes
            time.sleep(3.0)
            disk.free()

        try:
            assert under_load(full, fill, 8.0).fallbacks > 0
            assert "disk" in full.roles("follower")[0].said.read_text()
            assert documents_are_the_log(full)
            under_load(full, lambda: expect_spooled(full), 8.0)
        finally:
            full.installation.stop()


def expect_spooled(full: UnderTest) -> None:
    """Let the brokers stand still until a fallback lies in the gateway's spool."""
    for broker in full.brokers.brokers:
        broker.pause()
    try:
        assert until(partial(spooled, full.installation.folder))
    finally:
        for broker in full.brokers.brokers:
            broker.resume()


def spooled(folder: Path) -> bool:
    (spool,) = folder.glob("data/spool/*")
    if not (spool / "log" / "durable").exists():
        return False
    log = FileLog(spool / "log", readonly=True)
    found = any(True for _ in log.read())
    log.close()
    return found
