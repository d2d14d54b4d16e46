"""``avalist health``, ``avalist train`` with few frauds, ``avalist models export``, on a data folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from avalist.app.administer import CreateMerchant, SetAlerts
from avalist.app.dataset import collect
from avalist.app.followed import Followed, tell
from avalist.app.health import kept
from avalist.app.parity import Checked
from avalist.cli.health import health
from avalist.cli.models import train
from avalist.cli.take_away import export_model, import_model
from avalist.cli.vault import erase, read
from avalist.domain.alerts import Alert
from avalist.domain.errors import BadInput, NotFound
from tests.shop import SCHEMA, T0_MS, opened

ALERT = Alert(kind="missing", subject="ip", value=0.5, words="gone")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A merchant of twenty payments that decides by the prior, with an alert that stands."""
    with opened(tmp_path / "data") as shop:
        office = shop.installation.administration
        office.carry_out(CreateMerchant("shop", SCHEMA), T0_MS)
        for n in range(20):
            assert shop.decide(n).decision.p_fraud is not None
        office.carry_out(SetAlerts("shop", (ALERT,), 1), T0_MS)
    return tmp_path / "data"


def test_alerts_that_no_longer_stand_are_logged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    health(["shop"], data=folder)
    assert "nothing is wrong" in capsys.readouterr().out
    with opened(folder) as shop:
        found = kept(shop.installation.documents, "shop")
        assert found is not None
        assert found.alerts == collect(shop.installation.log.read, "shop").background.alerts == ()
        before = shop.installation.log.end
    health(["shop"], data=folder)
    with opened(folder) as shop:
        assert shop.installation.log.end == before


def test_broken_parity_becomes_an_event_of_the_log_once(folder: Path) -> None:
    with opened(folder) as shop:
        parity = {"shop": Checked(plan="p1", checked=9, different=3, first="payment a")}
        tell(shop.installation.documents, Followed(at_ms=0, position=0, snapshot=0, parity=parity))
    health(["shop"], data=folder)
    with opened(folder) as shop:
        (alert,) = collect(shop.installation.log.read, "shop").background.alerts
        assert (alert.kind, alert.subject) == ("parity", "plan p1")
        end = shop.installation.log.end
    health(["shop"], data=folder)
    with opened(folder) as shop:
        assert shop.installation.log.end == end


def test_training_with_few_frauds_says_who_decides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("shop", data=folder)
    said = " ".join(capsys.readouterr().out.split())
    assert "the network prior decides (trained on simulated payments): 0 frauds are reported" in said
    with opened(folder) as shop:
        assert shop.decide(99).decision.p_fraud is not None


def test_the_active_model_is_taken_away(folder: Path, tmp_path: Path) -> None:
    export_model("shop", tmp_path / "out", data=folder)
    command = [sys.executable, str(tmp_path / "out" / "score.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "20 of 20 rows score as they did\n"
    with pytest.raises(BadInput, match="holds something already"):
        export_model("shop", tmp_path / "out", data=folder)


def test_a_model_for_another_plan_is_not_taken(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("tree")
    with pytest.raises(BadInput, match="another plan"):
        import_model("shop", tmp_path / "model.txt", "0" * 16, data=folder)


def test_the_vault_of_a_merchant_that_there_is_not_is_none(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(NotFound, match="'shpo'"):
        erase("shpo", by="email", value="ann@example.com", why="request of 3 May", yes=True, data=folder)
    with pytest.raises(NotFound, match="'shop'"):
        read("shop", by="email", value="ann@example.com", why="request of 3 May", data=folder / "elsewhere")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("value", "why", "field"), [("", "request", "--value"), ("ann@example.com", " ", "--why")])
def test_the_vault_is_asked_for_somebody_and_with_a_reason(folder: Path, value: str, why: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        read("shop", by="email", value=value, why=why, data=folder)
    assert refused.value.field == field
