"""Fixtures that tests share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket

from avalist.adapters.file.secrets import SECRET_BYTES, FolderSecrets
from avalist.app.warm import beside, warm_long
from avalist.bootstrap import build
from avalist.config import Settings
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.models.artefact import Artefact
from avalist.models.train import TrainingSet, TrainParams, train
from tests.absent import skip
from tests.gateway import Gateway
from tests.services import mongodb as mongodb_service
from tests.services import s3 as s3_service
from tests.services import server
from tests.services.kafka import Broker, Unobtainable, start
from tests.shop import DAY_MS, SCHEMA, T0_MS, FakeClock, Shop

collect_ignore = ["fuzz/decoder.py"]  # needs the extra "fuzz"

# The same examples each time, and no limit of time: a run fails for what was changed, not by chance.
settings.register_profile(
    "avalist",
    deadline=None,
    derandomize=os.environ.get("AVALIST_HYPOTHESIS") != "nightly",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("avalist")

_COMPILING = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile half of the kernels beside the first tests, in a checkout where nothing is compiled yet."""
    if not Path(numba.config.CACHE_DIR).exists():
        session.config.stash[_COMPILING] = beside(warm_long)


def pytest_sessionfinish(session: pytest.Session) -> None:
    compiling = session.config.stash.get(_COMPILING, None)
    if compiling is not None:
        compiling.wait()


@pytest.fixture(scope="session", autouse=True)
def _known_secrets() -> Iterator[None]:
    """Let a merchant of this process have the same secret each time: keys are hashed with it, and by these hashes
    payments are explored and distinct values estimated.
    """
    read_or_make = FolderSecrets._read_or_make

    def known(self: FolderSecrets, name: str, *make: Callable[[], bytes]) -> bytes:
        known_bytes = blake2b(name.encode(), digest_size=SECRET_BYTES).digest()
        return read_or_make(self, name, *make or ((lambda: known_bytes),) if name.endswith(".key") else make)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FolderSecrets, "_read_or_make", known)
        yield


@pytest.fixture(scope="session")
def artefact() -> Artefact:
    """Return a tiny model of SCHEMA: the more payments a card made within ten minutes, the riskier."""
    plan = compile_plan(SCHEMA, derive(SCHEMA))
    rng = np.random.default_rng(0)
    x = np.full((2000, len(plan.columns)), np.nan, dtype=np.float32)
    count = plan.columns.index("card__count__events__10m")
    x[:, count] = rng.integers(0, 20, len(x))
    x[:, 0] = rng.integers(100, 90_000, len(x))
    y = (rng.random(len(x)) < x[:, count] / 25).astype(np.int64)
    t_ms = T0_MS - DAY_MS + np.arange(len(x)) * 1000
    rows = TrainingSet(x, plan.columns, plan.hash, y, t_ms, x[:, 0].astype(np.int64))
    return train(rows, TrainParams(trees=8, leaves=8, learning_rate=0.3, test_share=0.0)).artefact


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shop(tmp_path: Path, clock: FakeClock) -> Iterator[Shop]:
    """Return a shop in memory with one merchant, ``shop``."""
    in_memory = Settings(data=tmp_path, log="memory:", documents="memory:", blobs="memory:")
    with build(in_memory, clock=clock) as installation:
        shop = Shop(installation, clock)
        shop.create()
        yield shop


@pytest.fixture
def gateway(shop: Shop) -> Iterator[Gateway]:
    """Return the HTTP service of ``shop``, in this process."""
    gateway = Gateway(shop)
    yield gateway
    gateway.close()


Started = TypeVar("Started", Broker, server.Server)


def running(start: Callable[[Path], Started], folder: Path, what: str, tool: str) -> Iterator[Started]:
    """Run a server while its tests run; where there is none to be had, for want of `tool`, they skip."""
    try:
        started = start(folder)
    except (Unobtainable, server.Unobtainable) as error:
        skip(tool, f"no {what}: {error}")
    yield started
    started.kill()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a real broker. Tests that ask for it are marked ``sockets``."""
    yield from running(start, tmp_path_factory.mktemp("kafka"), "Kafka broker", "java")


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """Return a server that speaks MongoDB's protocol. Tests that ask for it are marked ``sockets``."""
    yield from running(mongodb_service.start, tmp_path_factory.mktemp("mongodb"), "MongoDB server", "go")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """Return a server that speaks S3. Tests that ask for it are marked ``sockets``."""
    yield from running(s3_service.start, tmp_path_factory.mktemp("s3"), "S3 server", "go")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switch sockets off, but for the tests that are marked."""
    if item.get_closest_marker("sockets"):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)
