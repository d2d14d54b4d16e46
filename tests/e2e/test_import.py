"""``avalist import`` as a process: it asks at a terminal, and goes on where ``kill -9`` stopped it."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avalist.adapters.file.log import FileLog
from avalist.history.mapping import decode_mapping
from tests import files
from tests.files import write_csv
from tests.live import avalist, environment

pytestmark = pytest.mark.slow

ROWS = 9_000
KILLED = """
import os, signal, sys
from pathlib import Path
from avalist.adapters.file.watermark import Watermark
from avalist.bootstrap import build
from avalist.cli.bring_in import bring_in
from avalist.config import Settings
from avalist.history.spill import Spill
from avalist.history.understanding.propose import propose

data, file = map(Path, sys.argv[1:3])
owner, name = {"sorting": (Spill, "_write"), "recording": (Watermark, "publish")}[sys.argv[3]]
real = getattr(owner, name)

def deadly(self, *given):
    real(self, *given)
    if len(list((data / "importing" / "payments").glob("*.arrow"))) > 2 and (owner is Spill or self.value > 1_500_000):
        os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, deadly)
with build(Settings(data=data)) as here:
    bring_in(here, "shop", file, propose(file).mapping, run_rows=700)
"""


# --- questions ------------------------------------------------------------------------------------------------------


def answering(folder: Path, answers: list[str]) -> str:
    """Run an import at a terminal of its own, type the answers, and return all that stood on the screen."""
    file = write_csv(folder / "f.csv", ("id", "date", "amount", "client"),
                     [(n, f"{n % 9 + 1:02d}/{n % 7 + 1:02d}/2026", n + 0.5, n % 5) for n in range(200)])  # fmt: skip
    here, there = pty.openpty()
    command = [sys.executable, "-m", "avalist", "import", "shop", str(file), "--data", str(folder / "data")]
    process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=environment())
    os.close(there)
    os.write(here, "".join(f"{answer}\n" for answer in answers).encode())
    screen = b""
    while select.select([here], [], [], 300)[0] and (piece := read(here)):
        screen += piece
    os.close(here)
    if process.poll() is None:
        process.kill()
    assert process.wait(300) == 0, screen.decode()
    return screen.decode()


def read(terminal: int) -> bytes:
    """Return what came, or nothing when the other end was closed."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_at_a_terminal_it_asks_until_it_is_told(tmp_path: Path) -> None:
    screen = answering(tmp_path, ["both", "mdy", "none"])
    assert "day first or month first? [dmy/mdy]" in screen
    assert "select one of the available options" in screen
    assert "which payments were fraud" in screen
    assert "imported 200 payments" in screen
    mapping = decode_mapping((tmp_path / "f.csv.mapping.toml").read_text())
    assert mapping.formats == {"date": "%m/%d/%Y"}


def test_without_a_terminal_it_stops_at_what_would_be_a_guess(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "f.csv", ("id", "date", "amount"), [(n, "2026-01-01", n + 0.5) for n in range(50)])
    command = ("import", "shop", file, "--data", tmp_path / "data")
    stopped = avalist(*command)
    assert stopped.returncode == 1
    assert "field: --label" in stopped.stderr
    assert not (tmp_path / "data").exists()
    assert "imported 50 payments" in avalist(*command, "--yes").stdout


# --- death ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file and a data folder that it was imported into without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    times = [f"{at:%Y-%m-%d %H:%M}" for at in files.times(ROWS, 900)]
    places = random.Random(1).sample(range(ROWS), ROWS)
    rows = [(n, times[n], 5 + n % 700, f"c{n % 300}", int(files.is_fraud(n))) for n in places]
    write_csv(folder / "book", ("id", "time", "amount", "client", "fraud"), rows)
    imported(folder)
    return folder


def imported(folder: Path) -> str:
    ran = avalist("import", "shop", folder / "book", "--units", "major", "--data", folder / "data")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def records(folder: Path) -> list[tuple[object, ...]]:
    log = FileLog(folder / "data" / "log", readonly=True)
    found: list[tuple[object, ...]] = [
        (r.merchant, r.seq, r.kind, r.received_at_ms, r.core, r.sealed) for _, r in log.read()
    ]
    log.close()
    return found


def sorting(data: Path) -> bool:
    return len(list((data / "importing" / "payments").glob("*.arrow"))) > 2


@pytest.mark.parametrize("when", ["sorting", "recording"])
def test_an_import_that_was_killed_goes_on_to_the_same_log(whole: Path, tmp_path: Path, when: str) -> None:
    shutil.copy(whole / "book", tmp_path / "book")
    shutil.copytree(whole / "data" / "secrets", tmp_path / "data" / "secrets")
    killed = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(tmp_path / "book"), when]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    assert sorting(tmp_path / "data"), "a kill leaves the sorted runs"
    assert (len(records(tmp_path)) > 1000) == (when == "recording")
    imported(tmp_path)
    assert records(tmp_path) == records(whole)
    assert not (tmp_path / "data" / "importing").exists()
