"""The TypeScript client: its own tests, some against a live service; its types and its lock file."""

from __future__ import annotations

import re

import pytest

from tests.integration.conftest import Running
from tests.integration.typescript import PACKAGE, needs_node, run


@needs_node
@pytest.mark.sockets
@pytest.mark.slow
def test_its_own_tests(running: Running) -> None:
    printed = run("npm", "test", AVALIST_TEST_URL=running.service.url, AVALIST_TEST_KEY=running.sandbox_key())
    assert re.search(r"^# pass (\d{2,})$", printed, re.MULTILINE), printed
    assert re.search(r"^# skipped 0$", printed, re.MULTILINE), printed


@needs_node
def test_types_are_those_of_the_document() -> None:
    run("npm", "run", "types", "--", "--check")  # stale: make sdk


def test_the_lock_file_pins_everything_and_names_no_registry() -> None:
    lock = (PACKAGE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry." not in lock
    assert lock.count('"integrity"') == lock.count('    "node_modules/')
