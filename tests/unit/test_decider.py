"""When payments are decided together: at once in a quiet moment, later where waiting for more pays."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from avalist.api import decider
from avalist.api.decider import Decider


class Recorder:
    """A writer that decides nothing and takes note of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def decide_many(self, asked: list[Any]) -> list[Any]:
        self.batches.append(len(asked))
        return [ValueError()] * len(asked)


async def decided(counts: list[int], pause_s: float = 0.0) -> list[int]:
    """Return the batches that payments are decided in, so many of which come at once."""
    writer, commit = Recorder(), SimpleNamespace(idle=True, on_synced=None)
    here = Decider(writer, commit)  # type: ignore[arg-type]
    done = SimpleNamespace(done=lambda: False, set_exception=lambda error: None)
    for count in counts:
        for _ in range(count):
            here.ask(None, 1.0, done)  # type: ignore[arg-type]
        await asyncio.sleep(pause_s)
    while sum(writer.batches) < sum(counts):
        await asyncio.sleep(0.01)
    return writer.batches


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "GATHER_S", 0.5)


def test_a_payment_of_a_quiet_moment_is_decided_at_once() -> None:
    assert asyncio.run(decided([1, 1, 1], 0.001)) == [1, 1, 1]


def test_under_load_payments_wait_for_others() -> None:
    *_, last = asyncio.run(decided([8] * 20 + [1, 1, 1], 0.001))
    assert last == 3


def test_as_many_as_came_together_lately_wait_for_nobody() -> None:
    assert asyncio.run(decided([8] * 30, 0.001))[-5:] == [8] * 5


def test_a_full_batch_waits_for_nobody() -> None:
    assert asyncio.run(decided([8] * 20 + [decider.MOST], 0.0))[-1] == decider.MOST
