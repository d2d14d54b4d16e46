"""Models as files that score without us, and models that are brought."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from avalist.app.prior import own_model, prior_of
from avalist.app.take_away import brought, exported
from avalist.app.train import known_by
from avalist.cli.models import show_report
from avalist.domain.errors import BadInput
from avalist.models.artefact import Artefact
from avalist.models.calibrate import calibrate_scores
from tests.judged import SMALL, dataset

DATA = dataset(6000, frauds=0.05)
SETTINGS = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1}


def model(*, beside: bool) -> Artefact:
    prior = prior_of(DATA.schema, DATA.plan) if beside else None
    known = known_by(DATA, DATA.cut_ms)
    if prior is not None:
        margins = prior.trees.score_many(known.x)
        high = margins > np.quantile(margins, 0.8)
        known = replace(known, y=np.where(np.arange(len(high)) % 20 == 0, ~high, high).astype(np.int64))
    made = own_model(known, prior, SMALL.params, None)
    assert (made.prior_trees is not None) is beside
    return made


@pytest.mark.parametrize("beside", [False, True])
def test_the_script_scores_to_the_last_digit(tmp_path: Path, beside: bool) -> None:
    x = DATA.x[:60].copy()
    x[::3, ::2] = np.nan
    for name, content in exported(model(beside=beside), DATA.plan, x).items():
        (tmp_path / name).write_bytes(content)
    ran = subprocess.run([sys.executable, "-I", "score.py", "--check"], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "60 of 60 rows score as they did\n"), ran.stderr


def test_the_script_reads_tables_and_notices_another_model(tmp_path: Path) -> None:
    artefact = model(beside=False)
    for name, content in exported(artefact, DATA.plan, DATA.x[:5]).items():
        (tmp_path / name).write_bytes(content)
    lines = [",".join(artefact.columns), ",".join(map(repr, DATA.x[0].tolist())), "," * (len(artefact.columns) - 1)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    ran = subprocess.run([sys.executable, "score.py", "rows.csv"], cwd=tmp_path, capture_output=True, text=True)
    unknown = np.full((1, len(artefact.columns)), np.nan, np.float32)
    assert [float(line) for line in ran.stdout.split()] == [*artefact.p_fraud(DATA.x[:1]), *artefact.p_fraud(unknown)]
    moved = json.loads((tmp_path / "calibration.json").read_text()) | {"least": 0.4}
    (tmp_path / "calibration.json").write_text(json.dumps(moved))
    assert subprocess.run([sys.executable, "score.py", "--check"], cwd=tmp_path, capture_output=True).returncode == 1


def test_the_script_passes_over_other_columns_and_misses_its_own(tmp_path: Path) -> None:
    artefact = model(beside=False)
    for name, content in exported(artefact, DATA.plan, DATA.x[:5]).items():
        (tmp_path / name).write_bytes(content)
    cells = [",".join(("payment_id", *artefact.columns)), ",".join(("p7", *map(repr, DATA.x[0].tolist())))]
    (tmp_path / "rows.csv").write_text("\n".join(cells))
    (tmp_path / "other.csv").write_text("payment_id\np7\n")
    script = [sys.executable, "-I", "score.py"]
    ran = subprocess.run([*script, "rows.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert ([float(ran.stdout)], ran.stderr) == ([*artefact.p_fraud(DATA.x[:1])], "")
    ran = subprocess.run([*script, "other.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr[:14]) == (2, "", "0 of the model")
    ran = subprocess.run([*script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, "score.py --check" in ran.stdout) == (2, True)


def test_every_file_is_described(tmp_path: Path) -> None:
    files = exported(model(beside=False), DATA.plan, DATA.x[:1])
    assert all(f"`{name}`" in files["README.md"].decode() for name in files if name != "README.md")
    keys = {*json.loads(files["calibration.json"]), *json.loads(files["plan.json"])} - {"hash", "schema"}
    assert all(f"`{key}`" in files["README.md"].decode() for key in keys)


def booster(names: tuple[str, ...] | None = None, columns: int | None = None) -> bytes:
    known = known_by(DATA, DATA.cut_ms)
    early = known.t_ms < np.median(known.t_ms)
    rows = lgb.Dataset(known.x[early][:, :columns], known.y[early], feature_name=list(names) if names else "auto")
    return bytes(lgb.train(SETTINGS, rows, 15).model_to_string().encode())


def test_a_model_that_is_brought_is_calibrated_and_graded_on_what_it_did_not_see() -> None:
    made = brought(DATA, booster(DATA.plan.columns), DATA.plan.hash, int(np.median(DATA.t_ms)))
    assert (made.trained, made.plan_hash) == ("brought", DATA.plan.hash)
    assert made.report is not None
    assert made.report.roc_auc.value > 0.75
    assert made.report.observed_expected.value == pytest.approx(1.0, abs=0.2)
    assert Artefact.from_bytes(made.to_bytes()).trained == "brought"


@pytest.mark.parametrize(("objective", "scale"), [("regression", 1), ("regression", 100), ("rank_xendcg", 1)])
def test_scores_of_any_scale_are_calibrated(objective: str, scale: int) -> None:
    known = known_by(DATA, DATA.cut_ms)
    early = known.t_ms < np.median(known.t_ms)
    rows = lgb.Dataset(known.x[early], known.y[early] * scale, group=[int(early.sum())])
    body = lgb.train({**SETTINGS, "objective": objective}, rows, 15).model_to_string().encode()
    made = brought(DATA, body, DATA.plan.hash, int(np.quantile(DATA.t_ms, 0.9)))  # thirty frauds: belief counts
    assert made.report is not None
    assert made.report.observed_expected.value == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("scale", [1.0, 0.01, 1000.0])
def test_the_scale_of_scores_does_not_count(scale: float) -> None:
    known = known_by(DATA, DATA.cut_ms)
    scores, y = known.amount_minor.astype(np.float64), known.y.astype(np.float64)
    p = calibrate_scores(scores, y).apply(scores)
    assert calibrate_scores(scores * scale - 3, y).apply(scores * scale - 3) == pytest.approx(p, rel=1e-6)


def test_a_model_for_another_plan_is_refused() -> None:
    with pytest.raises(BadInput, match="another plan"):
        brought(DATA, booster(), "0" * 16, 0)
    with pytest.raises(BadInput, match="other columns"):
        brought(DATA, booster(columns=5), DATA.plan.hash, 0)
    with pytest.raises(BadInput, match="column 0 of the model"):
        brought(DATA, booster(DATA.plan.columns[::-1]), DATA.plan.hash, 0)
    with pytest.raises(BadInput, match="not a LightGBM model"):
        brought(DATA, b"tree\nnonsense", DATA.plan.hash, 0)
    with pytest.raises(BadInput, match="not an ONNX model") as refused:
        brought(DATA, b"nonsense", DATA.plan.hash, 0)
    assert "LightGBM model saved as text" in refused.value.expected
    with pytest.raises(BadInput, match="the file is empty"):
        brought(DATA, b"\n", DATA.plan.hash, 0)
    with pytest.raises(BadInput, match="nothing to calibrate on") as refused:
        brought(DATA, booster(), DATA.plan.hash, 2**45)
    assert (refused.value.field, refused.value.got) == ("--since", "0 frauds of 0 payments")


def test_nobody_says_what_a_model_that_is_brought_was_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    show_report("shop", brought(DATA, booster(), DATA.plan.hash, int(np.median(DATA.t_ms))))
    said = capsys.readouterr().out
    assert "trained elsewhere; graded on" in said
    assert "on the payments that calibrated it" in said
