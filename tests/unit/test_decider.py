"""When payments are decided together: at once in a quiet moment, else when the log has synced or is slow."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from avalist.api import decider
from avalist.api.decider import Decider


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No payment is tired of waiting, however slow this machine is."""
    monkeypatch.setattr(decider, "PATIENCE_S", 60.0)


class Recorder:
    """A writer that decides nothing and takes note of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def decide_many(self, asked: list[Any]) -> list[Any]:
        self.batches.append(len(asked))
        return [ValueError()] * len(asked)


async def decided(counts: list[int], *, idle: bool, synced: bool = False) -> list[int]:
    """Return the batches that payments are decided in, so many of which come at once; then the log is `synced`."""
    writer, commit = Recorder(), SimpleNamespace(idle=idle, on_synced=None)
    here = Decider(writer, commit)  # type: ignore[arg-type]
    done = SimpleNamespace(done=lambda: False, set_exception=lambda error: None)
    for count in counts:
        for _ in range(count):
            here.ask(None, 1.0, done)  # type: ignore[arg-type]
        await asyncio.sleep(0)
    if synced:
        commit.on_synced()
        await asyncio.sleep(0)
    return writer.batches


def test_a_payment_of_a_quiet_moment_is_decided_at_once() -> None:
    assert asyncio.run(decided([1, 3, 1], idle=True)) == [1, 3, 1]


def test_payments_wait_while_the_log_syncs() -> None:
    assert asyncio.run(decided([1, 3], idle=False)) == []


def test_what_came_during_a_sync_is_decided_together_after_it() -> None:
    assert asyncio.run(decided([1, 3], idle=False, synced=True)) == [4]


def test_a_full_batch_waits_for_nothing() -> None:
    assert asyncio.run(decided([decider.MOST], idle=False)) == [decider.MOST]


def test_a_slow_log_holds_up_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "PATIENCE_S", 0.0)

    async def later() -> list[int]:
        batches = await decided([2], idle=False)
        await asyncio.sleep(0.02)
        return batches

    assert asyncio.run(later()) == [2]
