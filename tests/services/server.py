"""Servers from Go modules for tests: built once below ``build/services``, started on loopback, ended with the tests.

``python -m tests.services.server`` builds them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.services.mended import MENDS

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "build" / "services"

_BUILD_S: Final = 1500.0
_READY_S: Final = 120.0
_TAGS: Final = "ferretdb_no_postgresql"
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


class Unobtainable(Exception):
    """Go, or the modules, are not to be had here; the message says which."""


PACKAGES: Final = {"ferretdb": ".", "versitygw": "github.com/versity/versitygw/cmd/versitygw"}
"""What is built of each module of this folder."""


def program(module: str) -> Path:
    """Return a server's program. Raises ``Unobtainable`` where it was not built."""
    path = BUILD / f"{module}-{_sum(module)}"
    if not path.exists():
        raise Unobtainable(f"{module} is not built: 'make servers' builds it, where Go is installed")
    return path


def build(module: str) -> None:
    """Build a server, once; ``go.sum`` pins every source. Raises ``Unobtainable``."""
    program = BUILD / f"{module}-{_sum(module)}"
    if program.exists():
        return
    if shutil.which("go") is None:
        raise Unobtainable("not on PATH: go")
    print(f"building {module} for the tests: some minutes, once", flush=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    with tempfile.TemporaryDirectory() as folder:
        options = ("-mod=readonly", "-trimpath", f"-tags={_TAGS}", f"-modfile={_mended(module, Path(folder))}")
        _go(module, "build", *options, "-o", str(new), PACKAGES[module])
    new.replace(program)


def _mended(module: str, folder: Path) -> Path:
    """Return the ``go.mod`` to build with: it names changed copies, below a folder, of the sources that are mended."""
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(HERE / module / name, folder / name)
    for mend in MENDS.get(module, ()):
        copy = folder / mend.module.replace("/", "_")
        if not copy.exists():
            fetched = json.loads(_go(module, "mod", "download", "-json", mend.module))
            shutil.copytree(fetched["Dir"], copy)
            with (folder / "go.mod").open("a") as told:
                told.write(f"\nreplace {mend.module} => {copy}\n")
        source = (copy / mend.file).read_text()
        assert mend.old in source, f"{mend.file} has no {mend.old!r} any more"
        (copy / mend.file).chmod(0o600)
        (copy / mend.file).write_text(source.replace(mend.old, mend.new))
    return folder / "go.mod"


def _go(module: str, *words: str) -> str:
    """Run Go in a module's folder; return what it prints. Raises ``Unobtainable``."""
    try:
        ran = subprocess.run(
            ("go", *words), cwd=HERE / module, capture_output=True, text=True, timeout=_BUILD_S, check=False,
            env={**os.environ, "GOFLAGS": "", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"the server of {module}/go.mod was not built in {_BUILD_S:.0f} s") from None
    if ran.returncode:
        raise Unobtainable(f"Go could not build the server of {module}/go.mod: {ran.stderr[-500:]}")
    return ran.stdout


def _sum(module: str) -> str:
    """Return what names a build: it changes with the pinned sources."""
    files = sorted(path for path in (HERE / module).iterdir() if path.suffix in (".go", ".mod", ".sum"))
    sources = b"".join(path.read_bytes() for path in files) + "".join(map(repr, MENDS.get(module, ()))).encode()
    return hashlib.sha256(sources).hexdigest()[:12]


class Server:
    """A server that runs at `address` (host:port); it ends with this process."""

    def __init__(self, command: Sequence[str], address: str, folder: Path, **environment: str) -> None:
        self._command, self.address, self._folder = [*command], address, folder
        self._environment = {**os.environ, **environment}
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, again if need be, over the same files."""
        with open(self._folder / "said.log", "ab") as said:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env=self._environment, start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        host, _, port = self.address.rpartition(":")
        until = time.monotonic() + _READY_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection((host, int(port)), 10.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.kill()
        raise RuntimeError(f"the server did not get ready: {(self._folder / 'said.log').read_text()[-2000:]}")

    def pause(self) -> None:
        """Let it stand still: it takes connections, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    for name in PACKAGES:
        try:
            build(name)
        except Unobtainable as error:
            print(f"{name} cannot be had, so its tests are skipped: {error}")
