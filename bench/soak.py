"""Payments through three real brokers for a while, then the checker: ``python -m bench.soak [--count N]``.

50,000 by default. A gateway, two deciders and a follower; each twentieth payment is sent twice. Afterwards the topics
are read by the tests' own checker: every answer must be there once, and every decision a document with the same
content. Memory is the deciders' resident size, after a tenth of the payments and at the end. The last line printed is
one JSON object; nothing may be lost or doubled, or the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import Progress

from bench._payments import bodies
from bench._raw import keep
from bench.cluster import MERCHANTS, PARTITIONS, create
from tests.cluster.checker import check, documents_equal, documents_in, records
from tests.cluster.running import Given, Installation
from tests.live import Connection
from tests.services.kafka import BUILD, Cluster, running_cluster, start_cluster

CALLERS = 16
AGAIN = 20


class Callers:
    """Callers on keep-alive connections; what they were told is kept."""

    def __init__(self, port: int, keys: Sequence[str], payments: Iterator[tuple[int, bytes]]) -> None:
        self._port, self._keys, self._payments = port, keys, payments
        self._lock = threading.Lock()
        self.given: list[Given] = []
        self.refused = 0

    def run(self) -> None:
        """Send until there are no more."""
        threads = [threading.Thread(target=self._call, args=(key,)) for key in self._keys for _ in range(CALLERS // 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, key: str) -> None:
        with Connection(self._port, key, deadline_ms=5000) as caller:
            while True:
                with self._lock:
                    n, body = next(self._payments, (-1, b""))
                if n < 0:
                    return
                payment = json.loads(body)
                for _ in range(2 if n % AGAIN == 0 else 1):
                    status, answer = caller.send("POST", "/v1/decisions", payment)
                    if status == 200:
                        self.given.append(Given(payment["event_id"], msgspec.json.decode(answer), answer))
                    else:
                        self.refused += 1


def resident_kb(here: Installation) -> int:
    """Return the deciders' resident memory."""
    pids = [process.process.pid for process in here.running if process.role == "decider"]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in status)


def soak(folder: Path, brokers: Cluster, count: int) -> dict[str, Any]:
    """Send the payments; return the figures."""
    here = Installation(folder, brokers.servers, partitions=PARTITIONS, session_timeout_ms=6000)
    try:
        return _soaked(here, brokers, count)
    finally:
        here.stop()


def _soaked(here: Installation, brokers: Cluster, count: int) -> dict[str, Any]:
    gateway, *_ = here.start("gateway", "decider", "decider", "follower")
    with here.office(gateway.port) as office:
        keys = create(gateway.port, office._headers["Authorization"].removeprefix("Bearer "))
    early = [0]
    with Progress(transient=True) as progress:
        task = progress.add_task("payments", total=count)

        def payments() -> Iterator[tuple[int, bytes]]:
            for n, body in enumerate(bodies(0, count)):
                if n == count // 10:
                    early[0] = resident_kb(here)
                if n % 500 == 0:
                    progress.update(task, completed=n)
                yield n, body

        callers, start_s = Callers(gateway.port, keys[: len(MERCHANTS)], payments()), time.perf_counter()
        callers.run()
        took_s = time.perf_counter() - start_s
    late = resident_kb(here)
    keep("soak", {"took_s": took_s, "rss_kb": [early[0], late], "given": [given.event_id for given in callers.given]})
    client: dict[str, Any] = {"bootstrap.servers": brokers.servers, "log_level": 0}
    checked = check(client, here.name, callers.given)
    with documents_in(here.folder / "data" / "documents.sqlite") as look:
        equal = documents_equal(look, records(client, f"{here.name}.decisions"))
    return {
        "payments": count, "lost": len(checked.wrong.get("I1", [])) + len(checked.wrong.get("I9", [])),
        "doubled": len(checked.wrong.get("I5", [])), "different": len(checked.wrong.get("I2", [])),
        "rss_growth_pct": round(100 * (late - early[0]) / early[0], 1), "documents_equal": equal,
        "fallbacks": checked.fallbacks, "refused": callers.refused, "per_s": round(count / took_s),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        there = running_cluster(BUILD / "cluster")  # those of 'make services', where they run
        brokers = there or start_cluster(Path(folder) / "brokers")
        try:
            figures = soak(Path(folder) / "here", brokers, arguments.count)
        finally:
            if not there:
                brokers.kill()
    print(json.dumps(figures))
    sys.exit(bool(figures["lost"] or figures["doubled"] or figures["different"] or not figures["documents_equal"]))


if __name__ == "__main__":
    main()
