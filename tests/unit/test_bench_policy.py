"""The last line of ``make bench NAME=policy`` has every key that it promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avalist.policy.economics import Policy
from bench import backtest, policy

PROMISED = {
    "profit_vs_oracle", "honest_approval", "approval_rate", "fraud_chargeback_bps", "budget_met_share",
    "approve_all_bps", "backtest_payments_per_s",
}  # fmt: skip


def test_the_last_line_has_what_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    n = 300
    one = np.ones(n)
    rare = (np.arange(n) % 50 == 0).astype(np.float64)
    days = np.arange(n) * 86_400_000.0 / 10
    truth = policy.Truth(days, 100 * one, 0.02 * one, 1 - rare, one, rare, 8 * one - 108 * rare, -3 * (1 - rare))
    run = policy.Lived([], one - rare, Policy(), None, 0, 0)  # type: ignore[arg-type]
    ways = {"approve_all": one, "threshold_half": one}
    for name, value in {
        "lived": lambda *_: run, "truth_of": lambda _: truth, "oracle": lambda *_: one, "baselines": lambda *_: ways,
        "keep_raw": lambda *_: None, "OUT": tmp_path / "policy.json",
    }.items():  # fmt: skip
        monkeypatch.setattr(policy, name, value)
    monkeypatch.setattr(backtest, "rates", lambda wanted: {"backtest_payments_per_s": wanted})
    monkeypatch.setattr("sys.argv", ["policy", "--verticals", "games", "--seeds", "1", "--backtested", "7"])
    policy.main()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last.keys() >= PROMISED
    assert (last["backtest_payments_per_s"], last["budget_met_share"]) == (7, 1.0)
