"""A follower that stood still while another went on in its place writes nothing over what that one wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.memory.log import MemoryLog
from avalist.app.followed import Followed as Said
from avalist.app.stored import StoredDecision
from avalist.bootstrap import open_follower
from avalist.domain.decisions import Decision
from avalist.domain.errors import Superseded, Unavailable
from avalist.follow import Follower
from avalist.follow.share import Followed, Following
from tests.shop import FakeClock, Shop


class Stalling:
    """Documents whose user stands still before its batch number `at`, while `meanwhile` happens."""

    def __init__(self, documents: Any, at: int, meanwhile: Callable[[], None]) -> None:
        self._documents, self._left, self._meanwhile = documents, at, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    def put_many(self, *batch: Any, **more: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self._meanwhile()
        self._documents.put_many(*batch, **more)


def catch_up(follower: Follower) -> None:
    while follower.behind_bytes:
        follower.advance()


def shown(shop: Shop) -> Decision:
    body = shop.installation.documents.get("shop", "decisions", "p1/pre_auth")
    assert body is not None
    return msgspec.json.decode(body, type=StoredDecision).decision


@pytest.mark.parametrize("at", range(1, 6))
def test_the_newer_ones_documents_stay(shop: Shop, at: int) -> None:
    here, answer = shop.installation, shop.decide(1)
    here.log.sync()

    def meanwhile() -> None:
        shop.writer.fallback("shop", answer, shop.clock.ms, "deadline")
        here.log.sync()
        catch_up(shop.follower())

    zombie = open_follower(here.settings, here.log, Stalling(here.documents, at, meanwhile), here.blobs)
    with pytest.raises(Superseded):
        catch_up(zombie)
    assert shown(shop).degraded
    assert not shop.follower().behind_bytes


def test_a_follower_alone_is_never_superseded(shop: Shop) -> None:
    assert isinstance(shop.installation.documents, MemoryDocuments)
    follower = shop.follower()
    for n in range(1, 4):
        shop.decide(n)
        shop.installation.log.sync()
        catch_up(follower)
    assert not shown(shop).degraded


# --- several logs --------------------------------------------------------------------------------------------------


class Alone:
    """Membership of one."""

    def attend(self, timeout_s: float) -> None:
        pass


class Fails:
    """A follower whose disk is full."""

    position, behind_bytes = 0, 1

    def advance(self) -> int:
        raise Unavailable("no space left on device")

    def status(self, at_ms: int) -> Said:
        return Said(at_ms=at_ms, position=0, snapshot=0, parity={}, waves_open=0)


def test_what_fails_is_opened_again_after_a_rest() -> None:
    clock, opened = FakeClock(0), []

    def open_partition(partition: int) -> Followed:
        opened.append(clock.ms)
        return Followed(MemoryLog(), Fails())  # type: ignore[arg-type]

    following = Following(open_partition, lambda what, **details: None, lambda: clock.ms / 1000)
    following.share = Alone()
    following.assigned([0])
    for clock.ms in (0, 100, 200, 900, 1200, 1300):
        following.step(0.0)
    assert opened == [0, 1200]
    assert not following.ready
