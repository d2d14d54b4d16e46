"""How roles tell what happens: JSON lines, the same keys, nothing of a person."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import typer

from avalist.api.health import TrainerMetrics
from avalist.cli.health import _tell
from avalist.cli.roles import Role, telling
from avalist.config import Settings
from avalist.domain.errors import BadInput, Unavailable
from tests.shop import opened


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave logging and threads as pytest has them."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    level = logging.root.level
    monkeypatch.setattr(logging.root, "level", level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_role_tells_how_it_begins_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with telling("trainer", merchant="shop") as say:
        say.info("learnt", verdict="staged")
    told = lines(capsys)
    assert [one["event"] for one in told] == ["starting", "learnt", "stopped"]
    assert {(one["role"], one["merchant"], one["level"]) for one in told} == {("trainer", "shop", "info")}
    assert all(one["timestamp"].endswith("Z") for one in told)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("ann@example.com"), "ValueError at test_roles.py:"),
        (BadInput("no brokers", field="log", got="kafka://u:secret@h"), "BadInput: no brokers"),
    ],
)
def test_what_ends_a_role_is_told_without_a_strangers_words(
    capsys: pytest.CaptureFixture[str], error: Exception, reason: str
) -> None:
    with pytest.raises(typer.Exit), telling("decider"):
        raise error
    last = lines(capsys)[-1]
    assert (last["event"], last["level"]) == ("failed", "critical")
    assert last["reason"].startswith(reason)
    assert "secret" not in str(last)


def test_what_ends_a_role_says_what_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), telling("decider"):
        raise BadInput("no brokers", field="log", expected="kafka://host:port/name", got="file:")
    last = lines(capsys)[-1]
    assert (last["field"], last["expected"]) == ("log", "kafka://host:port/name")
    assert "ann" not in last["reason"]
    assert "secret" not in last["reason"]


def test_what_libraries_log_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with telling("gateway"):
        try:
            raise KeyError("ann@example.com")
        except KeyError:
            logging.getLogger("a_library").exception("a decision broke")
        logging.getLogger("noisy").info("nothing that matters")
    (told,) = [one for one in lines(capsys) if "logger" in one]
    assert (told["event"], told["level"], told["logger"]) == ("a decision broke", "error", "a_library")
    assert told["reason"].startswith("KeyError at")


def test_a_thread_that_breaks_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, str] = {}
    with telling("gateway"):
        thread = threading.Thread(target=lambda: nothing["ann@example.com"])
        thread.start()
        thread.join()
    assert [one["reason"][:8] for one in lines(capsys) if one["event"] == "broke"] == ["KeyError"]


def test_a_store_that_does_not_answer_is_noted_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise Unavailable("no documents")

    with telling("trainer") as say:
        role = Role(Settings(), None, say, TrainerMetrics())
        role.attempt(fails)
    assert [(one["event"], one["reason"]) for one in lines(capsys)[1:2]] == [("waits for a store", "no documents")]
    assert role.metrics.notes.labels("waits for a store")._value.get() == 1.0


def test_a_merchant_that_cannot_be_checked_keeps_no_other_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
    _tell(Settings(data=tmp_path), ["nobody", "shop"], 7)
    told = {one["merchant"]: one for one in lines(capsys) if "merchant" in one}
    assert (told["nobody"]["event"], told["nobody"]["level"]) == ("cannot check", "error")
    assert (told["shop"]["event"], told["shop"]["alerts"], told["shop"]["changed"]) == ("checked", 0, False)


LEAVING = """
import os, signal, sys, threading
from types import SimpleNamespace
from avalist.api.health import TrainerMetrics
from avalist.cli import roles
from avalist.config import Settings

roles.PATIENCE_S, roles.LEAVE_S = 0.2, {"store": 600.0, "other": 1.0}[sys.argv[1]]
closed, never = threading.Event(), threading.Event()
secrets = SimpleNamespace(metrics_token=lambda: "token")
cluster = SimpleNamespace(secrets=secrets, documents=SimpleNamespace(close=closed.set))
with roles.telling("follower") as say:
    role = roles.Role(Settings(host="127.0.0.1", port=0), cluster, say, TrainerMetrics())
    for _ in role.turns(lambda: True):
        os.kill(os.getpid(), signal.SIGTERM)
        {"store": closed, "other": never}[sys.argv[1]].wait()  # what does not answer
"""


@pytest.mark.sockets
@pytest.mark.parametrize(("silent", "code", "last"), [("store", 0, "stopped"), ("other", 1, "broke off")])
def test_a_role_ends_though_something_does_not_answer(silent: str, code: int, last: str) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING, silent], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stderr.splitlines()[-1])["event"]) == (code, last)
