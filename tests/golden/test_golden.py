"""Every release's log decodes for ever, and is decided the same way again while its engine stands (I2)."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import msgspec
import pytest

from avalist import ENGINE
from avalist.adapters.file.blobs import FolderBlobs
from avalist.adapters.file.log import FileLog
from avalist.app.replay import replay
from avalist.bootstrap import load_model

KEPT = sorted(Path(__file__).parent.glob("engine-*"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_a_golden_log_replays(kept: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept, tmp_path / "golden")
    expected = msgspec.json.decode((kept / "expected.json").read_bytes())
    log = FileLog(folder / "log", readonly=True)
    result = replay(log, partial(load_model, FolderBlobs(folder / "blobs")))
    log.close()
    assert result.inputs == expected["inputs"]
    if kept.name == f"engine-{ENGINE}":
        assert (result.decisions, result.different) == (expected["decisions"], 0), result.examples
        assert result.digests == expected["digests"]


def test_this_engine_has_a_golden_log() -> None:
    assert f"engine-{ENGINE}" in [path.name for path in KEPT]
