"""From a stranger's CSV to a report in one command."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from avalist.policy.economics import Policy
from tests.e2e.test_cli import HEAD, MAPPING, table
from tests.live import avalist

pytestmark = [pytest.mark.sockets, pytest.mark.slow]
HOSTILE = "shop<script>alert(1)</script>"
STRANGE = MAPPING.replace("[outcomes]", f'"custom.{HOSTILE}" = "{HOSTILE}"\n[outcomes]').replace(
    "[schema.settings]", f'[schema.categories]\nshop = "custom.{HOSTILE}"\n[schema.settings]'
)


def strange(rows: int) -> str:
    """Return the table with a column of a hostile name and hostile values."""
    lines = table(rows).splitlines()
    return "\n".join([f"{HEAD},{HOSTILE}", *(f"{line},</td><script>{n % 7}" for n, line in enumerate(lines[1:]))])


def fit(folder: Path, *more: object) -> str:
    ran = avalist("fit", folder / "May payments.csv", "--out", folder / "out", "--folds", 2, *more)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("fit")
    (desk / "May payments.csv").write_text(strange(2500))
    (desk / "mapping.toml").write_text(STRANGE)
    (desk / "said").write_text(fit(desk, "--mapping", desk / "mapping.toml"))
    return desk


def test_one_command_makes_the_report(desk: Path) -> None:
    said, made = (desk / "said").read_text(), msgspec.json.decode((desk / "out/report.json").read_bytes())
    assert made["merchant"] == "may-payments"
    assert made["quality"]["metrics"]["average_precision"]["low"] > 3 * made["quality"]["metrics"]["prevalence"]
    assert made["rejected"] == 0
    assert "average precision" in said
    assert {file.stat().st_mode & 0o777 for file in (desk / "out").glob("report.*")} == {0o600}
    assert "avalist report may-payments" in said
    assert f'"{HOSTILE}":"example"' in said.partition("curl -s http")[2]
    assert made["model"] in (desk / "out/report.md").read_text()


def test_the_page_runs_nothing_of_the_file(desk: Path) -> None:
    page = (desk / "out/report.html").read_text()
    assert "<script" not in page
    assert "custom.shop&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<table") == page.count("</table>") > 8


def test_the_report_is_made_again_from_the_log_under_another_policy(desk: Path) -> None:
    data, again = desk / "out/data", desk / "again"
    (desk / "policy.json").write_bytes(msgspec.json.encode(Policy(margin=0.9)))
    assert avalist("policy", "set", "may-payments", desk / "policy.json", "--data", data).returncode == 0
    ran = avalist("report", "may-payments", "--out", again, "--folds", 2, "--data", data)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, second = (msgspec.json.decode((f / "report.json").read_bytes()) for f in (desk / "out", again))
    assert second["policy"]["margin"] == 0.9
    assert second["quality"] == first["quality"]
    assert second["economic"]["approval_rate"] > first["economic"]["approval_rate"]


def test_too_few_frauds_are_told_and_described(tmp_path: Path) -> None:
    (tmp_path / "May payments.csv").write_text(table(300))
    assert "a model needs 40 at least" in fit(tmp_path)
    assert "What the data are" in (tmp_path / "out/report.md").read_text()
