"""An installation over three real brokers beside an embedded one: ``python -m bench.cluster`` (Java 17, Maven).

Six merchants, no model (a decision reads and folds over 100 features, and is logged), four partitions, brokers of its
own with the whole compiler. Closed loop, to warm their virtual machines (the first thousand requests cost ten times the
later ones, and minutes pass until all is compiled), then for the maximum; then an open one at 30 % of it. A filled
topic is drained by one decider and by two, each pinned to a core; the brokers share those cores, so the speed-up says
little on a small machine and the processor time of a decision more.
Take-over: from ``kill -9`` to the first decision of a merchant of the dead one; warm: another decider runs, and must
first learn of the death (``session_timeout_ms`` 1500, which brokers allow only if told so); cold: a process is started.
Each part has a time limit; one that fails or takes longer is told of in ``failed``, and the others are measured all the
same. The last line printed is one JSON object; the exit status is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from avalist.adapters.file.secrets import FolderSecrets
from avalist.app.asked import Decide, encode_message, partition_of, sealed
from bench._load import Load, Target
from bench._payments import bodies
from bench._raw import keep
from bench.decide import LEAN
from tests.cluster.running import Installation, Process, until
from tests.live import Connection, Service
from tests.services.kafka import Cluster, start_cluster

MERCHANTS = ["m0", "m1", "m2", "m3", "m4", "m5"]
PARTITIONS = 4
CONNECTIONS = 32
DRAIN_S = 240.0
LIMIT_S = 360
ASK_S = 90.0
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def create(port: int, token: str) -> list[str]:
    """Make the merchants; return their keys."""
    schema = msgspec.to_builtins(LEAN)
    with Connection(port, token) as office:
        for merchant in MERCHANTS:
            office.json(
                "POST", "/v1/admin", {"do": "create_merchant", "merchant": merchant, "schema": schema, "prior": False}
            )
            patient = {"do": "set_policy", "merchant": merchant, "policy": {"deadline_ms": 10_000}}
            office.json("POST", "/v1/admin", patient)  # decisions are measured, not fallbacks
        asked = [{"do": "issue_key", "merchant": merchant} for merchant in MERCHANTS]
        return [str(office.json("POST", "/v1/admin", one)["key"]) for one in asked]


class Spread(Target):
    """Requests of all merchants in turn."""

    keys: Iterator[str]

    def request(self, body: bytes) -> bytes:
        """Return the bytes of one POST, with the next merchant's key."""
        return Target(self.port, self.path, next(self.keys)).request(body)


def latency(port: int, keys: list[str], seconds: float, first: int, warm_s: float = 2.0) -> dict[str, float]:
    """Measure the maximum, then p50 and p99 at 30 % of it."""
    target = Spread(port, "/v1/decisions")
    target.keys = cycle(keys)
    load = Load(target, CONNECTIONS)
    load.closed(bodies(first, 10**7), warm_s)
    top = load.closed(bodies(first + 10**6, 10**7), seconds)
    per_s = 0.3 * top.per_s
    ready = list(bodies(first + 2 * 10**6, int(per_s * seconds) + 1))  # else the first ones wait for their making
    calm = load.open(iter(ready), per_s, seconds)
    load.close()
    keep(f"cluster-{first}", {"closed_ms": top.latency_ms.tolist(), "open_ms": calm.latency_ms.tolist()})
    figures = {
        "per_s": round(top.per_s),
        "p50": round(calm.quantile_ms(0.5), 2),
        "p99": round(calm.quantile_ms(0.99), 2),
    }
    return {
        **figures,
        "degraded": round((top.degraded + calm.degraded) / len(top.latency_ms), 4),
        "bad": top.bad + calm.bad,
    }


def embedded(folder: Path, seconds: float) -> dict[str, Any]:
    """Measure an embedded service."""
    service = Service(folder / "embedded")
    try:
        token = FolderSecrets(folder / "embedded" / "secrets").admin_token()
        found = latency(service.port, create(service.port, token), seconds, 10**8)
    finally:
        service.stop()
    return {"embedded_per_s": found["per_s"], "embedded_p50_ms": found["p50"], "embedded_p99_ms": found["p99"]}


def fill(here: Installation, servers: str, count: int, first: int) -> None:
    """Fill the topic ``events``, as a gateway would."""
    secrets = FolderSecrets(here.folder / "data" / "secrets")
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0})
    now_ms = int(time.time() * 1000)
    for body, merchant in zip(bodies(first, count), cycle(MERCHANTS), strict=False):
        part = sealed(secrets.merchant(merchant), now_ms, body)
        value = encode_message(Decide(b"bench", merchant, now_ms, part))
        while True:
            try:
                producer.produce(f"{here.name}.events", value, merchant, partition_of(merchant, PARTITIONS))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


def logged(consumer: Consumer, topic: str) -> int:
    """Return how many messages the log holds."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    return sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)


def drain(here: Installation, servers: str, deciders: int, count: int, first: int) -> tuple[float, float]:
    """Fill the topic while the deciders stand still, then let them go; return decisions per second, and processor µs
    per decision.
    """
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench", "log_level": 0})
    topic = f"{here.name}.decisions"
    here.set(session_timeout_ms=300_000)  # they stand still while it is filled
    processes = here.start(*["decider"] * deciders)  # type: ignore[arg-type]
    share_out(processes)
    for core, process in enumerate(processes):
        os.sched_setaffinity(process.process.pid, {core % (os.cpu_count() or 1)})
        process.pause()
    fill(here, servers, count, first)
    began, start_s, spent_us = logged(consumer, topic), time.perf_counter(), sum(map(processor_us, processes))
    for process in processes:
        process.resume()
    assert until(lambda: logged(consumer, topic) - began >= 2 * count, DRAIN_S), "the topic was not drained"
    took_s, spent_us = time.perf_counter() - start_s, sum(map(processor_us, processes)) - spent_us
    consumer.close()
    return count / took_s, spent_us / count


def share_out(deciders: Sequence[Process]) -> None:
    """Wait until each decider owns as many partitions as the others."""
    assert until(lambda: owned(deciders) == [PARTITIONS // len(deciders)] * len(deciders), 60, 0.2), owned(deciders)


def owned(processes: Sequence[Process]) -> list[int]:
    """Return how many partitions each decider says that it owns."""
    notes = [process.said.read_text() for process in processes]
    return sorted(text.count('"took over"') - text.count('"handed over"') - text.count('"lost"') for text in notes)


def processor_us(process: Process) -> float:
    """Return the processor time that a process has spent."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def take_over(here: Installation, port: int, keys: list[str], *, warm: bool) -> float:
    """Kill a decider; return how long it takes until every merchant is decided again, each asked for by itself."""
    here.set(session_timeout_ms=1500)
    deciders = here.start(*["decider"] * (1 + warm))  # type: ignore[arg-type]
    share_out(deciders)
    ask_all(port, keys)
    with ThreadPoolExecutor(len(keys)) as callers:
        deciders[0].process.send_signal(signal.SIGKILL)
        start_s = time.perf_counter()
        if not warm:
            here.running.append(Process("decider", here.config))
        list(callers.map(partial(ask, port), keys))
    return time.perf_counter() - start_s


_ASKED: Final = bodies(time.time_ns(), 10**9)
_ASKING: Final = threading.Lock()


def ask_all(port: int, keys: list[str]) -> None:
    """Ask for each merchant until it is decided."""
    for key in keys:
        ask(port, key)


def ask(port: int, key: str) -> None:
    """Ask until a decision comes that is no fallback."""
    until_s, said = time.monotonic() + ASK_S, b""
    while time.monotonic() < until_s:
        with _ASKING:
            body = json.loads(next(_ASKED))
        with Connection(port, key, deadline_ms=1000) as caller:
            status, said = caller.send("POST", "/v1/decisions", body)
        if status == 200 and not msgspec.json.decode(said)["degraded"]:
            return
        time.sleep(0.01)
    raise TimeoutError(f"no decision in {ASK_S:g} s: {said.decode()}")


class Parts:
    """What is measured, part by part."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self.figures: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def measure(self, name: str, do: Callable[[], dict[str, Any]]) -> None:
        """Measure one part, within its time; then all roles but gateways are stopped."""
        print(name, file=sys.stderr, flush=True)
        signal.alarm(LIMIT_S)
        try:
            self.figures |= do()
        except Exception as error:  # noqa: BLE001  whatever it is, the other parts are measured
            self.failed[name] = f"{type(error).__name__}: {error}"[:500]
        finally:
            signal.alarm(0)
            with suppress(subprocess.TimeoutExpired):
                self._here.dismiss([one for one in self._here.running if one.role != "gateway"])


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took longer than {LIMIT_S} s")


def measure(folder: Path, brokers: Cluster, seconds: float, count: int, warm_s: float) -> dict[str, Any]:
    """Measure everything."""
    here = Installation(folder, brokers.servers, partitions=PARTITIONS, fallback_grace_ms=25)
    parts = Parts(here)
    try:
        _measure(parts, here, brokers.servers, seconds, count, warm_s)
    finally:
        here.stop()
    figures = parts.figures
    if {"drain_1_per_s", "drain_2_per_s"} <= figures.keys():
        figures["drain_speedup_2"] = round(figures["drain_2_per_s"] / figures["drain_1_per_s"], 2)
        figures["cpu_ratio_2"] = round(figures["cpu_us_per_decision_2"] / figures["cpu_us_per_decision"], 2)
    return {**figures, "load_average": os.getloadavg()[0], "failed": parts.failed}


def _measure(parts: Parts, here: Installation, servers: str, seconds: float, count: int, warm_s: float) -> None:
    gateway, *_ = here.start("gateway", "decider", "follower")
    keys = create(gateway.port, (here.folder / "data" / "secrets" / "admin.token").read_bytes().hex())
    ask_all(gateway.port, keys)  # the gateway hears of keys a moment later
    parts.measure("latency", lambda: over_kafka(gateway.port, keys, seconds, warm_s))
    parts.measure("drained by one", lambda: drained(here, servers, 1, count))
    parts.measure("drained by two", lambda: drained(here, servers, 2, count))
    for name in ("warm", "cold"):
        parts.measure(f"take-over, {name}", partial(taken_over, here, gateway.port, keys, name))
    here.stop()
    parts.measure("embedded", lambda: embedded(here.folder, seconds))


def over_kafka(port: int, keys: list[str], seconds: float, warm_s: float) -> dict[str, Any]:
    found = latency(port, keys, seconds, 0, warm_s)
    return {
        "decisions_per_s": found["per_s"], "p50_ms_at_30pct": found["p50"], "p99_ms_at_30pct": found["p99"],
        "degraded_share": found["degraded"], "bad": found["bad"],
    }  # fmt: skip


def drained(here: Installation, servers: str, deciders: int, count: int) -> dict[str, Any]:
    per_s, us = drain(here, servers, deciders, count, (1 + deciders) * 10**8)
    more = "_2" if deciders == 2 else ""
    return {f"drain_{deciders}_per_s": round(per_s), f"cpu_us_per_decision{more}": round(us)}


def taken_over(here: Installation, port: int, keys: list[str], name: str) -> dict[str, Any]:
    return {f"takeover_{name}_s": round(take_over(here, port, keys, warm=name == "warm"), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=20_000, help="payments to drain")
    parser.add_argument("--warm", type=float, default=150.0, help="seconds of load before the first measure")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as folder:
        brokers = start_cluster(Path(folder) / "brokers", lasting=True)
        try:
            figures = measure(Path(folder) / "here", brokers, arguments.seconds, arguments.count, arguments.warm)
        finally:
            brokers.kill()
    print(json.dumps(figures))
    sys.exit(bool(figures["failed"]))


if __name__ == "__main__":
    main()
