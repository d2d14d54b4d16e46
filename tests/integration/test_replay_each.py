"""``avalist replay`` of several merchants: each in a process, from the archive and the log's tail."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist.app.archive import Archive
from avalist.app.replay import replay as replay_log
from avalist.bootstrap import Installation
from avalist.cli.replay import replay
from avalist.domain.errors import BadInput, ReplayMismatch
from avalist.follow.archive import ArchiveFold
from tests.shop import opened


def archive(here: Installation) -> None:
    here.log.sync()
    fold = ArchiveFold(Archive(here.blobs, here.log), log_bytes=1, seconds=1e9)
    for position, record in here.log.read():
        fold.take(record, position)
    fold.keep(here.log.end)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data of two merchants: one is archived in part, the other in the log's tail alone."""
    monkeypatch.setenv("AVALIST_BATCH", "processes:2")
    with opened(tmp_path) as shop:
        shop.create("shop")
        for n in range(5):
            shop.decide(n, "shop")
        archive(shop.installation)
        shop.create("rival")
        for n in range(3):
            shop.decide(n, "rival")
        shop.decide(9, "shop")
        shop.installation.log.sync()
    return tmp_path


def test_merchants_replayed_apart_end_as_those_replayed_together(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(two) as shop:
        together = replay_log(shop.installation.log, shop.installation.load_model)
    replay(verify=True, data=two)
    said = capsys.readouterr().out
    assert f"{together.inputs} inputs, 9 decisions made again, 0 differ" in said
    for merchant, digest in together.digests.items():
        assert f"{merchant}: state digest {digest}" in said


def test_a_replay_that_was_stopped_goes_on_with_the_merchants_left(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = two / "notes"
    replay(notes=notes, data=two)
    whole = capsys.readouterr().out
    first, _ = notes.read_text().splitlines()
    notes.write_text(first.replace('"decisions":3', '"decisions":1003') + "\n")
    replay(notes=notes, data=two)
    assert "1,009 decisions made again" in capsys.readouterr().out
    assert [line.split('"')[3] for line in notes.read_text().splitlines()] == ["rival", "shop"]
    assert "9 decisions made again" in whole


def test_a_difference_noted_before_still_fails(two: Path) -> None:
    notes = two / "notes"
    replay(notes=notes, data=two)
    notes.write_text(notes.read_text().replace('"different":0', '"different":1'))
    with pytest.raises(ReplayMismatch, match="2 of 9"):
        replay(verify=True, notes=notes, data=two)


def test_notes_that_are_something_else_are_refused(two: Path) -> None:
    (two / "notes").write_text("my notes\n")
    with pytest.raises(BadInput, match="malformed"):
        replay(notes=two / "notes", data=two)
