"""``kill -9`` of a rebuild: the one generation or the other is whole, and running it again ends where it would have.

``AVALIST_KILLS=20`` kills at twenty instants instead of two, and at the switch as ever.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avalist.app.replay import Replayed, replay
from avalist.cli.bring_in import bring_in
from avalist.cli.rebuild import rebuild
from tests.histories import lived, parted, written
from tests.live import environment
from tests.shop import T0_MS, FakeClock, opened, payment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("AVALIST_KILLS", "2"))
DEADLY = """
import os, signal, sys
from pathlib import Path

calls, at = [], int(sys.argv[3])

def deadly(name, real):
    def call(*given):
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(f"{name} {given[-1]}")
        return real(*given)
    return call

from avalist.app import rebuild as module
from avalist.bootstrap import build
from avalist.cli.rebuild import rebuild
from avalist.config import Settings

module._BATCH, module._SYNC_EVERY = 32, 64
with build(Settings(data=Path(sys.argv[1]))) as here:
    for name in ("fsync", "fdatasync", "rename", "replace"):
        setattr(os, name, deadly(name, getattr(os, name)))
    rebuild(here, "shop", Path(sys.argv[2]), None)
    print("\\n".join(calls))
"""


def run(data: Path, file: Path, at: int) -> subprocess.CompletedProcess[str]:
    """Rebuild in a process that kills itself before its call number `at` of those that make something last."""
    command = [sys.executable, "-c", DEADLY, str(data), str(file), str(at)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)


def state(data: Path) -> tuple[int, dict[str, str]]:
    """Return which generation counts, and the digests that its log gives: what is in memory, and nothing half is left."""
    with opened(data) as shop:
        found: Replayed = replay(shop.installation.log, shop.installation.load_model)
        assert found.digests == {id: m.features.digest() for id, m in shop.writer.merchants.items()}
        assert not found.different
        assert not list(data.glob("generation-*.new"))
        return shop.installation.generation, found.digests


class Ground:
    """A data folder before the rebuild, its states before and after, and the calls of one that nobody kills."""

    def __init__(self, folder: Path) -> None:
        first, second = parted(lived(3, 60), 3)
        self.data, self.more = folder / "data", written(folder / "more", second)
        with opened(self.data) as shop:
            shop.create()
            shop.create("other")
            bring_in(shop.installation, "shop", written(folder / "first", first), None)
            for n in range(100, 110):
                shop.decide(n)
                shop.decide(n, "other")
        self.before = state(self.data)
        whole = shutil.copytree(self.data, folder / "whole")
        ran = run(whole, self.more, -1)
        assert ran.returncode == 0, ran.stderr
        self.calls = ran.stdout.splitlines()
        self.after = state(whole)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def places(ground: Ground) -> list[int]:
    """Return some instants, and those before and after the switch."""
    total = len(ground.calls)
    (switch,) = [
        n for n, call in enumerate(ground.calls) if call.startswith("rename") and call.endswith("generation-2")
    ]
    return [*(n * total // KILLS for n in range(KILLS)), switch, switch + 1]


@pytest.mark.parametrize("place", range(KILLS + 2))
def test_a_rebuild_that_was_killed(place: int, ground: Ground, tmp_path: Path) -> None:
    data = shutil.copytree(ground.data, tmp_path / "data")
    at = places(ground)[place]
    assert run(data, ground.more, at).returncode == -signal.SIGKILL
    assert (data / "generation-2.new" / "log").is_dir() == (place <= KILLS)
    assert state(data) == (ground.after if place == KILLS + 1 else ground.before)
    with opened(data, FakeClock(T0_MS)) as shop:
        done = rebuild(shop.installation, "shop", ground.more, None)
    assert done.generation == (None if place == KILLS + 1 else 2)
    assert state(data) == ground.after != ground.before
    with opened(data, FakeClock(T0_MS)) as shop:
        assert shop.writer.decide("shop", payment(100), T0_MS).again
