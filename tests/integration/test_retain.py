"""Old segments are removed that the archive holds: a start, replay, training, look-ups and late outcomes go on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from avalist import bootstrap
from avalist.adapters.file.log import FileLog
from avalist.app.archive import Archive
from avalist.app.dataset import collect
from avalist.app.replay import replay
from avalist.app.vault import Asked
from avalist.bootstrap import open_retained, open_vault
from avalist.cli import app
from avalist.cli.rebuild import rebuild
from avalist.config import Settings
from avalist.domain.errors import AvalistError, BadInput, Conflict, LogCorrupt, NotFound
from avalist.domain.records import Record
from avalist.models.artefact import Artefact
from tests.gateway import Gateway
from tests.integration.test_archive import archive, unsealed
from tests.integration.test_recovery import digests, drive, standing
from tests.shop import FakeClock, Shop, event, opened

SMALL = 8192


@pytest.fixture(scope="module", autouse=True)
def small_segments() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(bootstrap, "FileLog", partial(FileLog, segment_bytes=SMALL))
        yield changed


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact, small_segments: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("history") / "data"
    with opened(folder) as shop, pytest.MonkeyPatch.context() as changed:
        sync_often(shop, changed)
        drive(shop, artefact)
        follow(shop)
    return folder


@pytest.fixture
def lived(tmp_path: Path, history: Path) -> Path:
    """Return a data folder with a history, followed, with a snapshot, and not archived."""
    return shutil.copytree(history, tmp_path / "data")


@pytest.fixture
def archived(lived: Path) -> Path:
    """Return the same, archived."""
    with opened(lived) as shop:
        archive(shop)
    return lived


def sync_often(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync after each append: a batch is never split, so one sync makes one segment."""
    log, append = shop.installation.log, shop.installation.log.append

    def appended(records: Any) -> list[int]:
        positions = append(records)
        log.sync()
        return positions

    monkeypatch.setattr(log, "append", appended)


def follow(shop: Shop) -> None:
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    follower.states.save()


def aged(folder: Path) -> Path:
    """Let every segment be a year old."""
    for path in (folder / "log").glob("*.seg"):
        os.utime(path, (time.time() - 365 * 86_400,) * 2)
    return folder


def retain(folder: Path, keep: str = "90d") -> str:
    ran = CliRunner().invoke(app, ["log", "retain", keep, "--yes", "--data", str(folder)], env={"COLUMNS": "300"})
    if ran.exception is not None:
        raise ran.exception
    return " ".join(ran.output.split())


def segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "log").glob("*.seg"))


@pytest.fixture
def trimmed(archived: Path) -> Path:
    """Return the same without its oldest segments."""
    before = segments(archived)
    assert "the log begins at position" in retain(aged(archived))
    assert 0 < segments(archived)[0] <= before[-1]
    return archived


def test_nothing_is_old_enough_by_itself(archived: Path) -> None:
    before = segments(archived)
    assert "no segment is so old" in retain(archived)
    assert segments(archived) == before
    with pytest.raises(BadInput, match="too short"):
        retain(archived, "1h")


def test_what_is_not_archived_stays(lived: Path) -> None:
    before = segments(lived)
    with pytest.raises(Conflict, match="the archive needs the log from position 0 on"):
        retain(aged(lived))
    assert segments(lived) == before


@pytest.mark.parametrize("what", ["a snapshot", "the vault"])
def test_what_is_not_followed_stays(archived: Path, what: str) -> None:
    before = segments(archived)
    if what == "a snapshot":
        for blob in (archived / "blobs" / "_").glob("snapshot*"):
            blob.unlink()
    else:
        with opened(archived) as shop:
            shop.installation.documents.put_many([], mark=("vault/1", before[1] - 1))
    with pytest.raises(Conflict, match=what):
        retain(aged(archived))
    assert segments(archived) == before


def test_an_archive_that_says_otherwise_is_found_out(archived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = segments(archived), Archive.read

    def forged(*given: Any, **options: Any) -> Iterator[tuple[int, Record]]:
        for n, (position, record) in enumerate(read(*given, **options)):
            yield position, Record("shop", 1, 1, 0, b"") if n == 7 else record

    monkeypatch.setattr(Archive, "read", forged)
    with pytest.raises(LogCorrupt, match="nothing is removed"):
        retain(aged(archived))
    assert segments(archived) == before


def test_the_last_segment_stays_and_the_log_goes_on(trimmed: Path) -> None:
    with opened(trimmed, FakeClock(1_800_000_000_000)) as shop:
        first = shop.decide("more").decision
        assert shop.decide("more").decision == first
    assert "no segment is so old" in retain(trimmed)


def test_the_whole_log_is_still_read(archived: Path) -> None:
    with opened(archived) as shop:
        whole = unsealed(shop)
    retain(aged(archived))
    with opened(archived) as shop:
        log = shop.installation.log
        assert log.begin > 0
        assert unsealed(shop) == whole
        for cut in (0, 100, len(whole) - 1):
            assert [p for p, _ in log.read(whole[cut][0])] == [p for p, _ in whole[cut:]]
            assert [p for p, _ in log.read(0, whole[cut][0])] == [p for p, _ in whole[:cut]]
        assert log.get(whole[3][0]) == whole[3][1]
        with pytest.raises(NotFound):
            log.get(whole[3][0] + 1)


def test_a_start_replay_and_training_are_as_before(archived: Path) -> None:
    with opened(archived) as shop:
        stood = digests(shop), standing(shop)
        learnt = collect(shop.installation.log.read, "shop").x.tobytes()
    retain(aged(archived))
    for without_snapshot in (False, True):
        if without_snapshot:
            for blob in (archived / "blobs" / "_").glob("snapshot*"):
                blob.unlink()
        with opened(archived) as shop:
            assert (digests(shop), standing(shop)) == stood
            result = replay(shop.installation.log, shop.installation.load_model)
            assert (result.different, result.digests) == (0, stood[0])
            assert collect(shop.installation.log.read, "shop").x.tobytes() == learnt
    assert "verified" in _run("replay", "--verify", "--data", archived)


def test_late_outcomes_retries_and_look_ups_find_what_was_removed(archived: Path) -> None:
    with opened(archived) as shop:
        merchant = next(id for id in ("shop", "other") if shop.writer.merchant(id).knows_payment("p0"))
        first = shop.writer.lookup(merchant, "p0", "pre_auth")[1].decision
    retain(aged(archived))
    with opened(archived) as shop:
        gateway = Gateway(shop)
        key = shop.key(merchant)
        try:
            outcome = {"type": "early_fraud_warning", "event_id": "late", "occurred_at": "2026-11-20T00:00:00Z"}
            told = gateway.post("/v1/outcomes", {**outcome, "payment_id": "p0"}, key=key)
            assert (told.status_code, told.json()["recorded"]) == (200, 1)
            shown = gateway.get("/v1/decisions/p0", key=key)
            assert (shown.status_code, shown.json()["decision"]["seq"]) == (200, first.seq)
            assert shop.installation.log.begin > shop.writer.merchant(merchant).decided_at("p0", "pre_auth") >= 0
        finally:
            gateway.close()
        replay(shop.installation.log, shop.installation.load_model).check()


def test_a_service_that_runs_meanwhile_goes_on(archived: Path) -> None:
    with opened(archived) as shop:
        merchant = next(id for id in ("shop", "other") if shop.writer.merchant(id).knows_payment("p0"))
        follower = shop.follower()
        retain(aged(archived))
        shop.record(event("capture", "late", payment_id="p0"), merchant)
        for n in range(60):
            shop.decide(f"more-{n}")
        shop.installation.log.sync()
        while follower.behind_bytes:
            follower.advance()
        replay(shop.installation.log, shop.installation.load_model).check()


def test_documents_are_made_again_and_the_vault_is_not(trimmed: Path) -> None:
    (trimmed / "documents.sqlite").rename(trimmed / "lost.sqlite")
    with opened(trimmed) as shop:
        merchant = next(id for id in ("shop", "other") if shop.writer.merchant(id).knows_payment("p0"))
        follow(shop)
        here = shop.installation
        assert here.documents.get(merchant, "decisions", "p0/pre_auth") is not None
        asked = Asked(by="payment_id", value="p0", who="me", why="a dispute", at_ms=0)
        assert not list(open_vault(here.settings, here.documents).read(merchant, asked))


def test_more_history_is_refused(trimmed: Path, tmp_path: Path) -> None:
    with opened(trimmed) as shop, pytest.raises(Conflict, match="'avalist log retain' removed"):
        rebuild(shop.installation, "shop", tmp_path / "more.csv", None)


def test_it_says_what_is_needed(archived: Path) -> None:
    said = _run("log", "show", "--data", archived)
    assert "the archive: from position" in said
    with pytest.raises(BadInput, match="only a log in files"), open_retained(Settings(data=archived, log="memory:")):
        pass


def _run(*arguments: object) -> str:
    ran = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "300"})
    if isinstance(ran.exception, AvalistError):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())
