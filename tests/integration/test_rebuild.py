"""``import --rebuild``: more history of a merchant that has some, as if it had been there all along."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.memory.log import MemoryLog
from avalist.app import rebuild as module
from avalist.app.administer import SetTables
from avalist.app.dataset import Dataset, collect
from avalist.app.explain import Explainer
from avalist.app.lookup import Archive, Lookup
from avalist.app.merchant import created_by, decode_control, decode_event_core
from avalist.app.replay import Replayed, replay
from avalist.app.stored import DECISIONS, StoredDecision
from avalist.app.take import encode
from avalist.bootstrap import NextGeneration, build, load_artefact, load_model, open_tables
from avalist.cli import app
from avalist.cli.bring_in import bring_in
from avalist.cli.rebuild import Rebuilt, rebuild
from avalist.config import Settings
from avalist.domain.core import GenerationStarted
from avalist.domain.decisions import Decision
from avalist.domain.events import WireEvent
from avalist.domain.records import RecordKind
from avalist.enrich.packages import shipped
from avalist.follow.documents import DecisionDocuments
from avalist.models.artefact import Artefact
from tests.histories import lived, parted, written
from tests.integration.test_archive import archive
from tests.shop import DAY_MS, T0_MS, FakeClock, Shop, event, iso, opened, payment


def bring(data: Path, file: Path, merchant: str = "shop") -> None:
    with opened(data) as shop:
        if merchant not in shop.writer.merchants:
            shop.create(merchant)
        bring_in(shop.installation, merchant, file, None)


def merge(data: Path, file: Path, **options: Any) -> Rebuilt:
    with opened(data) as shop:
        return rebuild(shop.installation, "shop", file, None, **options)


def state(data: Path) -> tuple[str, Dataset]:
    with opened(data) as shop:
        return shop.writer.merchant("shop").features.digest(), collect(shop.installation.log.read, "shop")


def replayed(shop: Shop) -> Replayed:
    return replay(shop.installation.log, partial(load_model, shop.installation.blobs))


def same(one: Dataset, other: Dataset) -> None:
    for name in ("x", "t_ms", "amount_minor", "changes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    np.testing.assert_array_equal(one.background.keys, other.background.keys)
    np.testing.assert_array_equal(one.background.issuer, other.background.issuer)
    assert (one.cut_ms, one.background.payment_ids) == (other.cut_ms, other.background.payment_ids)
    assert one.background.outcomes == other.background.outcomes


@pytest.mark.parametrize("seed", range(6))
def test_history_merged_later_is_as_if_it_had_been_there_all_along(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 7 if seed % 2 else 4096)
    whole = lived(seed)
    first, second = parted(whole, seed)
    bring(tmp_path / "later", written(tmp_path / "a", first))
    shutil.copytree(tmp_path / "later" / "secrets", tmp_path / "once" / "secrets")
    bring(tmp_path / "once", written(tmp_path / "all", whole))
    done = merge(tmp_path / "later", written(tmp_path / "b", second))
    assert (done.merged.carried, done.merged.added, done.merged.refused) == (len(first), len(second), 0)
    (digest, data), (expected, wanted) = state(tmp_path / "later"), state(tmp_path / "once")
    assert digest == expected
    same(data, wanted)


def test_waves_are_listed_after_history_was_merged(tmp_path: Path) -> None:
    whole = lived(1)
    first, second = parted(whole, 1)
    bring(tmp_path / "data", written(tmp_path / "a", first))
    with opened(tmp_path / "data") as shop:
        archive(shop)  # of the first generation: it knows nothing of the next one's log
    merge(tmp_path / "data", written(tmp_path / "b", second))
    ran = CliRunner().invoke(app, ["waves", "shop", "--data", str(tmp_path / "data")], catch_exceptions=False)
    assert (ran.exit_code, "nothing is watched" in ran.output) == (0, True), ran.output


# --- a merchant that is live ----------------------------------------------------------------------------------------

ASKED = range(200, 230)


def live(n: int) -> dict[str, Any]:
    return {"method": {"kind": "card", "fingerprint": f"k{n % 9}"}, "occurred_at": iso(T0_MS + n * 60_000)}


def ask(shop: Shop, n: int, merchant: str = "shop") -> Decision:
    shop.clock.ms = max(shop.clock.ms, T0_MS + n * 60_000)
    return shop.writer.decide(merchant, payment(n, **live(n)), shop.clock.ms).decision


def fall_back_on(shop: Shop, n: int) -> Decision:
    answer = shop.writer.decide("shop", payment(n, **live(n)), shop.clock.ms)
    return shop.writer.fallback("shop", answer, shop.clock.ms + 50, "deadline")


def documents(shop: Shop) -> Archive:
    here = shop.installation
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    assert not any(found.different for found in follower.states.parity.merchants.values())
    return Archive(here.log, here.documents, here.writer, here.generation)


@dataclass
class Lived:
    """A data folder in which ``shop`` decided, beside another merchant, and history that ``shop`` has not yet."""

    data: Path
    more: Path
    answers: dict[int, Decision]
    digest: str


@pytest.fixture
def told(tmp_path: Path, artefact: Artefact) -> Lived:
    first, second = parted(lived(7), 7)
    second += [event("chargeback", "late", payment_id="p205", occurred_at=iso(T0_MS + 300 * 60_000))]
    more = written(tmp_path / "more", second)
    data = tmp_path / "data"
    with opened(data) as shop:
        for merchant in ("shop", "other"):
            shop.create(merchant)
            shop.activate(artefact, merchant)
        bring_in(shop.installation, "shop", written(tmp_path / "first", first), None)
        shop.key(kind="sandbox")
        for n in ASKED:
            ask(shop, n, "other")
            ask(shop, n, "shop~1")
        answers = {n: ask(shop, n) for n in ASKED}
        answers[230] = fall_back_on(shop, 230)
        answers[231] = shop.writer.answer_unscored("shop", payment(231, **live(231)), shop.clock.ms)
        shop.record(event("capture", "c", payment_id="p205", occurred_at=iso(T0_MS)))
        documents(shop)
        return Lived(data, more, answers, shop.writer.merchant("other").features.digest())


def late() -> FakeClock:
    return FakeClock(T0_MS + 400 * 60_000)


@pytest.fixture
def rebuilt(told: Lived) -> Lived:
    with opened(told.data, late()) as shop:
        done = rebuild(shop.installation, "shop", told.more, None)
    assert (done.generation, done.merged.refused) == (2, 0)
    return told


def test_answers_that_were_given_stay_as_they_were(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        archive = documents(shop)
        for n, answer in rebuilt.answers.items():
            again = shop.writer.decide("shop", payment(n, **live(n)), shop.clock.ms)
            assert (again.again, shop.writer.first("shop", again)) == (True, answer)
            assert archive.recent("shop", f"p{n}", "pre_auth").decision == answer
            assert archive.recent("shop", f"p{n}", "pre_auth").features or answer.degraded


def test_new_decisions_are_named_by_the_new_generation(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        new = ask(shop, 300)
        assert (new.generation, {answer.generation for answer in rebuilt.answers.values()}) == (2, {1})
        assert new.seq > max(answer.seq for answer in rebuilt.answers.values())
        assert ask(shop, 300, "other").generation == 1


def test_the_new_generation_replays_and_first_answers_are_not_made_again(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        ask(shop, 300)
        found = replayed(shop)
        assert (found.different, found.carried) == (0, len(ASKED) + 1)
        assert found.decisions == 2 * len(ASKED) + 1
        assert found.digests["shop"] == shop.writer.merchant("shop").features.digest()
        assert found.digests["other"] == rebuilt.digest


def test_first_answers_would_not_be_the_same_under_the_other_history(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        records = [
            msgspec.structs.replace(r, core=encode(msgspec.structs.replace(created_by(r), generation=1)))
            if (r.merchant, r.seq) == ("shop", 1)
            else r
            for _, r in shop.installation.log.read()
        ]
        log = MemoryLog()
        log.append(records)
        assert replay(log, partial(load_model, shop.installation.blobs)).different > 0


def test_the_documents_made_anew_are_the_same(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        here = shop.installation
        again, states = MemoryDocuments(), shop.follower().states
        fold = DecisionDocuments(
            again, states.merchants, here.log.end, Explainer(partial(load_artefact, here.blobs)), here.generation
        )
        for position, record in here.log.read():
            fold.take(record, position)
        fold.keep(here.log.end)
        for n, answer in rebuilt.answers.items():
            stored = again.get("shop", DECISIONS, f"p{n}/pre_auth")
            assert stored == here.documents.get("shop", DECISIONS, f"p{n}/pre_auth")
            assert stored is not None
            assert msgspec.json.decode(stored, type=StoredDecision).decision == answer


def stopped(begun: NextGeneration) -> None:
    raise KeyboardInterrupt


def test_events_that_came_live_are_there_already(told: Lived, tmp_path: Path) -> None:
    again: list[WireEvent] = [payment(n, **live(n)) for n in ASKED]
    again[3] = payment(203, **live(203), amount_minor=1)
    again += [event("capture", "c", payment_id="p205", occurred_at=iso(T0_MS))]
    with opened(told.data, late()) as shop:
        done = rebuild(shop.installation, "shop", written(tmp_path / "again", again), None, max_rejects=0.2)
    assert (done.generation, done.merged.there, done.merged.refused) == (None, len(ASKED), 1)


def test_what_is_merged_has_the_tables_that_the_merchant_began_with(tmp_path: Path) -> None:
    with opened(tmp_path / "data", late()) as shop:
        version = open_tables(shop.installation.blobs).put(shipped())
        shop.installation.administration.set_tables(SetTables(version), shop.clock.ms)
        shop.create()
        shop.decide(1)
        older = [payment(2, occurred_at=iso(T0_MS - DAY_MS))]
        assert rebuild(shop.installation, "shop", written(tmp_path / "more", older), None).merged.added == 1
    with opened(tmp_path / "data") as shop:
        cores = [decode_event_core(r.core) for _, r in shop.installation.log.read() if r.kind == RecordKind.EVENT]
        assert [core.facts and core.facts.tables_version for core in cores] == [version, version]
        assert [core.payment_id for core in cores] == ["p2", "p1"]


def test_how_far_the_documents_of_a_stopped_rebuild_were_is_forgotten(
    told: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(told.data, late()) as shop:
        here = shop.installation
        monkeypatch.setattr(NextGeneration, "switch", stopped)
        with pytest.raises(KeyboardInterrupt):
            rebuild(here, "shop", told.more, None)
        monkeypatch.undo()
        here.documents.clear("shop", DECISIONS)
        rebuild(here, "shop", told.more, None)
        assert len(list(here.documents.find("shop", DECISIONS))) == len(told.answers)


def test_look_up_goes_on_over_generations(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        new, archive = ask(shop, 303), documents(shop)
        wanted = Lookup(by="fingerprint", value="k6", limit=200)
        found = archive.find("shop", archive.key("shop", wanted), wanted)
        ids = [one.decision.payment_id for one in found.decisions]
        assert ids == [f"p{n}" for n in (new.payment_id[1:], 231, 222, 213, 204)]


def test_the_event_that_ends_the_history_says_what_it_is_made_of(rebuilt: Lived) -> None:
    with opened(rebuilt.data, late()) as shop:
        controls = [r.core for _, r in shop.installation.log.read() if (r.merchant, r.kind) == ("shop", 2)]
        (started,) = [c for c in map(decode_control, controls) if isinstance(c, GenerationStarted)]
    assert (started.generation, started.before, started.file) == (2, 1, "more")
    assert started.sha256 == sha256(rebuilt.more.read_bytes()).hexdigest()
    lines = len(rebuilt.more.read_bytes().splitlines())
    assert (started.added, started.there, started.refused, started.decisions) == (lines, 0, 0, len(ASKED) + 1)


def test_nobody_reads_the_log_to_start(rebuilt: Lived) -> None:
    read: list[int] = []
    with build(Settings(data=rebuilt.data), progress=read.append) as here:
        assert (here.generation, here.writer.merchant("shop").seq > 0, read) == (2, True, [])


def test_more_history_may_come_again(rebuilt: Lived, tmp_path: Path) -> None:
    early = payment("early", occurred_at=iso(T0_MS - 90 * 86_400_000))
    with opened(rebuilt.data, late()) as shop:
        ask(shop, 300)
        done = rebuild(shop.installation, "shop", written(tmp_path / "early", [early]), None)
    assert (done.generation, done.merged.added) == (3, 1)
    with opened(rebuilt.data, late()) as shop:
        assert ask(shop, 301).generation == 3
        assert (ask(shop, 300).generation, ask(shop, 200)) == (2, rebuilt.answers[200])
        assert (replayed(shop).different, replayed(shop).carried) == (0, len(ASKED) + 2)
