"""The script behind the real broker: pinned jars, no orphan, no stranger's process taken for its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.running import until
from tests.services import kafka as services
from tests.services.kafka import Broker, Unobtainable, running

pytestmark = pytest.mark.sockets


@pytest.fixture
def jars(tmp_path: Path, kafka: Broker) -> Path:
    """Return links to the jars."""
    for jar in services.jars().glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    return tmp_path


def replace(jar: Path) -> None:
    jar.unlink()
    jar.write_bytes(b"another")


@pytest.mark.parametrize("spoil", [Path.unlink, replace])
def test_a_jar_that_is_not_the_pinned_one_is_refused(jars: Path, spoil: Callable[[Path], None]) -> None:
    services._check_sums(jars)
    spoil(next(jars.glob("kafka-clients-*.jar")))
    with pytest.raises(ValueError, match=r"kafka-clients-[\d.]+\.jar$"):
        services._check_sums(jars)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unobtainable, match="not on PATH: java, mvn"):
        services.start(tmp_path / "broker")
    assert not (tmp_path / "broker").exists()


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path, kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "java").symlink_to(str(shutil.which("java")))
    (tools / "mvn").write_text("#!/bin/sh\necho unknown host\nexit 1\n")
    (tools / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(services, "BUILD", tmp_path / "build")
    with pytest.raises(Unobtainable, match=r"could not fetch Kafka .*unknown host"):
        services.jars()
    assert list((tmp_path / "build").iterdir()) == []


def test_a_broker_that_runs_is_found_and_not_started_twice(kafka: Broker) -> None:
    assert running(kafka.folder) == services.start(kafka.folder) == kafka


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["ours", "nobody"])
def test_a_stale_note_is_forgotten(tmp_path: Path, pid: int) -> None:
    (tmp_path / "broker").write_text(f"{pid} 127.0.0.1:1")
    assert running(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_broker_ends_with_the_process_that_started_it(tmp_path: Path, kafka: Broker) -> None:
    command = [sys.executable, "-m", "tests.services.kafka", "run", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        assert until(lambda: running(tmp_path) is not None)
        process.send_signal(signal.SIGKILL)
    assert until(lambda: running(tmp_path) is None)
