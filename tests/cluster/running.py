"""An installation over Kafka as processes of its own: roles, callers, and what these were told."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from avalist.cli.roles import LEAVE_S
from tests.live import Connection, environment, free_port
from tests.shop import SCHEMA, payment_json

Role = Literal["gateway", "decider", "follower", "trainer", "notifier"]
READY_S = 480.0
"""As for a service: the first start in a checkout compiles."""
PATIENCE_S = 240.0
"""So long a test waits for what is to come: it costs nothing where it comes, however busy the machine."""
_ROOT = Path(__file__).parents[2]


class Process:
    """One running role."""

    def __init__(self, role: Role, config: Path, **altered: str) -> None:
        self.role, self.port = role, free_port()
        self.said = config.with_name(f"{role}-{self.port}.said")
        module = ["-m", "tests.cluster.altered"] if altered else ["-P", "-m", "avalist"]
        command = [sys.executable, *module, "run", role, "--config", str(config), "--port", str(self.port)]
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                command, env={**environment(), **altered}, cwd=_ROOT, stdout=said, stderr=said
            )

    @property
    def ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException), Connection(self.port, "") as connection:
            return connection.send("GET", "/readyz")[0] == 200
        return False

    def wait(self) -> None:
        ready = until(lambda: self.ready or self.process.poll() is not None, READY_S)
        assert ready, f"{self.role} is not ready after {READY_S:g} s: {self.said.read_text()[-2000:]}"
        assert self.process.poll() is None, self.said.read_text()[-2000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, which it does within a time: it gets twice that, for a busy machine."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        if not until(lambda: self.process.poll() is not None, 2 * LEAVE_S):
            self.kill()  # else it outlives whoever started it
            raise AssertionError(f"{self.role} goes on after {2 * LEAVE_S:g} s: {self.said.read_text()[-2000:]}")
        return self.process.wait()

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class Installation:
    """Roles over some brokers, with a data folder and one configuration file."""

    def __init__(self, folder: Path, servers: str, **settings: object) -> None:
        self.folder, self.config = folder, folder / "avalist.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"t{os.getpid()}-{folder.name}"
        self._settings = {
            "data": str(folder / "data"), "log": f"kafka://{servers}/{self.name}", "partitions": 4,
            "session_timeout_ms": 1500, "fallback_grace_ms": 1000, "snapshot_s": 2, **settings,
        }  # fmt: skip
        self.set()
        self.running: list[Process] = []

    def set(self, **settings: object) -> None:
        """Change settings, for the roles that start later."""
        self._settings |= settings
        self.config.write_text("".join(f"{name} = {value!r}\n" for name, value in self._settings.items()))

    def start(self, *roles: Role, **altered: str) -> list[Process]:
        """Start roles together, :mod:`altered` or as they are; return them once all are ready."""
        begun = [Process(role, self.config, **altered) for role in roles]
        self.running += begun
        with self.dismissed_on_failure(begun):
            for process in begun:
                process.wait()
        return begun

    @contextmanager
    def dismissed_on_failure(self, processes: Sequence[Process]) -> Iterator[None]:
        """Stop roles where the block fails: nobody else knows of them yet."""
        try:
            yield
        except BaseException:
            self.dismiss(processes)
            raise

    def said(self) -> str:
        """Return the last that each role wrote."""
        return "\n".join(f"--- {one.said.name}\n{one.said.read_text()[-2000:]}" for one in self.running)

    def dismiss(self, processes: Sequence[Process]) -> None:
        """Stop some roles."""
        self.running = [process for process in self.running if process not in processes]
        with ExitStack() as stack:  # each of them, whatever another does
            for process in reversed(processes):
                if process.process.poll() is None:
                    stack.callback(process.stop)

    def stop(self) -> None:
        """Stop what runs, the gateways first."""
        self.dismiss(sorted(self.running, key=lambda one: one.role, reverse=True))

    def office(self, port: int) -> Connection:
        return Connection(port, (self.folder / "data" / "secrets" / "admin.token").read_bytes().hex())

    def create(self, port: int, merchant: str = "shop") -> str:
        """Create a merchant through a gateway; return a live key of it."""
        with self.office(port) as office:
            schema = msgspec.to_builtins(SCHEMA)
            office.json(
                "POST", "/v1/admin", {"do": "create_merchant", "merchant": merchant, "schema": schema, "prior": False}
            )
            return str(office.json("POST", "/v1/admin", {"do": "issue_key", "merchant": merchant})["key"])


class Given(NamedTuple):
    """An answer that a caller got."""

    event_id: str
    answer: dict[str, Any]
    body: bytes


class Load:
    """Callers that send payments, some of them twice, one after the other; what they were told is kept."""

    def __init__(self, keys: list[str], ports: list[int], *, deadline_ms: int = 2000, callers: int = 3) -> None:
        self._keys, self.ports, self._callers = keys, ports, callers
        self.deadlines_ms: tuple[int, ...] = (deadline_ms,)
        self.given: list[Given] = []
        self.refused: list[bytes] = []
        self._stop = threading.Event()
        self._numbers = itertools.count()

    def start(self) -> Load:
        self._stop.clear()
        self._threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(self._callers)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    def _call(self, caller: int) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            key = self._keys[number % len(self._keys)]
            payment = payment_json(
                f"{caller}-{number}", amount_minor=100 + number % 9000,
                method={"kind": "card", "fingerprint": f"card-{number % 7}", "bin": "411111"},
            )  # fmt: skip
            for _ in range(2 if number % 5 == 0 else 1):
                self.send(payment, key, self.ports[number % len(self.ports)], number // 2)

    def send(self, payment: dict[str, Any], key: str, port: int, number: int) -> None:
        """Send one payment, again and again where the gateway dies, until there is an answer or all is over."""
        until_s, deadline_ms = time.monotonic() + PATIENCE_S, self.deadlines_ms[number % len(self.deadlines_ms)]
        while time.monotonic() < until_s:
            try:
                with Connection(port, key, deadline_ms=deadline_ms) as connection:
                    status, body = connection.send("POST", "/v1/decisions", payment)
            except (OSError, http.client.HTTPException):
                ports = self.ports
                port = next((other for other in ports if other != port), ports[0])
                time.sleep(0.05)
                continue
            if status == 200:
                self.given.append(Given(payment["event_id"], msgspec.json.decode(body), body))
            elif status != 503:
                self.refused.append(body)
            return


def until(true: Callable[[], bool], timeout_s: float = PATIENCE_S, pause_s: float = 0.05) -> bool:
    """Wait until something is true; tell whether it became so. A step counts a second at most: the machine may stand
    still meanwhile, and everything that is waited for with it.
    """
    waited_s, last_s = 0.0, time.monotonic()
    while not (is_true := true()) and waited_s < timeout_s:
        time.sleep(pause_s)
        now_s = time.monotonic()
        waited_s, last_s = waited_s + min(now_s - last_s, max(1.0, pause_s)), now_s
    return is_true
