"""Keys from the command line, in this process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avalist.app.administer import CreateMerchant
from avalist.cli.merchants import app, seconds
from avalist.domain.errors import BadInput
from tests.shop import SCHEMA, opened


@pytest.fixture
def data(tmp_path: Path) -> str:
    with opened(tmp_path) as shop:
        shop.installation.administration.carry_out(CreateMerchant("shop", SCHEMA), 0)
    return str(tmp_path)


def run(data: str, *words: str) -> str:
    ran = CliRunner().invoke(app, [*words, "--data", data], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output.strip()


def test_a_key_is_issued_listed_rotated_and_revoked(data: str) -> None:
    text = run(data, "key", "shop", "--scope", "outcomes:write", "--rate", "50", "--lifetime", "30d")
    listed = run(data, "keys", "shop")
    id = listed.split()[0]
    assert re.fullmatch(r"[0-9a-f]{12}", id)
    assert text.startswith("av_live_shop_")
    assert text not in listed
    assert "for shop: outcomes:write" in listed
    assert "50 requests a second" in listed
    assert run(data, "key-rotate", "shop", id, "--overlap", "0s") != text
    run(data, "key-revoke", "shop", id)
    assert run(data, "keys", "shop").count("outcomes:write") == 2


def test_a_sandbox_key_is_listed_with_its_twin(data: str) -> None:
    run(data, "key", "shop", "--kind", "sandbox")
    assert "for shop~1: decisions:write, decisions:read, events:write, outcomes:write" in run(data, "keys", "shop")


@pytest.mark.parametrize("words", [["--kind", "dead"], ["--scope", "all"], ["--lifetime", "soon"]])
def test_what_makes_no_sense_is_refused_with_what_does(data: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        run(data, "key", "shop", *words)
    assert error.value.expected


@pytest.mark.parametrize("key", ["", "abc", "ABCDEFABCDEF", "0123456789abc"])
def test_what_is_no_keys_id_is_refused(data: str, key: str) -> None:
    with pytest.raises(BadInput, match="not a key's id"):
        run(data, "key-revoke", "shop", key)


def test_spans_of_time() -> None:
    assert [seconds(text, "x") for text in ("2d", "3h", "4m", "5s")] == [172_800, 10_800, 240, 5]
