"""A start from a snapshot and the log's tail is a start from the whole log, or it is not taken (I2)."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avalist.adapters.memory.blobs import MemoryBlobs
from avalist.adapters.memory.log import MemoryLog
from avalist.app import snapshot
from avalist.app.administer import SetTables
from avalist.app.backfill import backfill_from
from avalist.app.merchant import PAYMENT_MEMORY_MS
from avalist.app.snapshot import Snapshots
from avalist.bootstrap import load_model, open_tables
from avalist.domain.decisions import Decision
from avalist.domain.errors import NotFound
from avalist.domain.keys import HOUSE
from avalist.domain.records import RecordKind
from avalist.enrich.packages import shipped
from avalist.follow.state import MerchantStates
from avalist.models.artefact import Artefact
from tests.integration.test_recovery import digests, drive, replayed, standing
from tests.shop import DAY_MS, FakeClock, Shop, opened


def states(shop: Shop, **rule: Any) -> MerchantStates:
    here = shop.installation
    rule = {"log_bytes": 1 << 30, "seconds": 1e9, **rule}
    return MerchantStates(Snapshots(here.blobs, here.log), backfill_from(here.log.read), **rule)


def save(shop: Shop, stop: int | None = None) -> MerchantStates:
    """Save a snapshot as of `stop`, where a record begins."""
    shop.installation.log.sync()
    folded = states(shop)
    stop = shop.installation.log.end if stop is None else stop
    for position, record in shop.installation.log.read(folded.position, stop):
        folded.take(record, position)
    folded.keep(stop)
    folded.save()
    return folded


def beginnings(shop: Shop) -> list[int]:
    """Return the positions between two whole groups of records."""
    records = shop.installation.log.read()
    return [p for p, record in records if record.kind in (RecordKind.EVENT, RecordKind.CONTROL)][1:]


def found(shop: Shop) -> int:
    """Return the position of the snapshot that a start takes; 0 for none."""
    newest = Snapshots(shop.installation.blobs, shop.installation.log).newest(shop.installation.load_model)
    return newest.position if newest is not None else 0


def remembered(shop: Shop) -> list[object]:
    """Return where each merchant's events and payments are found, and what its payments were like."""
    events, payments = (
        [f"{kind}{n}" for kind in ("e", "c", "cb", "er") for n in range(120)],
        [f"p{n}" for n in range(120)],
    )
    merchants = shop.writer.merchants.values()
    return [(m.find(events, payments), m.past.payments, m.past.largest_minor, m.past.currencies) for m in merchants]


def next_decisions(shop: Shop) -> list[Decision]:
    return [shop.decide(f"next-{n}", merchant).decision for n in range(3) for merchant in ("shop", "other")]


@pytest.fixture(scope="module")
def histories(artefact: Artefact) -> Iterator[Callable[[int], Path]]:
    """Return data folders with a history each, by its seed."""
    folder = Path(tempfile.mkdtemp())

    def made(seed: int) -> Path:
        if not (folder / str(seed)).exists():
            with opened(folder / str(seed)) as shop:
                drive(shop, artefact, seed)
        return folder / str(seed)

    yield made
    shutil.rmtree(folder)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2), cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_a_start_from_any_snapshot_is_a_start_from_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, histories: Callable[[int], Path], seed: int, cuts: list[float]
) -> None:
    seen = []
    for name in ("whole", "from a snapshot"):
        folder = tmp_path_factory.mktemp("shop") / "data"
        shutil.copytree(histories(seed), folder)
        with opened(folder) as shop:
            places = [*beginnings(shop), shop.installation.log.end]
            for cut in sorted(cuts) if name != "whole" else []:
                saved = save(shop, places[int(cut * (len(places) - 1))])
        with opened(folder) as shop:
            assert found(shop) == (0 if name == "whole" else saved.position)
            stood = digests(shop), standing(shop), remembered(shop)
            seen.append((stood, next_decisions(shop), digests(shop)))
            replayed(shop.installation).check()
    assert seen[0] == seen[1]


def test_what_was_decided_before_a_snapshot_is_known_after_it(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        first = shop.decide(1).decision
        fallen = shop.writer.fallback("shop", shop.decide(2), shop.clock.ms, "deadline")
        save(shop)
    with opened(tmp_path) as shop:
        assert found(shop) > 0
        assert [shop.decide(n).decision for n in (1, 2)] == [first, fallen]


def test_a_snapshot_keeps_which_tables_are_in_force(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        version = open_tables(shop.installation.blobs).put(shipped())
        shop.installation.administration.set_tables(SetTables(version), shop.clock.ms)
        save(shop)
    with opened(tmp_path) as shop:
        assert found(shop) > 0
        assert shop.decide().core.facts.tables_version == version  # type: ignore[union-attr]


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
@pytest.mark.parametrize("which", ["contents", "head", "part"])
def test_a_damaged_snapshot_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str, which: str
) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        older = save(shop).position
        shop.decide(2)
        newer = save(shop).position
        shop.installation.log.sync()
        before = digests(shop)
    damage(blob(tmp_path, newer, which), harm)
    with opened(tmp_path) as shop:
        assert "passed over" in caplog.text or (which, harm) == ("contents", "remove")
        assert (found(shop), digests(shop)) == (older, before)


def blob(folder: Path, position: int, which: str) -> Path:
    end = {"contents": "", "head": "~head-*", "part": "~0000-*"}[which]
    (file,) = (folder / "blobs" / (HOUSE if which == "contents" else "shop")).glob(f"snapshot~{position:020d}{end}")
    return file


def damage(file: Path, harm: str) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data[: len(data) // 2] if harm == "cut" else data)
    if harm == "remove":
        file.unlink()


def test_without_a_sound_snapshot_the_whole_log_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        position, before = save(shop).position, digests(shop)
    damage(blob(tmp_path, position, "part"), "flip")
    with opened(tmp_path) as shop:
        assert (found(shop), digests(shop)) == (0, before)
    assert "the whole log is read" in caplog.text


def test_a_snapshot_of_another_log_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        save(shop)
    for payments in (0, 5):  # a log that ends before the snapshot, and one that goes on after it
        shutil.rmtree(tmp_path / "log")
        with opened(tmp_path, FakeClock(1_800_000_000_000)) as shop:
            assert not shop.writer.merchants
            shop.create()
            for n in range(payments):
                shop.decide(f"other-{n}")
        with opened(tmp_path) as shop:
            assert (found(shop), shop.writer.merchant("shop").seq) == (0, 1 + payments)
    assert "another log" in caplog.text


@pytest.mark.parametrize("what", ["CODE", "plan"])
def test_a_snapshot_of_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        if what == "CODE":
            monkeypatch.setattr(snapshot, "CODE", "0-0-an-older-kernel")
        else:
            whole = snapshot._head
            monkeypatch.setattr(snapshot, "_head", lambda *a: msgspec.structs.replace(whole(*a), plan_hash="another"))
        save(shop)
        before = digests(shop)
    monkeypatch.undo()
    with opened(tmp_path) as shop:
        assert (found(shop), digests(shop)) == (0, before)


def test_two_snapshots_are_kept_and_no_litter(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.create("quiet")
        kept = []
        for n in range(4):
            shop.decide(n)
            kept.append(save(shop).position)
        blobs = shop.installation.blobs
        assert list(blobs.names(HOUSE)) == [f"snapshot/{position:020d}" for position in kept[-2:]]
        assert {name.split("/")[1] for name in blobs.names("shop")} == {f"{p:020d}" for p in kept[-2:]}
        # Nothing happened to this one: its first stands for all.
        assert {name.split("/")[1] for name in blobs.names("quiet")} == {f"{kept[0]:020d}"}


def test_who_comes_back_as_a_zombie_spoils_no_newer_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.create("quiet")
        zombie, log = save(shop), shop.installation.log
        shop.decide(1)
        log.sync()
        for position, record in log.read(zombie.position):
            zombie.take(record, position)
        zombie.keep(log.end)  # it stands still here, before it saves
        newer = save(shop)
        for n in range(2, 4):
            shop.decide(n)
            newer = save(shop)
        zombie.save()
        assert found(shop) == newer.position
        shop.decide(4)
        assert found(shop) == newer.position < save(shop).position == found(shop)


def test_what_was_deleted_beside_us_is_written_again(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.create("quiet")
        folded, log = save(shop), shop.installation.log
        shutil.rmtree(tmp_path / "blobs" / "quiet")
        shop.decide(1)
        log.sync()
        for position, record in log.read(folded.position):
            folded.take(record, position)
        folded.keep(log.end)
        folded.save()
        assert found(shop) == folded.position == log.end


def test_a_snapshot_is_due_by_bytes_or_by_time_and_rests_after_it(shop: Shop) -> None:
    now = itertools.count()  # each look at the clock takes a second, so a snapshot takes one and rests nine
    folded = states(shop, log_bytes=1, seconds=1e9, now_s=lambda: float(next(now)))
    taken = []
    for n in range(30):
        shop.decide(n)
        shop.installation.log.sync()
        for position, record in shop.installation.log.read(folded.position):
            folded.take(record, position)
        folded.keep(shop.installation.log.end)
        taken.append(folded.saved)
    assert 2 <= len(set(taken)) <= 5


def test_a_lost_model_that_is_not_active_stops_no_start(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(artefact)
        shop.decide(1)
    (model,) = (tmp_path / "blobs" / "shop").glob("model-*")
    model.unlink()
    with opened(tmp_path) as shop, pytest.raises(NotFound, match="model"):
        shop.decide(2)


def test_only_the_active_model_is_loaded(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(artefact)
        loaded: list[str] = []
        blobs = shop.installation.blobs
        merchants = Snapshots(blobs, shop.installation.log)
        save(shop)
        newest = merchants.newest(lambda id, version: loaded.append(version) or load_model(blobs, id, version))  # type: ignore[func-returns-value]
        assert newest is not None
        assert loaded == []
        assert newest.merchants["shop"].model is not None
    assert loaded == [artefact.version]


def test_fallbacks_are_forgotten_with_their_payments(shop: Shop) -> None:
    answer = shop.decide(1)
    shop.writer.fallback("shop", answer, shop.clock.ms, "deadline")
    merchant = shop.writer.merchant("shop")
    for days, known in ((300, True), (PAYMENT_MEMORY_MS // DAY_MS * 2, False)):
        shop.clock.ms += days * DAY_MS
        shop.writer.fallback("shop", shop.decide(f"{days} later"), shop.clock.ms, "deadline")
        assert (merchant.fallback_at("e1") >= 0) is known


def test_the_follower_waits_for_the_decision_of_the_last_event(shop: Shop) -> None:
    log = shop.installation.log
    assert isinstance(log, MemoryLog)
    follower = shop.follower()
    shop.decide(1)
    torn = log._records.pop()
    log.sync()
    assert (follower.advance(), shop.follower().advance()) == (0, 0)
    log.append([torn])
    log.sync()
    assert shop.follower().advance() == 2  # the decision, and a row of the vault
    assert shop.installation.documents.get("shop", "decisions", "p1/pre_auth") is not None


class Dies(MemoryBlobs):
    """Blobs whose process dies at the call numbered `after`."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def put(self, merchant: str, name: str, data: bytes) -> None:
        self._live()
        super().put(merchant, name, data)

    def delete(self, merchant: str, name: str) -> None:
        self._live()
        super().delete(merchant, name)

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_a_death_at_any_instant_of_saving_leaves_a_sound_snapshot(shop: Shop) -> None:
    shop.create("other")
    log = shop.installation.log
    for calls in itertools.count():
        blobs = Dies(calls)
        try:
            for n in range(4):
                shop.decide(f"{calls}-{n}", "shop" if n % 2 else "other")
                folded = MerchantStates(Snapshots(blobs, log), backfill_from(log.read), log_bytes=1, seconds=0)
                for position, record in log.read(folded.position):
                    folded.take(record, position)
                folded.keep(log.end)
        except KeyboardInterrupt:
            newest = Snapshots(blobs, log).newest(shop.installation.load_model)
            assert newest is not None or calls < 5  # two merchants with two blobs each, then the first is whole
            shop.writer.__init__(log, shop.installation.load_model, shop.installation.secrets.merchant)  # type: ignore[misc]
            shop.writer.recover(snapshot=newest)
            assert set(digests(shop)) == {"shop", "other"}
            assert digests(shop) == replayed(shop.installation).digests
        else:
            break
    assert calls > 15
