"""What ``deploy/compose.yaml`` starts is what the tests start, on loopback; its first lines name settings."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from avalist.cli.run import run_app
from avalist.config import Settings, settings_from
from tests.docs.pages import ROOT, read
from tests.services.kafka import VERSION

TEXT = read("deploy/compose.yaml")
SERVICES: dict[str, Any] = msgspec.yaml.decode(TEXT)["services"]


def test_the_versions_are_those_of_the_tests() -> None:
    (gateway,) = re.findall(r"versity/versitygw (v\S+)", (ROOT / "tests/services/versitygw/go.mod").read_text())
    images = {name: one.get("image") for name, one in SERVICES.items()}
    assert images["s3"] == f"versity/versitygw:{gateway}"
    assert {images[f"kafka-{n}"] for n in (1, 2, 3)} == {f"apache/kafka:{VERSION}"}


def test_every_port_is_on_loopback() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert len(ports) == 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_its_first_lines_name_settings() -> None:
    named = re.findall(r"export AVALIST_(\w+)=", TEXT)
    assert named == ["DOCUMENTS", "BLOBS"]
    assert {name.lower() for name in named} <= set(Settings.__struct_fields__)


def test_every_role_runs_with_settings_that_fit() -> None:
    roles = {name: one for name, one in SERVICES.items() if "roles" in one.get("profiles", ())}
    assert set(roles) == {one.name for one in run_app.registered_commands}
    for name, one in roles.items():
        assert one["command"] == ["avalist", "run", name]
        settings = settings_from({k: v for k, v in one["environment"].items() if k.startswith("AVALIST_")})
        assert settings.log.removeprefix("kafka://").split("/")[0].split(",") == [f"kafka-{n}:19092" for n in (1, 2, 3)]
