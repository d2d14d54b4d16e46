"""``kill -9`` of a rebuild: the one generation or the other is whole, and running it again ends where it would have.

``AVALIST_KILLS=20`` kills at twenty instants instead of four, and at the switch as ever.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avalist.app.replay import replay
from avalist.cli.bring_in import bring_in
from avalist.cli.rebuild import rebuild
from tests.histories import lived, parted, written
from tests.live import environment
from tests.shop import T0_MS, FakeClock, opened, payment

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("AVALIST_KILLS", "4"))
KILLER = """
import os, signal, sys
from pathlib import Path
from avalist.app import rebuild as module
from avalist.app.warm import warm_up
from avalist.bootstrap import build
from avalist.cli.rebuild import rebuild
from avalist.config import Settings

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
module._BATCH, module._SYNC_EVERY = 32, 64
warm_up([])

def deadly(name, real, at, calls):
    def call(*given):
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(f"{name} {given[-1]}")
        return real(*given)
    return call

def rebuilt(data, at):
    calls = []
    with build(Settings(data=data)) as here:
        for name in ("fsync", "fdatasync", "rename", "replace"):
            setattr(os, name, deadly(name, getattr(os, name), at, calls))
        rebuild(here, "shop", folder / "more", None)
    (folder / "calls").write_text("\\n".join(calls))

def forked(data, at):
    child = os.fork()
    if not child:
        rebuilt(data, at)
        os._exit(0)
    return os.waitpid(child, 0)[1]

assert forked(folder / "whole", -1) == 0
calls = (folder / "calls").read_text().splitlines()
(switch,) = [n for n, call in enumerate(calls) if call.startswith("rename") and call.endswith("generation-2")]
for place, at in enumerate([*(n * len(calls) // kills for n in range(kills)), switch, switch + 1]):
    assert forked(folder / f"data-{place}", at) == signal.SIGKILL
"""


def state(data: Path) -> tuple[int, dict[str, str]]:
    """Return which generation counts, and the digests that its log gives: those of what is in memory."""
    with opened(data) as shop:
        found = replay(shop.installation.log, shop.installation.load_model)
        assert found.digests == {id: m.features.digest() for id, m in shop.writer.merchants.items()}
        assert not found.different
        return shop.installation.generation, found.digests


class Ground:
    """Data folders whose rebuilds were killed, each elsewhere, and the states before and after one that was not."""

    def __init__(self, folder: Path) -> None:
        first, second = parted(lived(3, 60), 3)
        self.folder, self.more = folder, written(folder / "more", second)
        with opened(folder / "data") as shop:
            shop.create()
            shop.create("other")
            bring_in(shop.installation, "shop", written(folder / "first", first), None)
            for n in range(100, 110):
                shop.decide(n)
                shop.decide(n, "other")
        self.before = state(folder / "data")
        for name in ("whole", *(f"data-{place}" for place in range(KILLS + 2))):
            shutil.copytree(folder / "data", folder / name)
        command = [sys.executable, "-c", KILLER, str(folder), str(KILLS)]
        ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        self.after = state(folder / "whole")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


@pytest.mark.parametrize("place", range(KILLS + 2))
def test_a_rebuild_that_was_killed(place: int, ground: Ground) -> None:
    data, switched = ground.folder / f"data-{place}", place == KILLS + 1
    assert (data / "generation-2.new" / "log").is_dir() != switched
    assert state(data) == (ground.after if switched else ground.before)
    assert not list(data.glob("generation-*.new"))
    with opened(data, FakeClock(T0_MS)) as shop:
        done = rebuild(shop.installation, "shop", ground.more, None)
    assert done.generation == (None if switched else 2)
    assert state(data) == ground.after != ground.before
    with opened(data, FakeClock(T0_MS)) as shop:
        assert shop.writer.decide("shop", payment(100), T0_MS).again
