"""``kill -9`` of the service and of the follower under load: what was acknowledged is there (I1, I2, I5).

``AVALIST_KILLS=20`` kills at twenty instants instead of four.
"""

from __future__ import annotations

import ctypes
import http.client
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from avalist.adapters.file.log import FileLog
from avalist.adapters.sqlite.documents import SqliteDocuments
from avalist.app.merchant import decode_event_core
from avalist.app.replay import replay
from avalist.domain.records import RecordKind
from avalist.models.artefact import Artefact
from tests.cluster.running import PATIENCE_S, until
from tests.live import Connection, Service, avalist
from tests.shop import opened, payment_json

pytestmark = [pytest.mark.sockets, pytest.mark.slow]

KILLS = int(os.environ.get("AVALIST_KILLS", "4"))
CALLERS = 6


class Load:
    """Callers that send payments until the service dies or they are told to stop."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.answers: dict[str, bytes] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.refused: list[bytes] = []
        self._stop = threading.Event()
        self._round = 0

    def start(self, port: int) -> None:
        """Return once there are answers."""
        self._round += 1
        self._stop.clear()
        self._threads = [threading.Thread(target=self._call, args=(port, n)) for n in range(CALLERS)]
        before = len(self.answers)
        for thread in self._threads:
            thread.start()
        assert until(lambda: len(self.answers) > before)

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, port: int, caller: int) -> None:
        numbers = itertools.count()
        with Connection(port, self.key) as connection, suppress(OSError, http.client.HTTPException):  # it is killed
            while not self._stop.is_set():
                number = next(numbers)
                id = f"{self._round}-{caller}-{number}"
                method = {"kind": "card", "fingerprint": f"card-{number % 5}"}
                self.sent[id] = payment_json(id, method=method, amount_minor=number % 9000)
                self._keep(id, *connection.send("POST", "/v1/decisions", self.sent[id]))

    def _keep(self, id: str, status: int, answer: bytes) -> None:
        if status == 200:
            self.answers[id] = answer
        else:
            self.refused.append(answer)


def check(load: Load, port: int, ids: list[str]) -> None:
    """Check that each acknowledged decision is there, by look-up and by retry, and that the others get an answer."""
    with Connection(port, load.key) as connection:
        for id in ids:
            status, again = connection.send("POST", "/v1/decisions", load.sent[id])
            assert status == 200, again
            assert again == load.answers.setdefault(id, again)
            shown = connection.json("GET", f"/v1/decisions/p{id}")
            assert shown["decision"] == msgspec.json.decode(again)


def events_of(folder: Path) -> Counter[str]:
    log = FileLog(folder / "log", readonly=True)
    events = Counter(decode_event_core(r.core).event_id for _, r in log.read() if r.kind == RecordKind.EVENT)
    log.close()
    return events


def followed(folder: Path, ids: list[str]) -> list[str]:
    """Return the ids whose decisions are documents once the follower has caught up, or after a while."""
    documents = SqliteDocuments(folder / "documents.sqlite")
    found: set[str] = set()

    def all_found() -> bool:
        found.update(id for id in ids if id not in found and documents.get("shop", "decisions", f"p{id}/pre_auth"))
        return len(found) == len(ids)

    until(all_found, pause_s=0.1)
    documents.close()
    return [id for id in ids if id in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def key(folder: Path, artefact: Artefact) -> str:
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        return shop.key()


def test_every_acknowledged_decision_survives(folder: Path, key: str) -> None:
    load, draw = Load(key), random.Random(7)
    last: list[str] = []
    for kill in range(KILLS):
        service = Service(folder, AVALIST_SNAPSHOT_S="0")  # the follower saves whenever it may
        check(load, service.port, last)
        before, acknowledged = set(load.sent), len(load.answers)
        load.start(service.port)
        kill_at(service, draw.uniform(0.02, 1.5), draw.uniform(0.02, 1.5) if kill % 2 else None)
        load.join()
        last = sorted(set(load.sent) - before)
        assert len(load.answers) > acknowledged
    assert load.refused == []
    finish(folder, load)


def kill_at(service: Service, after_s: float, follower_after_s: float | None) -> None:
    """Kill the service after a while under load, and its follower before it."""
    if follower_after_s is not None:
        time.sleep(follower_after_s)
        os.kill(service.follower(), signal.SIGKILL)
    time.sleep(after_s)
    service.kill()


def test_a_new_decider_answers_at_once_when_one_was_killed(folder: Path, key: str) -> None:
    """Callers wait, connected, and are never refused: the parent holds the socket."""
    load, service = Load(key), Service(folder)
    for _ in range(2):
        before = set(load.sent)
        load.start(service.port)
        os.kill(service.decider(), signal.SIGKILL)
        began_s = time.monotonic()
        with Connection(service.port, key) as connection:
            connection.json("POST", "/v1/decisions", payment_json(f"after-{began_s}"))
        took_s = time.monotonic() - began_s
        print(f"\na new decider answered after {took_s:.1f} s")
        assert "is started again in" not in Path(f"{folder}.said").read_text(), "it was started at once"
        load.join()
        check(load, service.port, sorted(set(load.sent) - before))
    assert service.stop() == 0
    with opened(folder) as shop:
        replay(shop.installation.log, shop.installation.load_model).check()


def test_children_end_with_their_parent(folder: Path, key: str) -> None:
    service = Service(folder)
    children = [service.decider(), service.follower()]
    service.process.kill()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    with opened(folder) as shop:
        assert list(shop.writer.merchants) == ["shop"]
    service.kill()


def test_it_ends_in_peace_whichever_of_its_threads_is_told(folder: Path, key: str) -> None:
    service = Service(folder)
    pid = service.process.pid
    threads = [task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid) and unblocked(task)]
    other = int(threads[0].name) if threads else pid
    assert ctypes.CDLL(None, use_errno=True).tgkill(pid, other, signal.SIGTERM) == 0
    assert service.process.wait(PATIENCE_S) == 0
    service.kill()


def unblocked(task: Path) -> bool:
    """Tell whether a thread takes every signal: those of libraries may."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
        return "SigBlk:\t0000000000000000" in (task / "status").read_text()
    return False


def finish(folder: Path, load: Load) -> None:
    """Start once more, check everything, stop in peace, replay."""
    service = Service(folder)
    ids = sorted(load.sent)
    check(load, service.port, ids)
    last = payment_json("last")
    with Connection(service.port, load.key) as connection:
        connection.json("POST", "/v1/decisions", last)
    assert followed(folder, [*ids, "last"]) == [*ids, "last"]
    assert service.stop() == 0
    replayed = avalist("replay", "--verify", "--data", folder)
    assert replayed.returncode == 0, replayed.stderr
    assert "0 differ" in replayed.stdout
    assert set(events_of(folder).values()) == {1}
    assert len(events_of(folder)) == len(ids) + 1
    print(f"\n{KILLS} kills, {len(load.answers)} decisions acknowledged or retried, all there: {replayed.stdout}")
