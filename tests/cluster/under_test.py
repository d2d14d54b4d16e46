"""What tests of a cluster share: an installation over three brokers, and faults under load that end in the checker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster.checker import Checked, check
from tests.cluster.running import Installation, Load, Process, Role, until
from tests.live import Connection
from tests.services.kafka import Cluster

ENOUGH = 30
"""Answers under load: a busy machine takes its time."""
MERCHANTS = ("shop", "kiosk", "arcade")


class UnderTest:
    """An installation under test, with its brokers; what callers were told is checked at the end of each test."""

    def __init__(
        self,
        folder: Path,
        brokers: Cluster,
        restart_brokers: Callable[[], Cluster],
        *,
        each: int = 2,
        **settings: object,
    ) -> None:
        self.brokers, self.restart_brokers = brokers, restart_brokers
        self.installation = Installation(folder, brokers.servers, **settings)
        roles: list[Role] = [*["gateway"] * each, *["decider"] * each, "follower"]  # type: ignore[list-item]
        begun = self.installation.start(*roles)
        self.gateway, self.other = begun[0], begun[each - 1]
        with self.installation.dismissed_on_failure(begun):
            self.keys = [self.installation.create(self.gateway.port, merchant) for merchant in MERCHANTS]
            heard = until(lambda: all(self._knows_keys(one.port) for one in self.roles("gateway")))
            assert heard, self.installation.said()
        self.load = Load(self.keys, [self.gateway.port, self.other.port])

    @property
    def client(self) -> dict[str, str | int]:
        return {"bootstrap.servers": self.brokers.servers, "log_level": 0}

    def send(self, port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send the first merchant's request to a gateway; return status and answer. Again while it is told to come
        again: a decider of a busy machine takes its time.
        """
        told: list[tuple[int, bytes]] = []

        def answered() -> bool:
            told.append(caller.send(method, path, body))
            return told[-1][0] != 503

        with Connection(port, self.keys[0]) as caller:
            until(answered)
        status, answer = told[-1]
        return status, msgspec.json.decode(answer)

    def _knows_keys(self, port: int) -> bool:
        """Tell whether a gateway has heard of every key: it hears of a new one a moment after it was issued."""
        for key in self.keys:
            with Connection(port, key) as caller:
                if caller.send("GET", "/v1/decisions/none")[0] == 401:
                    return False
        return True

    def roles(self, role: str) -> list[Process]:
        return [one for one in self.installation.running if one.role == role and one.process.poll() is None]

    def check(self) -> Checked:
        """Wait until nothing is on its way, and hold the log against the answers."""
        found = None

        def sound() -> bool:
            nonlocal found
            found = check(self.client, self.installation.name, self.load.given)
            return not found.wrong

        until(sound, pause_s=1.0)
        assert found is not None
        assert not found.wrong
        assert self.load.refused == []
        return found


def under_load(cluster: UnderTest, fault: Callable[[], None], after_s: float = 3.0) -> Checked:
    """Let a fault happen under load, go on for a while and until there are enough answers, and check."""
    before = len(cluster.load.given)
    cluster.load.refused.clear()  # what a test before found is told there
    cluster.load.start()
    time.sleep(1.0)
    fault()
    time.sleep(after_s)
    enough = until(lambda: len(cluster.load.given) > before + ENOUGH)
    cluster.load.stop()
    assert enough, cluster.installation.said()
    return cluster.check()
