"""The archive and the log's tail are one stream, equal to the log but for sealed parts."""

from __future__ import annotations

import itertools
import logging
from functools import partial
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from avalist.adapters.memory.log import MemoryLog
from avalist.app.archive import Archive
from avalist.app.dataset import collect
from avalist.app.replay import replay
from avalist.domain.errors import LogCorrupt, Superseded
from avalist.domain.keys import HOUSE
from avalist.domain.records import Record
from avalist.follow.archive import ArchiveFold
from avalist.models.artefact import Artefact
from tests.integration.test_recovery import digests, drive
from tests.shop import FakeClock, Shop, opened


def archive(shop: Shop, stop: int | None = None, **rule: float) -> Archive:
    """Archive the log up to `stop`, in several batches."""
    here = shop.installation
    here.log.sync()
    made = Archive(here.blobs, here.log)
    fold = ArchiveFold(made, log_bytes=int(rule.get("log_bytes", 1)), seconds=rule.get("seconds", 1e9))
    for n, (position, record) in enumerate(here.log.read(fold.position, stop)):
        if n % 50 == 49:
            fold.keep(position)
        fold.take(record, position)
    fold.keep(here.log.end if stop is None else stop)
    return made


def unsealed(shop: Shop, merchant: str | None = None) -> list[tuple[int, Record]]:
    records = shop.installation.log.read()
    return [(p, msgspec.structs.replace(r, sealed=b"")) for p, r in records if merchant in (None, r.merchant)]


def stripped(records: object) -> list[tuple[int, Record]]:
    return [(p, msgspec.structs.replace(r, sealed=b"")) for p, r in records]  # type: ignore[attr-defined]


@pytest.fixture
def lived(tmp_path: Path, artefact: Artefact) -> Path:
    with opened(tmp_path) as shop:
        drive(shop, artefact)
    return tmp_path


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("merchant", [None, "other"])
def test_archive_and_tail_are_the_log(lived: Path, share: float, merchant: str | None) -> None:
    with opened(lived) as shop:
        places = [p for p, _ in shop.installation.log.read()]
        if share:
            archive(shop, places[int(share * (len(places) - 1))])
        again = Archive(shop.installation.blobs, shop.installation.log)
        assert (again.end > 0) is (share > 0)
        assert stripped(again.read(merchant=merchant)) == unsealed(shop, merchant)


def test_a_reading_goes_on_where_it_stopped(lived: Path) -> None:
    with opened(lived) as shop:
        made = archive(shop, [p for p, _ in shop.installation.log.read()][300])
        whole = stripped(made.read())
        for cut in (0, 120, 290, 310, len(whole)):
            after = whole[cut - 1][0] + 1 if cut else 0
            assert whole[:cut] + stripped(made.read(start=after)) == whole
            assert stripped(made.read(stop=after)) == whole[:cut]


def test_replay_and_training_from_the_archive_are_those_from_the_log(lived: Path) -> None:
    with opened(lived) as shop:
        made = archive(shop)
        result = replay(made, shop.installation.load_model)
        result.check()
        assert result.digests == digests(shop)
        from_log = collect(shop.installation.log.read, "shop")
        from_archive = collect(partial(made.read, merchant="shop"), "shop")
    assert from_log.x.tobytes() == from_archive.x.tobytes()
    assert from_log.changes.tolist() == from_archive.changes.tolist()


def test_the_archive_holds_nothing_sealed_and_each_merchant_its_own(lived: Path) -> None:
    with opened(lived) as shop:
        archive(shop)
        sealed = [record.sealed for _, record in shop.installation.log.read() if record.sealed]
    assert sealed
    for merchant in ("shop", "other"):
        for file in (lived / "blobs" / merchant).glob("archive*"):
            assert pq.read_schema(file).names == ["position", "seq", "kind", "received_at", "core"]
            cores = pq.read_table(file)["core"].to_pylist()
            assert not any(one in core for one in sealed[:20] for core in cores)


def test_a_new_fold_goes_on_after_the_last_batch(shop: Shop) -> None:
    for n in range(3):
        shop.decide(n)
        archive(shop)
    archive(shop, log_bytes=1 << 30)  # too little to be written
    assert len(list(shop.installation.blobs.names(HOUSE, "archive/"))) == 3
    assert stripped(Archive(shop.installation.blobs, shop.installation.log).read()) == unsealed(shop)


def test_a_batch_is_written_when_its_time_has_come(shop: Shop) -> None:
    now = itertools.count(step=10)
    made = Archive(shop.installation.blobs, shop.installation.log)
    fold = ArchiveFold(made, log_bytes=1 << 30, seconds=15, now_s=lambda: float(next(now)))
    ends = []
    for n in range(4):
        ((_, record), *_) = shop.installation.log.read()
        fold.take(record, n)
        fold.keep(n + 1)
        ends.append(made.end)
    assert ends == [0, 2, 2, 4]


@pytest.mark.parametrize("harm", ["flip", "mark", "gap"])
def test_damage_is_told(lived: Path, harm: str) -> None:
    with opened(lived) as shop:
        archive(shop)
    marks = sorted((lived / "blobs" / HOUSE).glob("archive*"))
    (first, *_) = sorted((lived / "blobs" / "shop").glob("archive*"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    match harm:
        case "flip":
            first.write_bytes(data)
        case "mark":
            marks[1].write_bytes(b"x")
        case _:
            marks[1].unlink()
    with opened(lived) as shop, pytest.raises(LogCorrupt, match="restore its blobs"):
        list(Archive(shop.installation.blobs, shop.installation.log).read())


def test_another_log_is_not_archived_over_this_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        archive(shop)
    for file in (tmp_path / "log").iterdir():
        file.unlink()
    with opened(tmp_path, FakeClock(1_800_000_000_000)) as shop:
        shop.create()
        shop.decide(2)
        shop.installation.log.sync()
        with pytest.raises(LogCorrupt, match="another log"):
            archive(shop)
        caplog.set_level(logging.WARNING)
        assert shop.follower().advance() == 2  # documents and vault go on
    assert "nothing is archived" in caplog.text


def test_who_comes_back_as_a_zombie_writes_over_no_newer_batch(shop: Shop) -> None:
    here = shop.installation
    shop.decide(1)
    here.log.sync()
    fold = ArchiveFold(Archive(here.blobs, here.log), log_bytes=1, seconds=1e9)
    for position, record in here.log.read():
        fold.take(record, position)
    stop = here.log.end
    shop.decide(2)
    newer = archive(shop)
    with pytest.raises(Superseded):
        fold.keep(stop)
    assert stripped(Archive(here.blobs, here.log).read(stop=newer.end)) == unsealed(shop)


def test_a_death_before_the_mark_leaves_the_batch_to_be_done_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = shop.installation.blobs
    shop.decide(1)
    put = blobs.put
    monkeypatch.setattr(blobs, "put", lambda merchant, *more: put(merchant, *more) if merchant != HOUSE else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        archive(shop)
    monkeypatch.undo()
    assert Archive(blobs, shop.installation.log).end == 0
    shop.decide(2)
    assert isinstance(shop.installation.log, MemoryLog)
    assert stripped(archive(shop).read()) == unsealed(shop)
