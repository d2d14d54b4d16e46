"""What the follower finds and says: parity, how far it is, and what comes of it."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from avalist.adapters.memory.log import MemoryLog
from avalist.app.followed import check_parity, tell, told
from avalist.app.snapshot import CODE
from avalist.app.writer import decode_decision
from avalist.cli.models import train
from avalist.cli.serve import up
from avalist.cli.status import status
from avalist.domain.errors import BadInput, ReplayMismatch
from avalist.follow import Follower
from avalist.models.artefact import Artefact
from tests.gateway import Gateway
from tests.integration.test_recovery import drive
from tests.live import avalist, free_port
from tests.shop import Shop, opened


def follow(shop: Shop) -> Follower:
    """Let a follower catch up and say so."""
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    tell(shop.installation.documents, follower.status(shop.clock.ms))
    return follower


def forge(shop: Shop, **changes: object) -> None:
    """Change the last decision in the log."""
    log = shop.installation.log
    assert isinstance(log, MemoryLog)
    decided = decode_decision(log._records[-1].core)
    core = msgspec.msgpack.encode(msgspec.structs.replace(decided, **changes))
    log._records[-1] = msgspec.structs.replace(log._records[-1], core=core)


def test_every_decision_of_a_history_is_checked_and_none_differs(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        drive(shop, artefact)
        made = sum(record.kind == 3 for _, record in shop.installation.log.read())
        found = follow(shop).states.parity.merchants.values()
    assert (sum(one.checked for one in found), [one.different for one in found]) == (made, [0, 0])


def test_features_that_differ_are_told_by_name_and_stop_training(shop: Shop) -> None:
    for n in range(3):
        shop.decide(n)
    features = bytearray(decode_decision(shop.installation.log._records[-1].core).features)  # type: ignore[attr-defined]
    column = shop.writer.merchant("shop").plan.columns.index("card__count__events__10m")
    features[4 * column : 4 * column + 4] = b"\0\0\0\0"
    forge(shop, features=bytes(features))
    follow(shop)
    with pytest.raises(ReplayMismatch, match=r"1 of 3 .* p2: 1 columns differ: card__count__events__10m 0 → 2"):
        check_parity(shop.installation.documents, "shop")
    check_parity(shop.installation.documents, "other")


def test_a_decision_of_another_engine_is_not_compared(shop: Shop) -> None:
    shop.decide(1)
    decided = decode_decision(shop.installation.log._records[-1].core)  # type: ignore[attr-defined]
    forge(shop, features=b"", decision=msgspec.structs.replace(decided.decision, engine=0))
    assert follow(shop).states.parity.merchants == {}


def test_what_other_code_found_stops_nothing(shop: Shop) -> None:
    shop.decide(1)
    forge(shop, features=b"")
    forge(shop, features=b"\0" * 4)
    said = follow(shop).status(0)
    tell(shop.installation.documents, msgspec.structs.replace(said, code="another"))
    check_parity(shop.installation.documents, "shop")
    tell(shop.installation.documents, said)
    with pytest.raises(ReplayMismatch):
        check_parity(shop.installation.documents, "shop")
    check_parity(shop.installation.documents, "shop", "/1")  # another log


def test_parity_goes_on_from_a_snapshot(shop: Shop) -> None:
    shop.decide(1)
    follow(shop).states.save()
    shop.decide(2)
    assert follow(shop).states.parity.merchants["shop"].checked == 2


def test_training_is_refused_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        said = follow(shop).status(0)
        said.parity["shop"].different = 1
        tell(shop.installation.documents, said)
    with pytest.raises(ReplayMismatch, match="avalist replay shop --verify"):
        train("shop", data=tmp_path)
    status(data=tmp_path)
    assert "parity of shop is broken: look with 'avalist replay shop --verify'" in capsys.readouterr().out


def test_status_shows_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        status(data=tmp_path)
        assert "has not run yet" in capsys.readouterr().out
        follow(shop)
        shop.decide(2)
    status(data=tmp_path)
    said = capsys.readouterr().out
    assert "shop" in said
    assert " 0 bytes behind" not in said


def test_metrics_show_what_the_follower_said(gateway: Gateway) -> None:
    shop = gateway.shop
    shop.decide(1)
    follow(shop).states.save()
    shop.decide(2)
    shop.installation.log.sync()
    shop.clock.ms += 5000
    assert gateway.metric("avalist_follower_behind_bytes") == 2  # records, in a log in memory
    assert gateway.metric("avalist_follower_silent_seconds") == 5
    assert gateway.metric("avalist_parity_checked_total") == 1
    follow(shop)
    assert gateway.metric("avalist_parity_checked_total") == 2
    assert gateway.metric("avalist_parity_different_total") == 0


def test_what_it_says_names_its_code(shop: Shop) -> None:
    assert told(shop.installation.documents) is None
    follow(shop)
    said = told(shop.installation.documents)
    assert said is not None
    assert said.code == CODE


# --- the parent of 'avalist up' ------------------------------------------------------------------------------------


@pytest.mark.sockets
def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInput, match="cannot listen") as refused:
            up(data=tmp_path, port=port)
    assert refused.value.got == f"127.0.0.1:{port}"


@pytest.mark.sockets
def test_a_decider_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
    (segment,) = (tmp_path / "log").glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:40])
    ended = avalist("up", "--data", tmp_path, "--port", free_port())
    assert ended.returncode == 1
    assert "the decider died" not in ended.stdout + ended.stderr  # the follower may have, of the same
    assert "records to" in ended.stderr
