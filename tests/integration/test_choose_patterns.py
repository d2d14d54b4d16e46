"""``avalist features patterns``: a log is asked which habits are worth columns; the answer is a file for ``add``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avalist.app.administer import CreateMerchant
from avalist.cli import app
from avalist.domain.errors import BadInput
from avalist.domain.schema import EntityDecl, Schema
from tests.shop import DAY_MS, T0_MS, FakeClock, event, iso, opened, payment

SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("account", "customer.id"), EntityDecl("bin", "bin"), EntityDecl("payee", "payee.id")),
    report_delay_d=(1.0, 1.0),
    label_delay_d=1.0,
)
PAYMENTS, GAP_MS = 1800, DAY_MS // 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose frauds share six pairs of BIN and payee. Honest payments have all the others."""
    data, rng = tmp_path_factory.mktemp("patterns") / "data", np.random.default_rng(1)
    with opened(data, FakeClock()) as shop:
        shop.installation.administration.carry_out(CreateMerchant("giftshop", SCHEMA, prior=False), T0_MS)
        for n, bad in enumerate((rng.random(PAYMENTS) < 0.15).tolist()):
            at = T0_MS + n * GAP_MS
            bin, payee = (one := int(rng.integers(6)), one) if bad else rng.choice(12, 2, replace=False).tolist()
            paid = payment(
                n, occurred_at=iso(at), received_at=iso(at), customer={"id": f"c{rng.integers(400)}"}, captured=True,
                method={"kind": "card", "fingerprint": f"f{n}", "bin": f"4000{bin:02}"}, payee={"id": f"s{payee}"},
                amount_minor=int(rng.integers(500, 5000)),
            )  # fmt: skip
            shop.writer.record("giftshop", paid, 0)
            if bad:
                told = {"payment_id": f"p{n}", "fraud": True, "received_at": iso(at + DAY_MS // 30)}
                shop.writer.record("giftshop", event("label", f"l{n}", **told), 0)
        shop.installation.log.sync()
    return data


def run(*arguments: object) -> str:
    ran = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def test_no_budget_keeps_nothing_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "patterns.toml"
    said = run("features", "patterns", "giftshop", "--columns", 0, "--tried", 1, "--out", file, "--data", folder)
    assert "no combination is clearly worth columns" in said
    assert not file.exists()


def test_nothing_to_try_is_said(folder: Path) -> None:
    with pytest.raises(BadInput, match="no patterns, and no habits worth trying"):
        run("features", "patterns", "giftshop", "--tried", 0, "--data", folder)


def test_the_combination_that_frauds_share_becomes_columns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda by: by)  # the tests that follow are as urgent as before
    file = tmp_path / "patterns.toml"
    said = run("features", "patterns", "giftshop", "--tried", 1, "--out", file, "--data", folder)
    assert "worth columns, of 40 at most: bin+payee" in said
    assert "avalist features add giftshop" in said
    assert "see 8 features more" in run("features", "add", "giftshop", file, "--data", folder)
    again = run("features", "patterns", "giftshop", "--data", folder)
    assert "bin+payee 8 " in again  # it is of the plan now, and judged as such
    assert "verified" in run("replay", "--verify", "--data", folder)
