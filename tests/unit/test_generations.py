"""Generations in a data folder: the highest counts, what is unfinished does not, earlier ones can be dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from avalist.adapters.file.blobs import FolderBlobs
from avalist.adapters.file.generations import Generations
from avalist.cli import app
from avalist.domain.errors import Conflict, NotFound


@pytest.fixture
def found(tmp_path: Path) -> Generations:
    (tmp_path / "log").mkdir()
    return Generations(tmp_path)


def made(found: Generations) -> int:
    number, folder = found.begin()
    (folder / "log").mkdir()
    found.switch(number)
    return number


def test_the_highest_counts(found: Generations, tmp_path: Path) -> None:
    assert (found.current, found.home(1)) == (1, tmp_path)
    assert [made(found) for _ in range(10)] == list(range(2, 12))
    assert (found.current, found.home(11).name, found.kept()) == (11, "generation-11", list(range(1, 12)))


def test_what_is_begun_does_not_count_and_is_cleaned_away(found: Generations, tmp_path: Path) -> None:
    number, folder = found.begin()
    (folder / "log").mkdir()
    assert (number, found.current, found.kept()) == (2, 1, [1])
    assert found.begin()[0] == 2
    found.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_other_folders_are_none(found: Generations, tmp_path: Path) -> None:
    for name in ("generation-1", "generation-02", "generation-x", "generation-", "generation-3.old"):
        (tmp_path / name).mkdir()
    assert (found.current, found.kept()) == (1, [1])


def test_an_earlier_one_is_dropped_and_the_models_stay(found: Generations, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    for name in ("model-1", "archive/1", "snapshot/1/head"):
        blobs.put("shop", name, b"")
    made(found)
    found.drop(1)
    assert (found.kept(), list(blobs.names("shop"))) == ([2], ["model-1"])
    made(found)
    found.drop(2)
    assert found.kept() == [3]


def test_the_one_that_counts_is_never_dropped(found: Generations) -> None:
    made(found)
    with pytest.raises(Conflict, match="only an earlier one"):
        found.drop(2)
    with pytest.raises(NotFound, match="no generation 3"):
        found.drop(3)
    assert found.kept() == [1, 2]


def test_the_command_lists_and_drops(found: Generations, tmp_path: Path) -> None:
    made(found)
    ran = CliRunner().invoke(app, ["generations", "--drop", "1", "--data", str(tmp_path)], catch_exceptions=False)
    assert "removed generation 1" in ran.output
    assert "counts" in ran.output
    with pytest.raises(NotFound, match="there is no log"):
        CliRunner().invoke(app, ["generations", "--data", str(tmp_path / "none")], catch_exceptions=False)
