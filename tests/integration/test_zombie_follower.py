"""A follower that stood still while another went on in its place writes nothing over what that one wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.app.stored import StoredDecision
from avalist.bootstrap import open_follower
from avalist.domain.decisions import Decision
from avalist.domain.errors import Superseded
from avalist.follow import Follower
from tests.shop import Shop


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
    catch_up(shop.follower())
    assert shown(shop).degraded


def test_a_follower_alone_is_never_superseded(shop: Shop) -> None:
    assert isinstance(shop.installation.documents, MemoryDocuments)
    follower = shop.follower()
    for n in range(1, 4):
        shop.decide(n)
        shop.installation.log.sync()
        catch_up(follower)
    assert not shown(shop).degraded
