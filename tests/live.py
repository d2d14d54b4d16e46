"""``avalist up`` as a process of its own, and the command line as its users run it."""

from __future__ import annotations

import atexit
import gc
import http.client
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, Self
from unittest import mock

import msgspec

from avalist.cli import main

_READY_S = 480.0


def avalist(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "avalist", *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def avalist_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Do as :func:`avalist` in this process, which has loaded everything: one of its own takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(), clear=True),
        mock.patch.object(sys, "argv", ["avalist", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            gc.enable()  # an import has no use for it
    return subprocess.CompletedProcess("avalist", int(code), out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """Return the environment without settings, with room for wide lines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AVALIST_")}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT = 12_000
_PORTS = max(int(_OUTGOING.read_text().split()[0]) - _FIRST_PORT, 1000) if _OUTGOING.exists() else 20_000
_TRIED = itertools.count(os.getpid() * 131)


_KEPT: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nobody listens on. No outgoing connection gets it meanwhile, and it is not given twice: this
    process stays bound to it, which lets a server listen and keeps the port from other runs of the tests.
    """
    while True:
        port, probe = _FIRST_PORT + next(_TRIED) % _PORTS, socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _KEPT.append(probe)
            return port


@atexit.register
def _let_ports_go() -> None:
    for probe in _KEPT:
        probe.close()


class Connection:
    """One keep-alive connection with one key. Not for two threads at once."""

    def __init__(self, port: int, key: str, *, deadline_ms: int = 10_000) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {key}", "Avalist-Deadline-Ms": str(deadline_ms)}

    def send(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Return status and body. Raises ``OSError`` or ``HTTPException`` when the service dies."""
        content = None if body is None else msgspec.json.encode(body)
        idle = self._http.sock is not None
        try:
            return self._answer(method, path, content)
        except (ConnectionResetError, BrokenPipeError):  # the service ends what is idle for some seconds
            self._http.close()
            if not idle:
                raise
            return self._answer(method, path, content)

    def _answer(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        self._http.request(method, path, content, self._headers)
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def json(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.send(method, path, body)
        assert status == 200, answer
        return msgspec.json.decode(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class Service:
    """A running ``avalist up``."""

    def __init__(self, folder: Path, port: int | None = None, **settings: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._said = Path(f"{folder}.said").open("ab")  # noqa: SIM115  closed when the process ends
        command = [sys.executable, "-m", "avalist", "up", "--data", str(folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, env={**environment(), **settings}, stdout=self._said, stderr=self._said, start_new_session=True
        )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _READY_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException), Connection(self.port, "") as connection:
                if connection.send("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        said = Path(self._said.name).read_text()[-2000:]
        self.kill()
        raise AssertionError(f"the service did not get ready: {said}")

    def follower(self) -> int:
        """Return the follower's process id."""
        return self._child(follows=True)

    def decider(self) -> int:
        """Return the decider's process id."""
        return self._child(follows=False)

    def _child(self, *, follows: bool) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = [pid for pid in children if (b"\0follow\0" in Path(f"/proc/{pid}/cmdline").read_bytes()) is follows]
        return int(pid)

    def kill(self) -> None:
        """Kill all its processes, at once and without warning."""
        with suppress(ProcessLookupError):  # they are all dead
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._said.close()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(300)
        self._said.close()
        return code
