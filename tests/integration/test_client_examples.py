"""The examples of the clients run against a live service, and print what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks
from tests.integration.conftest import Running
from tests.integration.typescript import PACKAGE, needs_node, run

pytestmark = pytest.mark.sockets

_ADDRESS = "http://127.0.0.1:8321"
PYTHON, TYPESCRIPT = blocks("python"), blocks("ts")


def told(block: Block, running: Running, patience: str) -> str:
    """Return an example for the running service, with patience for a busy machine where it has none of its own."""
    text = block.text.replace(f'"{_ADDRESS}"', f'"{running.service.url}"{patience}')
    return re.sub(r", timeout_ms=1_000|, timeoutMs: 500", "", text)


def check(block: Block, printed: str) -> None:
    """Compare with what the page says that it prints."""
    said = re.match(r"It prints `([^`]+)`", block.after)
    assert printed.startswith(said[1] if said else ""), printed


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(
    block: Block, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVALIST_KEY", running.sandbox_key())
    monkeypatch.chdir(tmp_path)
    exec(compile(told(block, running, ", timeout_ms=20_000"), str(block), "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert printed
    check(block, printed)


@needs_node
@pytest.mark.parametrize("block", TYPESCRIPT, ids=str)
def test_typescript_compiles_and_runs(block: Block, running: Running) -> None:
    folder = PACKAGE / "build/examples"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{re.sub(r'[^a-z0-9]+', '-', str(block))}.ts"
    source.write_text(told(block, running, ", timeoutMs: 20_000"))
    run("node_modules/.bin/tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", source)
    printed = run("node", source.with_suffix(".js"), AVALIST_KEY=running.sandbox_key())
    assert printed
    check(block, printed)


def test_there_are_examples_in_both_languages() -> None:
    assert len(PYTHON) > 5
    assert len(TYPESCRIPT) > 2
    assert all(len(block.text.strip().splitlines()) <= 12 for block in [*PYTHON, *TYPESCRIPT]), sys.version
