"""All five roles over a real broker: a payment's trace, a webhook, a training, what they log and what they measure."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from avalist.adapters.file.secrets import FolderSecrets
from avalist.api.health import DeciderMetrics, FollowerMetrics, NotifierMetrics, RoleMetrics, TrainerMetrics
from avalist.api.metrics import GatewayMetrics
from avalist.app.dataset import collect
from avalist.app.health import kept
from avalist.app.learn import Done, last_done
from avalist.app.lineage import lineage
from avalist.app.network import keep_prior
from avalist.bootstrap import open_blobs, open_day_keys, open_documents
from avalist.cli import app
from avalist.cluster import destroy_day_keys, open_cluster, open_tools
from avalist.config import Settings, settings_from
from avalist.domain.alerts import Alert, AlertKind
from avalist.domain.core import AlertsSet
from avalist.enrich.seal import unseal
from avalist.models.prior import shipped
from avalist.ports.tracing import Said
from tests.cluster.checker import EVENT, Found, records
from tests.cluster.lived import DAYS, PER_DAY, live
from tests.cluster.running import Installation, Process, Role, until
from tests.collector import PARENT, TRACE, Collector, collecting
from tests.integration.test_webhooks_live import Receiver, signed
from tests.live import Connection
from tests.services.kafka import Broker
from tests.shop import DAY_MS, payment_json

pytestmark = [pytest.mark.sockets, pytest.mark.slow]

METRICS: dict[Role, Callable[[], GatewayMetrics | RoleMetrics]] = {
    "gateway": GatewayMetrics, "decider": DeciderMetrics, "follower": FollowerMetrics, "trainer": TrainerMetrics,
    "notifier": NotifierMetrics,
}  # fmt: skip
CLEAR = {
    "customer": {"id": "ann-clear", "email": "ann.clear@example.com", "phone": "+15550100777"}, "ip": "192.0.2.77",
    "method": {"kind": "card", "fingerprint": "fp-clear", "bin": "411111"},
    "billing": {"name": "Ann Clearname", "city": "Cleartown", "country": "DE"},
}  # fmt: skip
TELLING = ("ann-clear", "ann.clear", "15550100777", "192.0.2.77", "fp-clear", "Clearname", "Cleartown")
GONE = Alert(kind="missing", subject="ip", value=0.5, words="an alert that stood, and does so no longer")


class Roles:
    """One of each, with what they tell: a collector of spans, and a receiver of webhooks."""

    def __init__(self, folder: Path, broker: Broker, collector: Collector, receiver: Receiver) -> None:
        self.collector, self.receiver = collector, receiver
        self.installation = Installation(
            folder, broker.servers, copies=1, partitions=2, traces=collector.url, webhook_private=1, train_budget_s=100,
            health_s=30,
        )  # fmt: skip
        self.settings: Settings = settings_from({}, file=self.installation.config)
        live(self.settings, int(time.time() * 1000) - 60 * DAY_MS, AlertsSet((GONE,), 1))
        with closing(open_documents(self.settings)) as documents:
            documents.put_many([("shop", "vault", "ended", b"{}")], ends=[("shop", "vault", "ended", 1)])
        begun = self.installation.start("gateway", "decider", "follower", "trainer", "notifier")
        self.of: dict[Role, Process] = {one.role: one for one in begun}
        with self.installation.dismissed_on_failure(begun):
            with self.office() as office:
                self.key = office.json("POST", "/v1/admin", {"do": "issue_key", "merchant": "shop"})["key"]
            assert until(self.heard)

    def heard(self) -> bool:
        """Tell whether the gateway has heard of the key: it does a moment after it was issued."""
        with self.caller() as caller:
            return caller.send("GET", "/v1/decisions/none")[0] != 401

    def run(self, *words: object, exit_code: int = 0) -> str:
        """Run a command as an operator does; return what it prints."""
        env = {"AVALIST_CONFIG": str(self.installation.config), "AVALIST_PORT": str(self.of["gateway"].port)}
        ran = CliRunner().invoke(app, [*map(str, words)], env=env, catch_exceptions=exit_code != 0)
        assert ran.exit_code == exit_code, (words, ran.output)
        return ran.output if exit_code == 0 else str(ran.exception)

    def office(self) -> Connection:
        return self.installation.office(self.of["gateway"].port)

    def caller(self) -> Connection:
        return Connection(self.of["gateway"].port, self.key)

    def log_of(self, role: Role) -> list[dict[str, Any]]:
        whole, _, _ = self.of[role].said.read_text().rpartition("\n")  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, role: Role) -> set[str]:
        return {line["event"] for line in self.log_of(role)}

    def scraped(self, role: Role) -> list[Metric]:
        token = (self.installation.folder / "data" / "secrets" / "metrics.token").read_text().strip()
        with Connection(self.of[role].port, token) as scraper:
            return list(text_string_to_metric_families(scraper.send("GET", "/metrics")[1].decode()))

    def measured(self, role: Role) -> dict[str, float]:
        """Return what a role's metrics say, by name and labels."""
        families = self.scraped(role)
        return {
            sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
            for family in families for sample in family.samples
        }  # fmt: skip


@pytest.fixture(scope="module")
def roles(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with ExitStack() as stack:
        receiver = Receiver()
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
        thread.start()
        stack.callback(receiver.server_close)
        stack.callback(thread.join)
        stack.callback(receiver.shutdown)
        roles = Roles(tmp_path_factory.mktemp("roles"), kafka, stack.enter_context(collecting()), receiver)
        stack.callback(roles.installation.stop)
        yield roles


def test_a_trace_goes_from_the_gateway_over_kafka_to_the_decider_and_back(roles: Roles) -> None:
    with roles.caller() as caller:
        caller._headers["traceparent"] = PARENT
        assert not caller.json("POST", "/v1/decisions", payment_json("traced", **CLEAR))["degraded"]

    def spans() -> dict[str, Any]:
        return {one.name: one for one in roles.collector.spans if one.trace == TRACE}

    assert until(lambda: len(spans()) == 3), spans()
    asked, sent, decided = (spans()[name] for name in ("POST /v1/decisions", "send events", "decide"))
    assert (asked.service, sent.service, decided.service) == ("avalist-gateway", "avalist-gateway", "avalist-decider")
    assert (asked.parent, sent.parent, decided.parent) == (PARENT.split("-")[2], asked.id, sent.id)
    assert asked.attributes | sent.attributes | decided.attributes <= {f"avalist.{one}" for one in get_type_hints(Said)}
    told = b"".join(roles.collector.bodies)
    assert [clear for clear in TELLING if clear.encode() in told] == []


def sealed_parts(roles: Roles) -> list[Found]:
    """Return the records of decided payments in the topic, with what is sealed of them."""
    found = records({"bootstrap.servers": roles.settings.log.split("/")[2]}, f"{roles.installation.name}.decisions")
    return [one for one in found if one.kind == EVENT and one.core[1] == "etraced"]


def test_sealed_parts_in_the_topic_end_with_their_days_key_and_the_vault_has_them(roles: Roles) -> None:
    (one,) = sealed_parts(roles)
    secret = FolderSecrets(roles.settings.data / "secrets").merchant("shop")
    with pytest.raises(InvalidTag):
        unseal(secret, one.raw[3], one.raw[5])
    unwrapped = open_day_keys(roles.settings).unwrap(one.raw[5])
    assert unwrapped is not None
    assert b"Cleartown" in unseal(secret, one.raw[3], unwrapped)
    assert until(
        lambda: (
            "Cleartown" in roles.run("vault", "read", "shop", "--by", "payment_id", "--value", "ptraced", "--why", "x")
        )
    )
    with open_cluster(roles.settings) as cluster:
        later_ms = int(time.time() * 1000) + 40 * DAY_MS
        assert destroy_day_keys(cluster, later_ms - 20 * DAY_MS) == 0
        assert until(lambda: destroy_day_keys(cluster, later_ms) >= 1)  # two, about midnight
    assert open_day_keys(roles.settings).unwrap(one.raw[5]) is None
    assert "Cleartown" in roles.run("vault", "read", "shop", "--by", "payment_id", "--value", "ptraced", "--why", "x")


def test_the_follower_deletes_what_has_ended(roles: Roles) -> None:
    with closing(open_documents(roles.settings)) as documents:
        assert until(lambda: documents.get("shop", "vault", "ended") is None)


def test_the_notifier_sends_what_the_follower_queued(roles: Roles) -> None:
    url = f"http://127.0.0.1:{roles.receiver.server_port}/hooks"
    add = {"do": "add_webhook", "merchant": "shop", "url": url, "topics": ["outcome.recorded"]}
    with roles.office() as office:
        secret = office.json("POST", "/v1/admin/webhooks", add)["secret"]
    with roles.caller() as caller:
        caller.json("POST", "/v1/decisions", payment_json("hooked", **CLEAR))
        headers, body = first_told(caller, roles.receiver)
    assert signed(headers, body, secret)
    assert msgspec.json.decode(body)["data"]["payment_id"] == "phooked"
    attempts = {f"avalist_webhook_attempts_total/{outcome}" for outcome in ("again", "taken")}  # it refused the first
    assert until(lambda: attempts <= {name for name, count in roles.measured("notifier").items() if count >= 1})


def first_told(caller: Connection, receiver: Receiver) -> tuple[dict[str, str], bytes]:
    """Record captures until the follower has seen the webhook; return the first message that was taken."""
    for n in range(300):
        capture = {
            "type": "capture", "event_id": f"w{n}", "payment_id": "phooked", "occurred_at": "2026-11-26T10:00:00Z"
        }  # fmt: skip
        caller.json("POST", "/v1/events", capture)
        with suppress(Exception):
            return receiver.got.get(timeout=1)
    raise AssertionError("the webhook was never called")


def test_the_trainer_trains_whose_time_has_come_and_its_verdict_stands_in_the_log(roles: Roles) -> None:
    done: list[Done] = []

    def ended() -> bool:
        documents = open_documents(roles.settings)
        with suppress(Exception):
            done[:] = filter(None, [last_done(documents, "shop")])
        documents.close()
        return bool(done)

    assert until(ended, 300, 0.5), roles.log_of("trainer")
    assert (done[0].cause, done[0].verdict) == ("first", "staged"), done
    with open_tools(roles.settings, "shop") as tools:
        _, steps = lineage(tools.read(), "shop")
        assert tools.load(done[0].version).artefact.data.frauds > 40
    assert [(step.what, step.version) for step in steps] == [("staged", done[0].version)]
    assert until(lambda: roles.measured("trainer").get("avalist_trainings_total/staged") == 1.0)
    (learnt,) = [line for line in roles.log_of("trainer") if line["event"] == "learnt" and "verdict" in line]
    assert (learnt["merchant"], learnt["verdict"]) == ("shop", "staged")


def test_the_trainer_checks_health_and_what_changed_stands_in_the_log(roles: Roles) -> None:
    assert until(lambda: "avalist_health_level_z/shop" in roles.measured("trainer"), pause_s=0.5), roles.log_of(
        "trainer"
    )
    with open_tools(roles.settings, "shop") as tools:

        def same() -> bool:  # another check may come between
            found, stand = kept(tools.documents, "shop"), collect(tools.read, "shop").background.alerts
            told = roles.measured("trainer")
            shown = sum(told[f"avalist_health_alerts/{kind}/shop"] for kind in get_args(AlertKind))
            return found is not None and GONE not in stand and stand == found.alerts and shown == len(stand)

        assert until(same)
    checked = [line for line in roles.log_of("trainer") if line["event"] == "checked" and "merchant" in line]
    assert (checked[0]["merchant"], checked[0]["changed"]) == ("shop", True)


def test_a_model_that_waits_is_let_in_through_the_gateway_and_decides(roles: Roles) -> None:
    with open_tools(roles.settings, "shop") as tools:
        (step,) = lineage(tools.read(), "shop")[1]
        plan_hash = tools.load(step.version).artefact.plan_hash
    ask = {"do": "activate_model", "merchant": "shop", "version": step.version, "plan_hash": plan_hash}
    with roles.office() as office, roles.caller() as caller:
        office.json("POST", "/v1/admin", ask)
        decision = caller.json("POST", "/v1/decisions", payment_json("scored", **CLEAR))
    assert decision["model_version"] == step.version


def test_an_operator_reads_a_merchants_past_over_kafka_and_changes_its_policy(roles: Roles, tmp_path: Path) -> None:
    run = roles.run
    assert "decides from now on" in run("policy", "preset", "shop", "balance", "--no-solve")
    assert "expected" in run("policy", "solve", "shop")
    assert "expected" in run("policy", "show", "shop")
    assert len(run("policy", "history", "shop").splitlines()) >= 7  # of a table: default, policy, solution
    assert "the new policy: expected" in run("policy", "preview", "shop", "protect")
    assert "decides from now on" in run("policy", "switch-back", "shop", "--no-solve")
    run("waves", "shop")
    assert "checks of" in run("health", "shop")
    run("backtest", "shop", "--threshold", 0.5, "--out", tmp_path / "backtest")
    run("report", "shop", "--folds", 1, "--out", tmp_path / "report")
    run("models", "export", "shop", tmp_path / "model")
    made = msgspec.json.decode((tmp_path / "backtest" / "backtest.json").read_bytes())
    assert made["whole"]["payments"] >= DAYS * PER_DAY
    assert {"backtest/backtest.html", "report/report.html", "model/score.py"} <= {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
    }


def test_an_operator_looks_into_an_installation_over_kafka(roles: Roles, tmp_path: Path) -> None:
    assert roles.run("status").count(" s ago") == 2
    assert "after the snapshot" in roles.run("log", "show")
    assert "card__count__events__10m" in roles.run("features", "list", "shop")
    assert "decided" in roles.run("features", "show", "shop", "pscored")
    exported = tmp_path / "shop.parquet"
    assert "payments to" in roles.run("features", "export", "shop", exported)
    assert exported.exists()
    assert "every decision equals the log" in roles.run("replay", "--verify")
    assert "trained 1 of 1 merchants" in roles.run("train", "--all", "--no-activate")


@pytest.mark.parametrize("words", ["import shop FILE", "features add shop FILE", "log retain 90d -y"])
def test_a_command_that_needs_a_log_in_files_says_so(roles: Roles, tmp_path: Path, words: str) -> None:
    file = tmp_path / "file.toml"
    file.write_text("")
    assert "log in files" in roles.run(*words.replace("FILE", str(file)).split(), exit_code=1)


def test_a_training_over_kafka_meets_the_installations_own_prior(roles: Roles) -> None:
    with open_tools(roles.settings, "shop") as tools:
        assert tools.network is None
    keep_prior(open_blobs(roles.settings), shipped())
    try:
        with open_tools(roles.settings, "shop") as tools:
            assert tools.network is not None
            assert tools.network.version == shipped().version
    finally:
        keep_prior(open_blobs(roles.settings), None)


@pytest.mark.parametrize("role", METRICS)
def test_a_role_serves_the_metrics_of_its_catalogue(roles: Roles, role: Role) -> None:
    wanted = {one.name for one in METRICS[role]().registry.collect()}
    served = {one.name for one in roles.scraped(role)}
    assert {name for name in served if name.startswith("avalist") and not name.endswith("_created")} == wanted
    if role != "gateway":
        assert until(lambda: roles.measured(role)["avalist_partitions"] == 2.0)


def test_a_role_is_not_ready_before_it_has_joined(roles: Roles) -> None:
    late = Process("notifier", roles.installation.config)
    seen: list[int] = []

    def ready() -> bool:
        with suppress(OSError, http.client.HTTPException), Connection(late.port, "") as connection:
            seen.append(connection.send("GET", "/readyz")[0])
        return seen[-1:] == [200]

    try:
        assert until(ready, pause_s=0.01)
    finally:
        assert late.stop() == 0
    assert until(lambda: roles.measured("notifier")["avalist_partitions"] == 2.0)  # it has them all again
    assert {"took over", "handed over"} <= roles.events("notifier")


def test_what_roles_log_are_json_lines_without_personal_data(roles: Roles) -> None:
    """It comes last: it stops them all."""
    for one in roles.of.values():
        assert one.stop() == 0
    for role in METRICS:
        told = roles.log_of(role)
        assert {line["role"] for line in told} == {role}
        assert all({"event", "level", "timestamp"} <= set(line) for line in told)
        assert {"starting", "ready", "stopping", "stopped"} <= {line["event"] for line in told}
        text = json.dumps(told)
        assert [clear for clear in TELLING if clear in text] == []
    assert {"took over", "caught up", "handed over"} <= roles.events("decider")
    assert {"follows", "caught up", "handed over"} <= roles.events("follower")


def test_documents_are_made_again_from_the_topics(roles: Roles) -> None:
    """It comes after the last: no follower runs."""
    with closing(open_documents(roles.settings)) as documents:
        before = documents.get("shop", "decisions", "ptraced/pre_auth")
        documents.clear("shop", "decisions")
        assert documents.get("shop", "decisions", "ptraced/pre_auth") is None
        assert "documents of 1 merchants to sqlite" in roles.run("documents", "rebuild")
        assert before is not None
        assert documents.get("shop", "decisions", "ptraced/pre_auth") == before
