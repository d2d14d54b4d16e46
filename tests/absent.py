"""What tests do for want of a tool: they skip and say why, or fail where ``TEST_REQUIRE=java,node`` names it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip(tool: str, why: object) -> NoReturn:
    """Skip a test that needs `tool`; fail it where the tool must be there."""
    if tool in os.environ.get("TEST_REQUIRE", "").split(","):
        pytest.fail(f"TEST_REQUIRE names {tool}: {why}", pytrace=False)
    pytest.skip(str(why))
