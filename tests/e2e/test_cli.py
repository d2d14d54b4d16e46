"""The command line as a newcomer uses it: create, import, train, serve, decide, replay; and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from avalist.domain.events import from_ms
from tests.live import Connection, Service, avalist, avalist_here
from tests.shop import CARD_NUMBER, T0_MS
from tests.tables import archive

pytestmark = [pytest.mark.sockets, pytest.mark.slow]

MAPPING = """
payment_id = "id"
occurred_at = "time"
amount = "amount"
currency = "=EUR"
hashed = ["card"]
[fields]
"customer.id" = "user"
"method.fingerprint" = "card"
[outcomes]
fraud = "fraud"
[schema]
base_currency = "EUR"
[schema.entities]
account = "customer.id"
card = "method.fingerprint"
[schema.settings]
label_delay_d = 7
report_delay_d = [7, 7]
"""
HEAD = "id,time,amount,user,card,fraud"


def table(rows: int = 2500) -> str:
    """Return a CSV: frauds are dear, and of a few cards."""
    draw, lines = random.Random(1), [HEAD]
    for n in range(rows):
        fraud = draw.random() < 0.06
        amount = draw.uniform(200, 900) if fraud else draw.uniform(1, 300)
        card = f"411111111111{draw.randrange(20 if fraud else 400):04d}"
        time = from_ms(T0_MS + n * 1_800_000).strftime("%Y-%m-%dT%H:%M:%S")
        lines.append(f"p{n},{time},{amount:.2f},u{draw.randrange(300)},{card},{int(fraud)}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table, its mapping, and a data folder that holds a trained merchant."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "payments.csv").write_text(table())
    (desk / "mapping.toml").write_text(MAPPING)
    assert "av_live_shop_" in run(desk, "merchant", "create", "shop", "--schema", desk / "mapping.toml")
    imported = run(desk, "import", "shop", desk / "payments.csv", "--mapping", desk / "mapping.toml")
    assert "imported 2,500 payments" in imported
    trained = run(desk, "train", "shop", "--threads", 1)
    assert "is active from the next decision on" in trained
    assert "average precision" in trained
    return desk


def run(desk: Path, *arguments: object) -> str:
    """Run a command that is to succeed; return what it says."""
    ran = avalist(*arguments, "--data", desk / "data")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout


def tell(desk: Path, *arguments: object) -> str:
    """Do as :func:`run`, in this process."""
    ran = avalist_here(*arguments, "--data", desk / "data")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def failing(desk: Path, *arguments: object) -> str:
    """Run a command, in this process, that is to fail in one clear message; return it on one line."""
    ran = avalist_here(*arguments, "--data", desk / "data")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "error:" in ran.stderr
    assert "Traceback" not in ran.stderr
    return " ".join(ran.stderr.split())


@pytest.fixture(scope="module")
def service(desk: Path) -> Iterator[Service]:
    service = Service(desk / "data")
    yield service
    assert service.stop() == 0


def decide(port: int, key: str, n: int, card: str, amount_minor: int) -> dict[str, object]:
    body = {
        "event_id": f"e{n}", "payment_id": f"live-{n}", "occurred_at": from_ms(T0_MS).isoformat(), "currency": "EUR",
        "amount_minor": amount_minor, "customer": {"id": "u1"}, "method": {"kind": "card", "fingerprint": card},
    }  # fmt: skip
    with Connection(port, key) as connection:
        answer: dict[str, object] = connection.json("POST", "/v1/decisions", body)
    return answer


def test_a_merchant_is_served_by_a_model_of_its_own(desk: Path, service: Service) -> None:
    key = tell(desk, "merchant", "key", "shop", "--port", service.port).strip()
    cheap, dear = (decide(service.port, key, n, f"new-{n}", a) for n, a in enumerate((1000, 80_000)))
    assert cheap["action"] == "approve"
    assert dear["action"] == "decline"
    assert dear["reasons"]
    shown = tell(desk, "merchant", "show", "shop", "--port", service.port)
    assert str(dear["model_version"]) in shown


def test_the_running_service_takes_operators_requests(desk: Path, service: Service) -> None:
    assert "observe" in tell(desk, "merchant", "mode", "shop", "observe", "--port", service.port)
    key = tell(desk, "merchant", "key", "shop", "--port", service.port).strip()
    assert decide(service.port, key, 10, "c", 100)["action"] == "not_reviewed"
    policy = desk / "policy.json"
    policy.write_text(avalist_here("policy", "example").stdout)
    tell(desk, "policy", "set", "shop", policy, "--port", service.port)
    tell(desk, "merchant", "mode", "shop", "live", "--port", service.port)


def test_a_model_is_trained_beside_the_service(desk: Path, service: Service) -> None:
    assert "is active" in run(desk, "train", "shop", "--threads", 1, "--port", service.port)


def test_tables_are_put_in_force_beside_the_service(desk: Path, service: Service) -> None:
    assert "news for 1 merchants" in tell(desk, "intel", "update", "--offline", "--port", service.port)
    key = tell(desk, "merchant", "key", "shop", "--port", service.port).strip()
    decide(service.port, key, 20, "c", 100)
    with Connection(service.port, key) as connection:
        facts = connection.json("GET", "/v1/decisions/live-20")["facts"]
    assert f"reference tables {facts['tables_version']}" in tell(desk, "intel", "status")
    (desk / "archives").mkdir()
    (desk / "archives" / "ip-location-db-asn-country-0.0.1.tgz").write_bytes(
        archive("asn-country", [("9.0.0.0/8", "DE")])
    )
    said = tell(desk, "intel", "update", "--from", desk / "archives", "--port", service.port)
    assert "@ip-location-db/asn-country" in said
    assert "left as it was: disposable e-mail domains" in said
    assert "stored too" in tell(desk, "intel", "status")
    assert "tables 1 are in force" in tell(desk, "intel", "use", 1, "--port", service.port)
    assert "no tables" in failing(desk, "intel", "use", 77, "--port", service.port)


def test_a_folder_in_use_says_who_has_it(desk: Path, service: Service) -> None:
    said = failing(desk, "import", "shop", desk / "payments.csv", "--mapping", desk / "mapping.toml")
    assert f"belongs to the running process {service.decider()}" in said


def test_a_wrong_port_is_guessed_at(desk: Path, service: Service) -> None:
    assert "give the service's --port" in failing(desk, "merchant", "show", "shop", "--port", 1)


def test_replay_verifies_what_was_served(desk: Path, service: Service) -> None:
    key = tell(desk, "merchant", "key", "shop", "--port", service.port).strip()
    decide(service.port, key, 99, "c", 100)
    said = run(desk, "replay", "--verify")
    assert "0 differ" in said
    assert "verified" in said


# --- what goes wrong, on a folder of its own ------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "payments.csv").write_text(table(20))
    return tmp_path


def import_(bench: Path) -> tuple[object, ...]:
    return "import", "shop", bench / "payments.csv", "--mapping", bench / "mapping.toml"


@pytest.mark.parametrize("column", ["time", "amount", "fraud", "card"])
def test_a_missing_column_is_named(bench: Path, column: str) -> None:
    (bench / "payments.csv").write_text(table(20).replace(column, "other", 1))
    said = failing(bench, *import_(bench))
    assert "no such column" in said
    assert f"got: {column}" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('fraud = "fraud"', 'frauds = "fraud"', "frauds"),
        ("customer.id", "customer.number", "no such field"),
        ('base_currency = "EUR"', 'base_currency = "XXX"', "ISO 4217"),
        ("[schema.entities]", "[schema.entities", "at line 14"),
        ("report_delay_d = [7, 7]", "report_delay_d = [7, 0]", "report_delay_d"),
    ],
)
def test_a_mapping_that_makes_no_sense(bench: Path, old: str, new: str, said: str) -> None:
    (bench / "mapping.toml").write_text(MAPPING.replace(old, new))
    assert said.lower() in failing(bench, *import_(bench)).lower()


def test_a_card_number_in_the_clear_is_refused_and_not_repeated(bench: Path) -> None:
    (bench / "mapping.toml").write_text(MAPPING.replace('hashed = ["card"]', ""))
    (bench / "payments.csv").write_text(f"{HEAD}\np1,2026-01-01T00:00:00,5,u,{CARD_NUMBER},0")
    said = failing(bench, *import_(bench))
    assert "a card number stands in the payload" in said
    assert CARD_NUMBER not in said


def test_too_little_history_to_train(bench: Path) -> None:
    run(bench, *import_(bench))
    assert "import more history" in failing(bench, "train", "shop", "--no-prior")
    assert "no merchant 'nobody'" in failing(bench, "train", "nobody")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("merchant", "show", "nobody"), "avalist merchant create nobody"),
        (("merchant", "create", "Big/Shop"), "small letters"),
        (("merchant", "key", "nobody", "--kind", "golden"), "live or import"),
        (("replay",), "start its writer first"),
    ],
)
def test_a_request_that_makes_no_sense(bench: Path, arguments: tuple[object, ...], said: str) -> None:
    assert said in failing(bench, *arguments)


def test_an_unknown_setting_is_named(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.live.environment", lambda: {"AVALIST_PROT": "1", "PATH": "", "COLUMNS": "200"})
    assert "AVALIST_PORT" in failing(bench, "merchant", "show", "shop")
