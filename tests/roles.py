"""A gateway and a decider over a real broker, both in this process: the shop that tests drive, as roles run it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from avalist.adapters.clock import SystemClock
from avalist.adapters.kafka.tail import KafkaTail
from avalist.api.gateway import Gateway
from avalist.app.administer import ActivateModel, Administration, AdminRequest, CreateMerchant, IssueKey
from avalist.app.deciding import UNMEASURED, Deciding
from avalist.app.writer import Writer
from avalist.bootstrap import follower_of, keep_model
from avalist.cluster import Cluster, open_cluster, open_decider, open_gateway, open_tools, part_of
from avalist.config import Settings
from avalist.domain.keys import KeyKind
from avalist.domain.schema import Schema
from avalist.follow import Follower
from avalist.models.artefact import Artefact
from tests.cluster.running import until
from tests.services.kafka import Broker
from tests.shop import SCHEMA, FakeClock, Shop


class Parts(NamedTuple):
    """What an installation has, of roles: the decider's writer, the gateway's service, a reader of the log."""

    cluster: Cluster
    deciding: Deciding
    gateway: Gateway
    log: KafkaTail
    noted: list[str]

    @property
    def settings(self) -> Settings:
        return self.cluster.settings

    @property
    def documents(self) -> Any:
        return self.cluster.documents

    @property
    def secrets(self) -> Any:
        return self.cluster.secrets

    @property
    def writer(self) -> Writer:
        return self.deciding.owned[0].partition.writer

    @property
    def administration(self) -> Administration:
        return self.deciding.owned[0].partition._administration

    def service(self) -> Gateway:
        return self.gateway


class Roles(Shop):
    """Merchants are created and keys issued as operators do; a gateway hears of it a moment later."""

    installation: Any

    def create(self, merchant: str = "shop", schema: Schema = SCHEMA) -> None:
        self._carry_out(CreateMerchant(merchant, schema, prior=False))

    def key(self, merchant: str = "shop", kind: KeyKind = "live") -> str:
        return str(self._carry_out(IssueKey(merchant, kind))["key"])

    def activate(self, artefact: Artefact, merchant: str = "shop") -> None:
        keep_model(self.installation.cluster.blobs, merchant, artefact)
        self._carry_out(ActivateModel(merchant, artefact.version, artefact.plan_hash))

    def _carry_out(self, request: AdminRequest) -> dict[str, Any]:
        with open_tools(self.installation.settings, request.merchant) as tools:
            return tools.carry_out(request)

    def follower(self) -> Follower:
        cluster: Cluster = self.installation.cluster
        return follower_of(
            cluster.settings, self.installation.log, cluster.documents, cluster.blobs_of(0), part=part_of(0),
            per_mb=1024,
        )  # fmt: skip


@contextmanager
def roles(folder: Path, broker: Broker) -> Iterator[Roles]:
    """Run both over one partition, with a clock that stands still."""
    settings = Settings(
        data=folder, log=f"kafka://{broker.servers}/{folder.name}", partitions=1, copies=1, fallback_grace_ms=1000
    )
    clock, noted = FakeClock(), list[str]()
    with ExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setattr(SystemClock, "now_ms", lambda self: clock.now_ms())
        cluster = stack.enter_context(open_cluster(settings))
        deciding = stack.enter_context(open_decider(cluster, lambda what, /, **_: noted.append(what), UNMEASURED))
        stack.enter_context(_working(deciding))
        gateway = stack.enter_context(open_gateway(cluster))
        log = stack.enter_context(closing(cluster.tail(0)))
        shop = Roles(Parts(cluster, deciding, gateway, log, noted), clock)  # type: ignore[arg-type]
        shop.create()
        yield shop


@contextmanager
def _working(deciding: Deciding) -> Iterator[None]:
    """Let a decider work on a thread of its own."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            deciding.step(0.01)

    thread = threading.Thread(target=work, name="decider")
    thread.start()
    try:
        assert until(lambda: deciding.ready and 0 in deciding.owned)
        yield
    finally:
        over.set()
        thread.join()
