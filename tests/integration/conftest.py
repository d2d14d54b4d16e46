"""One running service for the tests of the clients, and one cluster for those of the roles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from avalist.models.artefact import Artefact
from tests.absent import skip
from tests.cluster.under_test import UnderTest
from tests.integration.typescript import missing
from tests.live import Connection, Service
from tests.services.kafka import BUILD, Unobtainable, running_cluster, start_cluster
from tests.shop import opened


class Running:
    """``avalist up`` with merchant ``shop``; the tests share it, and each uses payments of its own."""

    def __init__(self, folder: Path, artefact: Artefact) -> None:
        with opened(folder) as shop:
            shop.create()
            shop.activate(artefact)
            self.live_key, self._admin = shop.key(), shop.installation.secrets.admin_token()
        self.service = Service(folder)
        self.url = f"http://127.0.0.1:{self.service.port}"

    def start(self) -> None:
        """Start it again, at the same address."""
        self.service = Service(self.service.folder, self.service.port)

    def sandbox_key(self) -> str:
        """Return a key to a fresh sandbox."""
        with Connection(self.service.port, self._admin) as office:
            issued = office.json("POST", "/v1/admin", {"do": "issue_key", "merchant": "shop", "kind": "sandbox"})
        return str(issued["key"])


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("running") / "data", artefact)
    yield running
    running.service.stop()


@pytest.fixture(scope="session")
def node() -> None:
    """Skip where TypeScript cannot be tested."""
    if why := missing():
        skip("node", why)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnderTest]:
    """Return two gateways, two deciders and a follower over three real brokers."""
    there = running_cluster(BUILD / "cluster")  # those of 'make services', where they run
    try:
        brokers = there or start_cluster(tmp_path_factory.mktemp("brokers"))
    except Unobtainable as error:
        skip("java", f"no Kafka brokers: {error}")
    folder = brokers.brokers[0].folder.parent
    restart = partial(start_cluster, folder, outlives=there is not None)
    cluster = UnderTest(tmp_path_factory.mktemp("cluster"), brokers, restart)
    yield cluster
    cluster.installation.stop()
    if not there:
        cluster.brokers.kill()
