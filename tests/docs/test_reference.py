"""The reference tells what the code does: settings, metrics, errors, endpoints, events, schema, commands, features."""

import re
from collections.abc import Iterator
from typing import Any, cast, get_args

import click
import pytest
import typer.main
from prometheus_client.metrics import MetricWrapperBase
from starlette.routing import Route

from avalist.adapters.file import segment
from avalist.adapters.file.log import SEGMENT_BYTES
from avalist.api.errors import problem_of
from avalist.api.health import DeciderMetrics, FollowerMetrics, NotifierMetrics, TrainerMetrics
from avalist.api.metrics import EmbeddedMetrics, GatewayMetrics
from avalist.api.openapi import document
from avalist.api.operations import MOST_EVENTS, OPERATIONS, Operation
from avalist.api.routes.decisions import _MAX_DEADLINE_MS
from avalist.api.routes.rest import rest
from avalist.api.service import Service
from avalist.api.version import KNOWN
from avalist.app.administer import AdminRequest
from avalist.app.merchant import EVENT_MEMORY_MS, PAYMENT_MEMORY_MS
from avalist.app.rehearse import WORDS
from avalist.app.spent import MONITORS
from avalist.app.train import FEWEST_FRAUDS
from avalist.app.vault import FIELDS
from avalist.app.webhook_office import WebhookRequest
from avalist.cli import app
from avalist.config import Settings
from avalist.domain import errors as e
from avalist.domain import events as ev
from avalist.domain.core import Control
from avalist.domain.decisions import Action, Mode
from avalist.domain.delay import LONGEST_D
from avalist.domain.keys import ALL_SCOPES, SCOPES, KeyKind
from avalist.domain.records import FoldKind, RecordKind
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS
from avalist.domain.warnings import MEANINGS
from avalist.domain.webhooks import TOPICS, WAITS_S
from avalist.features.declare import DISTINCT_EXACT, Aggregate
from avalist.features.derive import PRIOR_PAYMENTS, derive
from avalist.ports.tracing import Said
from tests.docs.fields import tables
from tests.docs.pages import code, headings, read, rows, section

REFERENCE = "docs/reference/"
EVENTS, API = read(REFERENCE + "events.md"), read(REFERENCE + "api.md")
LOG_FORMAT, ERRORS = read(REFERENCE + "log-format.md"), read(REFERENCE + "errors.md")


def first_cells(text: str) -> list[str]:
    return [code(row[0])[0] for row in rows(text) if code(row[0])]


def tag(kind: Any) -> str:
    return str(kind.__struct_config__.tag)


def test_settings() -> None:
    shown = {row[1].strip("`"): (row[0].strip("`"), row[3].strip("`")) for row in rows(read(REFERENCE + "settings.md"))}
    defaults = Settings()
    expected = {f: (f"AVALIST_{f.upper()}", str(getattr(defaults, f))) for f in Settings.__struct_fields__}
    assert shown == expected


SERVED: dict[str, Any] = {
    "up": EmbeddedMetrics, "gateway": GatewayMetrics, "decider": DeciderMetrics, "follower": FollowerMetrics,
    "trainer": TrainerMetrics, "notifier": NotifierMetrics,
}  # fmt: skip


def metric_row(metric: MetricWrapperBase) -> tuple[str, str, str]:
    name = metric._name + ("_total" if metric._type == "counter" else "")
    return name, str(metric._type), ", ".join(f"`{label}`" for label in metric._labelnames) or "–"


def test_metrics() -> None:
    text = read(REFERENCE + "metrics.md")
    made = {by: cast(list[MetricWrapperBase], [*kind().registry._collector_to_names]) for by, kind in SERVED.items()}
    actual = {(by, *metric_row(m)) for by, metrics in made.items() for m in metrics}
    shown = {(by, row[0].strip("`"), row[1], row[2]) for row in rows(text) for by in row[5].split(", ")}
    assert shown == actual
    assert all(row[3] and row[4] for row in rows(text))
    assert headings(section(text, "What to do")) == [row[0].strip("`") for row in rows(text)]


def test_every_role_is_a_command_and_serves_metrics() -> None:
    assert {name.removeprefix("avalist run ") for name in COMMANDS if name.startswith("avalist run ")} == {*SERVED} - {
        "up"
    }


def test_what_spans_say() -> None:
    text = section(read("docs/how-to/observe.md"), "Traces")
    assert {one for one in code(text) if re.fullmatch(r"avalist\.[a-z]+", one)} == {
        f"avalist.{name}" for name in Said.__annotations__
    }


def all_errors(kind: type[e.AvalistError]) -> Iterator[type[e.AvalistError]]:
    for below in kind.__subclasses__():
        if below.__module__ == e.__name__:
            yield below
            yield from all_errors(below)


def test_errors() -> None:
    problems = [problem_of(kind("x")) for kind in all_errors(e.AvalistError)]
    shown = {(code(row[0])[0], int(row[1])) for row in rows(section(ERRORS, "Which may be retried"))}
    assert shown == {(p.type, p.status) for p in problems}
    assert {p.type.rpartition("#")[2] for p in problems} <= set(headings(ERRORS))


def test_endpoints() -> None:
    routes = cast(list[Route], rest(cast(Service, None)).routes)
    paths = {f"{m} {r.path.replace(':path', '')}" for r in routes for m in (r.methods or ()) if m != "HEAD"}
    documented = {h for h in headings(API) if h.split()[0] in ("GET", "POST", "PUT", "DELETE")}
    assert documented == paths | {"POST /v1/decisions"} == {f"{op.method} {op.path}" for op in OPERATIONS}


def test_limits_and_headers_of_the_api() -> None:
    assert f"1 to {_MAX_DEADLINE_MS}" in section(API, "POST /v1/decisions")
    assert "`Avalist-Deadline-Ms`" in section(API, "POST /v1/decisions")
    assert f"up to {MOST_EVENTS:,}" in section(API, "POST /v1/events")
    assert f"({Settings().body_limit_bytes >> 10} KiB by default)" in API


def test_keys_and_requests_of_operators() -> None:
    assert set(first_cells(section(API, "Keys"))) == set(get_args(KeyKind))
    for endpoint, requests in (("POST /v1/admin", AdminRequest), ("POST /v1/admin/webhooks", WebhookRequest)):
        shown = {code(row[0])[0]: row[1] for row in rows(section(API, endpoint)) if code(row[0])}
        for request in get_args(requests):
            fields = set(request.__struct_fields__) - {"merchant"}
            assert fields <= set(code(shown.pop(tag(request)))), tag(request)
        assert not shown


def test_topics_of_webhooks() -> None:
    page = read("docs/how-to/webhooks.md")
    assert set(first_cells(section(page, "What is told"))) == set(TOPICS)
    waits = ", ".join(f"{s} s" if s < 60 else f"{s // 60} min" if s < 3600 else f"{s // 3600} h" for s in WAITS_S)
    assert " and ".join(waits.rsplit(", ", 1)) in page


def test_fields_of_the_vault() -> None:
    assert set(FIELDS) <= set(code(section(read("docs/concepts/personal-data.md"), "The vault")))


def test_scopes_and_what_each_kind_of_key_has() -> None:
    shown = {code(row[0])[0]: code(row[2]) for row in rows(section(API, "Scopes"))}
    assert shown == {scope: [kind for kind, has in SCOPES.items() if scope in has] for scope in ALL_SCOPES}


def test_warnings() -> None:
    shown = {code(row[0])[0]: (*code(row[1]), "")[0] for row in rows(section(API, "Warnings"))}
    assert shown == {code.value: meaning.field for code, meaning in MEANINGS.items()}


@pytest.mark.parametrize("op", OPERATIONS, ids=[op.id for op in OPERATIONS])
def test_every_status_of_an_operation_is_listed(op: Operation) -> None:
    text = section(API, f"{op.method} {op.path}")
    listed = {status for row in rows(text) for status in re.findall(r"\b[2-5]\d\d\b", row[0])}
    assert listed == set(document()["paths"][op.path][op.method.lower()]["responses"])
    assert f"`{op.access}`" in text or op.access in ("admin", "metrics", "public")


def test_test_payments_and_versions() -> None:
    assert set(first_cells(section(read("docs/how-to/integrate.md"), "Test payments"))) == WORDS
    assert set(first_cells(section(API, "Versions"))) == set(KNOWN)


def test_actions_and_modes() -> None:
    policy = read("docs/concepts/policy.md")
    assert set(first_cells(section(policy, "Actions"))) == {action.value for action in Action}
    assert set(first_cells(section(policy, "Modes"))) == set(get_args(Mode))


PARTS = (*get_args(ev.CartItem), *get_args(ev.Method), *get_args(ev.WireEvent))


@pytest.mark.parametrize("kind", PARTS, ids=tag)
def test_every_event_and_part_has_a_section(kind: Any) -> None:
    text = section(EVENTS, kind.__name__)
    assert tag(kind) in code(text)
    assert f"{kind.__module__}.{kind.__name__}" in tables(text)


def test_outcomes() -> None:
    shown = " ".join(row[0] for row in rows(section(EVENTS, "Outcomes").partition("###")[0]))
    assert set(code(shown)) - {"opened", "fraud"} == {tag(kind) for kind in get_args(ev.OutcomeEvent)}


def test_the_default_schema() -> None:
    text = section(read(REFERENCE + "schema.md"), "The default: digital goods")
    declared = [d.name for d in DIGITAL_GOODS.entities] + [d.name for d in DIGITAL_GOODS.categories]
    assert set(declared) <= set(code(text))


def test_log_format() -> None:
    numbered = {(row[0].strip("`"), int(row[1])) for row in rows(LOG_FORMAT) if len(row) > 1 and row[1].isdigit()}
    assert {(k.name, k.value) for k in (*RecordKind, *FoldKind)} <= numbered
    shown = {code(row[0])[0]: set(code(row[1])) for row in rows(section(LOG_FORMAT, "Control events"))}
    assert shown == {tag(control): set(control.__struct_fields__) for control in get_args(Control)}
    assert f"`{segment.MAGIC.decode()}`" in LOG_FORMAT
    assert f"version, {segment.VERSION}" in LOG_FORMAT
    assert f"({segment.HEADER.size} bytes)" in LOG_FORMAT
    assert f"{SEGMENT_BYTES >> 20} MiB" in LOG_FORMAT


def test_aggregates() -> None:
    text = read(REFERENCE + "features.md")
    assert first_cells(section(text, "Aggregates")) == list(get_args(Aggregate))


def test_features_that_are_named_exist() -> None:
    columns = {feature.name for feature in derive(DIGITAL_GOODS)}
    pages = (REFERENCE + "features.md", "docs/concepts/features.md")
    examples = {c for page in pages for c in code(read(page)) if re.fullmatch(r"[a-z+]+__\w+", c)}
    assert examples - {"entity__aggregate__field__window"} <= columns
    assert len(examples) > 3


def test_figures_in_the_concepts() -> None:
    features, models = read("docs/concepts/features.md"), read("docs/concepts/models.md")
    assert f"exact up to {DISTINCT_EXACT} live" in features
    assert f"a weight of {PRIOR_PAYMENTS:.0f} payments" in features
    assert f"`memory_d` days ({DIGITAL_GOODS.memory_d} by default)" in features
    assert f"at least {FEWEST_FRAUDS} reported frauds" in models
    assert f"the last {PAYMENT_MEMORY_MS // DAY_MS} days" in EVENTS
    assert f"for {EVENT_MEMORY_MS // DAY_MS} days at least" in read("docs/how-to/integrate.md")
    assert f"at most {LONGEST_D:.0f} days" in read("docs/how-to/import.md")


def commands(group: click.Group, prefix: str = "avalist") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if not command.hidden:
            path = f"{prefix} {name}"
            subgroup = cast(click.Group, command) if hasattr(command, "commands") else None
            yield from commands(subgroup, path) if subgroup is not None else [(path, command)]


COMMANDS = dict(commands(cast(click.Group, typer.main.get_command(app))))
"""Every command by its full name."""


def options(command: click.Command) -> set[str]:
    shown = (p for p in command.params if p.param_type_name == "option")
    return {name for p in shown for name in (*p.opts, *p.secondary_opts)} - {"--help"}


def test_every_command_is_documented_and_no_other() -> None:
    assert {h for h in headings(read(REFERENCE + "cli.md")) if h.startswith("avalist ")} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_a_command(name: str) -> None:
    text = section(read(REFERENCE + "cli.md"), name)
    shown = {option for row in rows(text) for option in code(row[0])}
    actual = options(COMMANDS[name])
    assert shown - {"--no-detach"} == actual - {"--no-detach"}


def test_the_programmes_of_card_schemes_are_told_as_they_are() -> None:
    told = rows(section(read("docs/concepts/policy.md"), "Card schemes"))
    assert [row[:4] for row in told] == [
        [f"`{scheme}`", one.programme, f"{one.cases:,}", f"{one.bps:.0f} bps"] for scheme, one in MONITORS.items()
    ]
    assert [("report" in row[4], "before" in row[5]) for row in told] == [
        (one.reports, one.before) for one in MONITORS.values()
    ]
