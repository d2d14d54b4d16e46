"""A tool that is not there: its tests skip, or fail where it is required."""

from __future__ import annotations

import pytest

from tests.absent import skip


@pytest.mark.parametrize(("required", "outcome"), [("", "Skipped"), ("node", "Skipped"), ("node,java", "Failed")])
def test_what_is_required_fails(monkeypatch: pytest.MonkeyPatch, required: str, outcome: str) -> None:
    monkeypatch.setenv("TEST_REQUIRE", required)
    try:
        skip("java", "not on PATH: java")
    except BaseException as raised:  # noqa: BLE001  pytest's outcomes are no Exceptions
        said = raised
    assert (type(said).__name__, "not on PATH: java" in str(said)) == (outcome, True)
