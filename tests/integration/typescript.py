"""Node.js for the tests of the TypeScript client: skipped, with the reason, where it is not there or too old."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

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


def run(*command: str | Path, **variables: str) -> str:
    """Run a command in the package; return what it printed."""
    environ = {**environment(), **variables}
    done = subprocess.run(command, cwd=PACKAGE, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def install() -> None:
    """Install what the lock file pins, unless that is done."""
    done = PACKAGE / "node_modules/.package-lock.json"
    if not done.exists() or done.stat().st_mtime < (PACKAGE / "package-lock.json").stat().st_mtime:
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def compile_all(examples: dict[str, str]) -> Path:
    """Compile the package, its tests and these examples, all strict; return the folder of the compiled tests."""
    install()
    folder = PACKAGE / "test/examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in examples.items():
        (folder / f"{name}.ts").write_text(text)
    run("node_modules/.bin/tsc", "-p", "tsconfig.json")
    run("node_modules/.bin/tsc", "-p", "tsconfig.test.json")
    return PACKAGE / "build/test"
