"""``avalist import --rebuild`` as its users live it: the service answers what it answered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from avalist.cli import app
from avalist.cli.bring_in import bring_in
from avalist.models.artefact import Artefact
from tests.histories import lived, parted, written
from tests.live import Connection, Service
from tests.shop import opened, payment_json

pytestmark = [pytest.mark.sockets, pytest.mark.slow]


def run(*words: object) -> str:
    """Run the command line in this process, which has loaded everything, and return what it said."""
    ran = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def test_a_live_merchant_gets_more_history(tmp_path: Path, artefact: Artefact) -> None:
    data, (first, second) = tmp_path / "data", parted(lived(5), 5)
    more = written(tmp_path / "more.jsonl", second)
    with opened(data) as shop:
        shop.create()
        shop.activate(artefact)
        bring_in(shop.installation, "shop", written(tmp_path / "first", first), None)
        key = shop.key()
        answers = [shop.decide(f"live-{n}").decision for n in range(20)]
    command = ("import", "shop", more, "--rebuild", "--data", data)
    said = run(*command)
    assert f"among {len(first) + 22} inputs and 20 decisions that were there" in said
    assert "generation 2 counts from now on" in said
    service = Service(data)
    with Connection(service.port, key) as connection:
        for n, answer in enumerate(answers):
            body = msgspec.json.encode(answer)
            assert connection.send("POST", "/v1/decisions", payment_json(f"live-{n}")) == (200, body)
            assert body in connection.send("GET", f"/v1/decisions/plive-{n}")[1]
        new = connection.json("POST", "/v1/decisions", payment_json("new"))
        assert (new["generation"], new["seq"]) == (2, len(first) + len(second) + 25)
    assert service.stop() == 0
    assert "20 first answers of earlier generations are kept" in run("replay", "--verify", "--data", data)
    assert "removed generation 1" in run("generations", "--drop", 1, "--data", data)
    assert "verified" in run("replay", "--verify", "--data", data)
    assert "nothing new" in run(*command)
