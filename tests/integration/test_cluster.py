"""Three brokers, two deciders, a follower, two gateways: what dies, and what the checker finds afterwards.

``test_cluster_faults.py`` has those faults that take long.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from avalist.adapters.kafka.reading import at_begin, at_end
from avalist.adapters.kafka.topics import Topics, ensure
from tests.cluster.checker import messages
from tests.cluster.running import PATIENCE_S, until
from tests.cluster.twice import again_and_out_of_order
from tests.cluster.under_test import UnderTest, under_load
from tests.live import avalist
from tests.shop import payment_json

pytestmark = [pytest.mark.sockets, pytest.mark.slow]


def test_a_decision_is_given_and_given_again(cluster: UnderTest) -> None:
    here, there = cluster.gateway.port, cluster.other.port
    _, first = cluster.send(here, "POST", "/v1/decisions", payment_json("one"))
    assert (first["degraded"], first["seq"]) == (False, 2)
    assert cluster.send(there, "POST", "/v1/decisions", payment_json("one")) == (200, first)
    assert cluster.send(here, "POST", "/v1/decisions", payment_json("one", amount_minor=1))[0] == 409


def test_a_decision_is_found_right_after_the_post_though_the_follower_stands_still(cluster: UnderTest) -> None:
    (follower,) = cluster.roles("follower")
    card = {"kind": "card", "fingerprint": "found"}
    follower.pause()
    try:
        _, first = cluster.send(cluster.gateway.port, "POST", "/v1/decisions", payment_json("found", method=card))
        found = [cluster.send(one.port, "GET", "/v1/decisions/pfound") for one in (cluster.gateway, cluster.other)]
        wanted = {"by": "fingerprint", "value": "found"}
        shared = [cluster.send(one.port, "POST", "/v1/lookup", wanted) for one in (cluster.gateway, cluster.other)]
    finally:
        follower.resume()
    assert [(status, body["decision"], bool(body["features"])) for status, body in found] == [(200, first, True)] * 2
    assert [(status, [one["decision"] for one in body["decisions"]]) for status, body in shared] == [(200, [first])] * 2


def test_topics_of_a_moment_ago_are_waited_for(cluster: UnderTest) -> None:
    for number in range(5):
        topics = Topics(f"{cluster.installation.name}-new{number}", 2)
        ensure(cluster.client, topics)
        hearing = at_end(cluster.client, topics.replies, number)
        learning, first, end = at_begin(cluster.client, topics.merchants, 0)
        hearing.close()
        learning.close()
        assert (first, end) == (0, 0)


def test_events_are_recorded_and_what_does_not_fit_is_named(cluster: UnderTest) -> None:
    capture = {"type": "capture", "event_id": "c1", "payment_id": "ptwo", "occurred_at": "2026-11-01T00:00:00Z"}
    unknown = {**capture, "event_id": "c2", "payment_id": "nobody"}
    cluster.send(cluster.gateway.port, "POST", "/v1/decisions", payment_json("two"))
    _, answer = cluster.send(cluster.other.port, "POST", "/v1/outcomes", [capture, unknown])
    assert (answer["recorded"], answer["errors"][0]["event_id"]) == (1, "c2")


def test_a_killed_decider_costs_nothing(cluster: UnderTest) -> None:
    checked = under_load(cluster, cluster.roles("decider")[0].kill, 4.0)
    assert checked.events > 20
    cluster.installation.start("decider")


def test_a_decider_that_stood_still_changes_nothing_when_it_comes_back(cluster: UnderTest) -> None:
    zombie = cluster.roles("decider")[0]

    def stall() -> None:
        zombie.pause()
        time.sleep(3.0)
        zombie.resume()

    under_load(cluster, stall)
    assert until(lambda: zombie.ready)


def test_a_killed_gateway_and_follower_cost_nothing(cluster: UnderTest) -> None:
    def kill() -> None:
        cluster.other.kill()
        cluster.roles("follower")[0].kill()

    under_load(cluster, kill, 1.0)
    cluster.load.ports = [cluster.gateway.port]
    cluster.installation.start("follower")
    _, last = cluster.send(cluster.gateway.port, "POST", "/v1/decisions", payment_json("last"))
    assert until(lambda: cluster.send(cluster.gateway.port, "GET", "/v1/decisions/plast")[0] == 200)
    assert cluster.send(cluster.gateway.port, "GET", "/v1/decisions/plast")[1]["decision"] == last


def test_a_profile_of_a_decider_of_long_ago_is_not_the_last_word(cluster: UnderTest) -> None:
    topic, producer = f"{cluster.installation.name}.merchants", Producer(cluster.client)

    def last() -> dict[str, Any]:
        *_, newest = (one.value() for one in messages(cluster.client, topic) if one.key() == b"shop")
        profile: dict[str, Any] = msgspec.msgpack.decode(newest)
        return profile

    before = last()
    producer.produce(topic, msgspec.msgpack.encode({**before, "epoch": -1, "keys": []}), "shop", 0)
    assert producer.flush(PATIENCE_S) == 0
    assert until(lambda: last() == before)
    assert cluster.send(cluster.gateway.port, "GET", "/v1/decisions/none")[0] == 404


def test_what_cannot_be_read_is_laid_aside_and_comes_back(cluster: UnderTest) -> None:
    name = cluster.installation.name
    producer = Producer(cluster.client)
    producer.produce(f"{name}.events", b"no message", "shop", 2)
    producer.flush(PATIENCE_S)
    dead = f"{name}.dead-letters"
    assert until(lambda: any(True for _ in messages(cluster.client, dead)))
    config = ("--config", cluster.installation.config)
    assert "BadInput: no message of this version" in avalist("dead-letters", "list", *config).stdout.replace("\n", " ")
    assert "sent again: 1" in avalist("dead-letters", "replay", *config).stdout
    cluster.check()


def test_a_killed_broker_costs_nothing(cluster: UnderTest) -> None:
    dead = cluster.brokers.brokers[0]
    try:
        under_load(cluster, dead.kill, 6.0)
    finally:
        cluster.brokers = cluster.restart_brokers()


def test_what_is_delivered_twice_and_out_of_order_counts_once(cluster: UnderTest) -> None:
    cluster.load.deadlines_ms = (1, 8)  # some get the fallback, which is logged behind the decision or before it
    sent = []
    checked = under_load(
        cluster, lambda: sent.append(again_and_out_of_order(cluster.client, f"{cluster.installation.name}.events", 4.0))
    )
    cluster.load.deadlines_ms = (2000,)
    assert sent[0] > 10
    assert checked.fallbacks > 0


def test_damaged_snapshots_give_way_to_older_ones_and_to_the_log(cluster: UnderTest) -> None:
    def used() -> list[Path]:
        partitions = cluster.installation.folder / "data" / "partitions"
        return [one for one in partitions.glob("*") if len(snapshots_of(one)) > 1]

    cluster.load.start()
    enough = until(lambda: bool(used()))
    cluster.load.stop()
    assert enough, cluster.installation.said()
    cluster.installation.dismiss(cluster.roles("follower"))  # else it saves sound ones meanwhile
    damaged = used()
    for partition in damaged:
        damage(partition, snapshots_of(partition)[-1])
    damage(damaged[0], snapshots_of(damaged[0])[0])  # of one there is none left

    def kill() -> None:
        for process in cluster.roles("decider"):
            process.kill()
        cluster.installation.start("decider", "decider")

    under_load(cluster, kill)
    said = "".join(process.said.read_text() for process in cluster.roles("decider"))
    assert said.count("is passed over") > len(damaged) > 0
    assert "the whole log is read" in said
    cluster.installation.start("follower")


def snapshots_of(partition: Path) -> list[str]:
    """Return the positions of a partition's snapshots, as their blobs are named."""
    return sorted(file.name.removeprefix("snapshot~") for file in (partition / "_").glob("snapshot~*"))


def damage(partition: Path, position: str) -> None:
    for file in partition.glob(f"*/snapshot~{position}*"):
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 2] ^= 1
        file.write_bytes(whole)
