"""The TypeScript client: its own tests, some against a live service; its examples, its types and its lock file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks
from tests.integration.conftest import Running
from tests.integration.examples import PATIENT_TYPESCRIPT, check, told
from tests.integration.typescript import PACKAGE, compile_all, install, run

EXAMPLES = blocks("ts")


def name_of(block: Block) -> str:
    return re.sub(r"[^a-z0-9]+", "-", str(block))


@pytest.fixture(scope="module")
def compiled(node: None, running: Running) -> Path:
    """Return the folder of the compiled tests and examples."""
    return compile_all({name_of(block): told(block, running.url, PATIENT_TYPESCRIPT) for block in EXAMPLES})


@pytest.mark.sockets
@pytest.mark.slow
def test_its_own_tests(compiled: Path, running: Running) -> None:
    where = {"AVALIST_TEST_URL": running.url, "AVALIST_TEST_KEY": running.sandbox_key()}
    printed = run("node", "--test", *sorted(compiled.glob("*.test.js")), **where)
    assert re.search(r"^# pass (\d{2,})$", printed, re.MULTILINE), printed
    assert re.search(r"^# skipped 0$", printed, re.MULTILINE), printed


@pytest.mark.sockets
@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_examples_run(block: Block, compiled: Path, running: Running) -> None:
    printed = run("node", compiled / f"examples/{name_of(block)}.js", AVALIST_KEY=running.sandbox_key())
    assert printed
    check(block, printed)


@pytest.mark.usefixtures("node")
def test_types_are_those_of_the_document() -> None:
    install()
    run("npm", "run", "types", "--", "--check")  # stale: make sdk


def test_the_lock_file_pins_everything_and_names_no_registry() -> None:
    lock = (PACKAGE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry." not in lock
    assert lock.count('"integrity"') == lock.count('    "node_modules/')
