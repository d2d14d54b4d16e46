"""The Python examples of the pages run against a live service, and print what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist_client import Avalist
from tests.docs.pages import Block, blocks
from tests.integration.conftest import Running
from tests.integration.examples import PATIENT_PYTHON, check, told

_OTHERS = "docs/how-to/python.md", "docs/how-to/webhooks.md"  # these need no service
EXAMPLES = [block for block in blocks("python") if block.page not in _OTHERS]


@pytest.mark.sockets
@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_python_runs(
    block: Block, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVALIST_KEY", running.sandbox_key())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(told(block, running.url, PATIENT_PYTHON), str(block), "exec"), names)
    if isinstance(client := names.get("client"), Avalist):
        client.close(0)
    printed = capsys.readouterr().out
    assert printed
    check(block, printed)


def test_examples_are_short() -> None:
    assert len(EXAMPLES) > 5
    assert max(len(block.text.split("\n")) for block in [*EXAMPLES, *blocks("ts")]) <= 12
