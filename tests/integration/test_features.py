"""Features for people: frames, files, words and events, from a folder that decisions were made in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import avalist
from avalist.analysis import Analysis
from avalist.app.administer import CreateMerchant
from avalist.app.trace import trace
from avalist.cli import app
from avalist.domain.errors import BadInput, Conflict, NotFound
from avalist.features.own import decode_own
from tests.docs.pages import blocks
from tests.shop import DAY_MS, SCHEMA, T0_MS, FakeClock, event, opened

OWN = """
[[feature]]
aggregate = "count"
entity = "card+ip24"
window = "2h"
kinds = ["payment", "auth_declined"]
"""
COLUMN = "card+ip24__count__payment_auth_declined__2h"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a shop that decided 60 payments within 12 days; of p3 a fraud was reported on day 11."""
    folder, clock = tmp_path_factory.mktemp("lived"), FakeClock()
    with opened(folder, clock) as shop:
        create = CreateMerchant("shop", SCHEMA, decode_own(OWN))
        shop.installation.administration.carry_out(create, T0_MS)
        shop.create("other")
        for n in range(60):
            clock.ms = T0_MS + n * 17_000_000 // (1 + n % 3 * 4)
            method = {"kind": "card", "fingerprint": f"card-{n % 7 // 2}"}
            shop.decide(n, method=method, ip=f"192.0.{n % 2}.7", captured=n % 5 > 0, amount_minor=100 + n)
            if n % 4 == 0:
                shop.record(event("authorisation_result", f"a{n}", payment_id=f"p{n}", approved=False))
        clock.ms = T0_MS + 13 * DAY_MS
        shop.record(event("early_fraud_warning", "f", payment_id="p3"))
        shop.installation.log.sync()
    return folder


@pytest.fixture
def here(lived: Path) -> Iterator[Analysis]:
    with avalist.open(lived) as here:
        yield here


def run(*arguments: object) -> str:
    """Run the command line here; return what it prints on one line."""
    ran = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def test_a_frame_holds_what_the_decisions_saw(lived: Path, here: Analysis) -> None:
    frame, plan = here.features("shop"), here.plan("shop")
    with opened(lived) as shop:
        logged = [shop.features(n) for n in range(60)]
    assert frame["payment_id"].to_list() == [f"p{n}" for n in range(60)]
    assert plan.columns[-1] == COLUMN
    expected = np.array([[one[name] for name in plan.columns] for one in logged], np.float32)
    assert frame.select(plan.columns).to_numpy().tobytes() == expected.tobytes()


def test_labels_are_those_that_were_known_at_a_date(here: Analysis) -> None:
    now, then = here.features("shop", columns=[]), here.features("shop", known_at="2026-09-30", columns=[])
    assert now.filter("fraud")["payment_id"].to_list() == ["p3"]
    assert now.filter("fraud")["fraud_reported_at"].dt.epoch("ms").to_list() == [T0_MS + 13 * DAY_MS]
    assert now["fraud"].null_count() == 12
    assert 0 < then.height < now.height
    assert not then["fraud"].any()


def test_a_column_that_is_asked_for_twice_comes_once(here: Analysis) -> None:
    assert here.features("shop", columns=["hour", "amount", "hour"]).columns[-2:] == ["hour", "amount"]


def test_a_frame_begins_and_ends_where_it_is_asked_to(here: Analysis) -> None:
    whole = here.features("shop", columns=["amount"])
    part = here.features("shop", from_=whole[9, "received_at"], to=whole[40, "received_at"], columns=["amount"])
    times = whole["received_at"]
    assert part.equals(whole.filter((times >= times[9]) & (times < times[40])))


def test_a_file_holds_what_the_frame_does_and_only_its_owner_reads_it(here: Analysis, tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    assert here.export("shop", file) == 60
    assert pl.read_parquet(file).equals(here.features("shop"))
    assert [one.name for one in tmp_path.iterdir()] == ["shop.parquet"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_export_that_fails_leaves_the_file_that_was_there(here: Analysis, tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    file.write_bytes(b"before")

    def full(rows: int) -> None:
        raise OSError(f"disk full after {rows} payments")

    with pytest.raises(OSError, match="after 60"):
        here.export("shop", file, written=full)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"before"]


def test_each_merchant_has_its_own(here: Analysis, lived: Path, tmp_path: Path) -> None:
    assert here.merchants() == ["other", "shop"]
    assert here.features("other").height == 0
    run("features", "export", "--all", tmp_path / "out", "--processes", 1, "--data", lived)
    assert pl.read_parquet(tmp_path / "out/shop.parquet").height == 60
    assert pl.read_parquet(tmp_path / "out/other.parquet").height == 0


def test_an_export_of_all_that_was_stopped_goes_on(lived: Path, tmp_path: Path) -> None:
    command = ("features", "export", "--all", tmp_path, "--processes", 1, "--data", lived)
    assert "left out" not in run(*command, "--resume")
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    whole = files[1].read_bytes()
    files[0].write_bytes(b"finished before")
    files[1].unlink()
    assert f"{len(files) - 1} of {len(files)} merchants have a file already" in run(*command, "--resume")
    assert (files[0].read_bytes(), files[1].read_bytes()) == (b"finished before", whole)


def test_one_merchant_is_not_resumed(lived: Path, tmp_path: Path) -> None:
    command = ["features", "export", "shop", str(tmp_path / "f.parquet"), "--resume", "--data", str(lived)]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, BadInput)
    assert refused.exception.field == "--resume"


def test_a_merchant_that_cannot_be_exported_keeps_no_other_back(lived: Path, tmp_path: Path) -> None:
    (tmp_path / "other.parquet").mkdir()
    command = ["features", "export", "--all", str(tmp_path), "--processes", "1", "--data", str(lived)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 1
    assert "other failed: " in ran.output
    assert "1 of 2 merchants have no new file" in ran.output
    assert pl.read_parquet(tmp_path / "shop.parquet").height == 60


@pytest.mark.parametrize("wrong", [{"columns": ["amuont"]}, {"to": "yesterday"}])
def test_what_is_asked_amiss_is_said_before_the_log_is_replayed(
    here: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.setattr("avalist.analysis.collect", lambda *_: pytest.fail("it replays"))
    with pytest.raises(BadInput):
        here.features("shop", **wrong)
    with pytest.raises(BadInput):
        here.export("shop", tmp_path / "shop.parquet", **wrong)


def test_what_is_not_there_is_said(here: Analysis, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        here.features("shop", columns=["card__count__events__1hour"])
    assert "card__count__events__1h" in refused.value.expected
    with pytest.raises(BadInput, match="not a time"):
        here.features("shop", to="yesterday")
    with pytest.raises(BadInput, match="no place"):
        here.export("shop", tmp_path / "nowhere" / "shop.parquet")
    with pytest.raises(NotFound, match="no merchant"):
        here.features("nobody")
    with pytest.raises(NotFound, match="no data folder"):
        avalist.open(tmp_path / "nothing")


@pytest.mark.parametrize("n", [0, 20, 59])
def test_a_trace_finds_the_events_that_values_came_from(here: Analysis, n: int) -> None:
    found = trace(lambda: here.records("shop"), "shop", f"p{n}")
    assert found.logged is not None
    assert found.different() == []
    counts = [(f, v) for f, v in zip(found.plan.features, found.replayed, strict=True) if f.aggregate == "count"]
    of_entities = [(f, v) for f, v in counts if f.entity not in ("merchant", "country") and v == v]
    assert [(f.name, len(found.events_in(f))) for f, _ in of_entities] == [(f.name, v) for f, v in of_entities]
    assert bool(of_entities) is (n > 0)


def test_a_payment_in_words(lived: Path) -> None:
    said = run("features", "show", "shop", "p59", "--feature", COLUMN, "--data", lived)
    assert "logged values are those replayed from the log" in said
    assert "payments and issuer declines of the card with the ip24 in the last 2 hours" in said
    assert "card: events of the last" in run("features", "show", "shop", "p59", "--entity", "card", "--data", lived)
    with pytest.raises(NotFound, match="no payment 'p99'"):
        run("features", "show", "shop", "p99", "--data", lived)


def test_lists_and_explanations(lived: Path, tmp_path: Path) -> None:
    listed = run("features", "list", "shop", "--own", "--data", lived)
    assert COLUMN in listed
    assert f"1 of {len(avalist_columns(lived))} features" in listed
    assert "steps of 2 minutes" in run("features", "explain", "shop", COLUMN, "--data", lived)
    (tmp_path / "own.toml").write_text(OWN)
    assert "1 features fit" in run("features", "check", "other", tmp_path / "own.toml", "--data", lived)
    (tmp_path / "own.toml").write_text('[[feature]]\naggregate = "retired"\nentity = "account"\n')
    checked = run("features", "check", "other", tmp_path / "own.toml", "--data", lived)
    assert "retired columns fit other" in checked
    assert "0 features" not in checked


def avalist_columns(folder: Path) -> tuple[str, ...]:
    with avalist.open(folder) as here:
        return here.plan("shop").columns


def test_a_plot_tells_the_groups_apart(lived: Path, tmp_path: Path) -> None:
    said = run("features", "plot", "shop", "amount", "--out", tmp_path / "amount.html", "--data", lived)
    assert "honest so far: 47 payments, unknown of 0 %" in said
    assert "fraud: 1 payments" in said
    assert "<svg" in (tmp_path / "amount.html").read_text()


def test_a_merchant_is_created_with_a_file_of_features_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    create = ("merchant", "create", "shop", "--data", tmp_path / "data", "--features", tmp_path / "own.toml")
    assert "features on plan" in run(*create)
    with pytest.raises(Conflict):
        run(*create)
    (tmp_path / "own.toml").write_text(OWN.replace("card+ip24", "crad"))
    with pytest.raises(BadInput, match="no such entity"):
        run("merchant", "create", "another", *create[3:])
    with avalist.open(tmp_path / "data") as here:
        assert COLUMN in here.plan("shop").columns
        assert here.merchants() == ["shop"]


def test_the_package_is_light_to_import() -> None:
    heavy = "import avalist, sys; print({'numpy', 'polars', 'pyarrow', 'numba', 'msgspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "set()"


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("simulate", "giftshop", "--days", 3, "--payments-per-day", 40, "--data", "avalist-data")
    names: dict[str, object] = {}
    for block in blocks("python"):
        if block.page == "docs/how-to/python.md":
            exec(compile(block.text, str(block), "exec"), names)
    frame, then = names["frame"], names["then"]
    assert isinstance(frame, pl.DataFrame)
    assert isinstance(then, pl.DataFrame)
    assert 0 < frame.height < then.height
    assert (tmp_path / "giftshop.parquet").exists()
