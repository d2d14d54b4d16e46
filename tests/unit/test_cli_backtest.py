"""``avalist backtest``, in this process."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from avalist.cli import app
from avalist.domain.errors import BadInput, NotFound
from avalist.models.artefact import Artefact
from avalist.policy.economics import Policy
from tests.shop import opened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact) -> Path:
    """Return a folder of a shop that decided 20 payments; the last of them has an id that a spreadsheet would run."""
    folder = tmp_path_factory.mktemp("backtest")
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        for n in range(20):
            shop.clock.ms += 30_000
            shop.decide(n, **({"payment_id": "=cmd()"} if n == 19 else {}))
    return folder


def run(data: Path, *words: object) -> str:
    command = ["backtest", "shop", "--data", str(data), "--out", str(data / "out"), *map(str, words)]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def changes(data: Path) -> list[dict[str, str]]:
    with (data / "out/changes.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_threshold(data: Path) -> None:
    said = run(data, "--threshold", 0.9)
    made = msgspec.json.decode((data / "out/backtest.json").read_bytes())
    assert made["asked"] == "a threshold of 0.9"
    assert made["whole"]["after"]["approval_rate"] > made["whole"]["before"]["approval_rate"]
    assert "Nobody knows" in said
    assert "Nobody knows" in (data / "out/backtest.html").read_text()
    rows = changes(data)
    assert len(rows) == made["whole"]["changed"] > 0
    assert {(row["before"], row["after"]) for row in rows} == {("decline", "approve")}
    assert all(float(row["p_fraud_before"]) <= 0.9 for row in rows)
    assert rows[-1]["payment_id"] == "'=cmd()"


def test_a_policy_and_a_model(data: Path, artefact: Artefact) -> None:
    (data / "policy.json").write_bytes(msgspec.json.encode(Policy()))
    run(data, "--policy", data / "policy.json", "--model", artefact.version, "--from", "2026-09-01")
    made = msgspec.json.decode((data / "out/backtest.json").read_bytes())
    assert made["asked"] == f"the policy policy.json and the model {artefact.version}"
    assert (made["whole"]["changed"], changes(data)) == (0, [])


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        ([], BadInput, "say what to try"),
        (["--threshold", "0.1", "--policy", __file__], BadInput, "a policy of its own"),
        (["--threshold", "2"], BadInput, "not a threshold"),
        (["--threshold", "0.1", "--to", "2020-01-01"], BadInput, "no payment arrived"),
        (["--model", "unknown"], NotFound, "unknown"),
    ],
)
def test_what_cannot_be_tried_says_why(data: Path, words: list[str], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        run(data, *words)
