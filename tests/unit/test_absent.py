"""A tool that is not there: its tests skip, or fail where it is required."""

from __future__ import annotations

import pytest

from tests.absent import skip


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", pytest.skip.Exception), ("node", pytest.skip.Exception), ("node,java", pytest.fail.Exception)],
)
def test_what_is_required_fails(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[pytest.skip.Exception | pytest.fail.Exception]
) -> None:
    monkeypatch.setenv("TEST_REQUIRE", required)
    with pytest.raises(outcome, match="not on PATH: java"):
        skip("java", "not on PATH: java")
