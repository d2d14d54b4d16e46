"""Node.js for the tests of the TypeScript client: skipped, with the reason, where it is not there or too old."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.live import environment

PACKAGE = ROOT / "sdk/typescript"
_OLDEST = 20


def missing() -> str:
    """Return why TypeScript cannot be tested here, or nothing."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "the TypeScript client is NOT tested: node and npm are not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major = int(re.sub(r"\D*(\d+).*", r"\1", version))
    return "" if major >= _OLDEST else f"the TypeScript client is NOT tested: node {version} is older than {_OLDEST}"


needs_node = pytest.mark.skipif(bool(missing()), reason=missing())


def run(*command: str | Path, **variables: str) -> str:
    """Run a command in the package, with its dependencies installed and built; return what it printed."""
    install()
    return _run(*command, **variables)


@functools.cache
def install() -> None:
    """Install what the lock file pins, unless that is done, and build."""
    done = PACKAGE / "node_modules/.package-lock.json"
    if not done.exists() or done.stat().st_mtime < (PACKAGE / "package-lock.json").stat().st_mtime:
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    _run("npm", "run", "build")


def _run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=PACKAGE,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
