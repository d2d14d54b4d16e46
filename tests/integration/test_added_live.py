"""Features added beside a running service: it goes on deciding, and live, replay and recovery agree bit for bit."""

from __future__ import annotations

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from avalist.app import stages, writer
from avalist.app.administer import AddFeatures
from avalist.app.backfill import Folding, backfill_from, fold_to_end
from avalist.app.merchant import plan_of
from avalist.app.replay import replay
from avalist.app.stages import Stages
from avalist.domain.errors import Conflict
from avalist.models.artefact import Artefact
from tests.cluster.running import until
from tests.gateway import Gateway
from tests.integration.test_added_features import FIRST, NAMES, all_at_once, live, replayed
from tests.live import Connection, Service, avalist
from tests.shop import Shop, opened, payment_json

REQUEST = {"do": "add_features", "merchant": "shop", "features": msgspec.to_builtins(FIRST)}


def stage(shop: Shop) -> Folding:
    """Fold the past under the plan with more features, as the command does."""
    merchant, log = shop.writer.merchant("shop"), shop.installation.log
    log.sync()
    folding = Folding("shop", merchant.schema, plan_of(merchant.created, merchant.added, FIRST))
    fold_to_end(folding, log, log.read)
    kept(shop).save(folding)
    return folding


def kept(shop: Shop) -> Stages:
    return Stages(shop.installation.blobs, shop.installation.log)


def staged(shop: Shop) -> list[str]:
    return list(shop.installation.blobs.names("shop", "staged/"))


class Spied:
    """The service of a shop with a staged state, which is told of each step of the catching up."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway, self.shop = gateway, gateway.shop
        self.seqs: list[int] = []
        self.begun = asyncio.Event()
        step = self.shop.writer.catch_up

        def told(id: str) -> bool:
            self.seqs.append(self.shop.writer.merchant("shop").seq)
            self.begun.set()
            return step(id)

        monkeypatch.setattr(writer, "_STEP", 4)
        monkeypatch.setattr(self.shop.writer, "catch_up", told)

    async def add(self) -> Any:
        return await self.gateway.send("POST", "/v1/admin", REQUEST, key=self.gateway.admin)

    async def decide(self, n: int) -> Any:
        await self.begun.wait()
        return await self.gateway.send("POST", "/v1/decisions", payment_json(n))

    async def at_once(self, numbers: range) -> list[int]:
        answers = await asyncio.gather(self.add(), *(self.decide(n) for n in numbers))
        return [answer.status_code for answer in answers]


def test_decisions_go_on_while_the_service_catches_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = gateway.shop
    live(shop, range(20))
    stage(shop)
    live(shop, range(20, 60))
    spied = Spied(gateway, monkeypatch)
    assert spied.gateway.run(spied.at_once(range(60, 70))) == [200] * 11
    assert len(spied.seqs) > 15
    assert spied.seqs[-1] > spied.seqs[0], "some were decided between two steps"
    live(shop, range(70, 80))
    result = replayed(shop)
    assert (result.decisions, result.different) == (80, 0), result.examples
    shop.writer.merchant("shop").settle()
    assert result.digests["shop"] == shop.writer.merchant("shop").features.digest()
    assert list(shop.writer.merchant("shop").plan.columns[-2:]) == NAMES[:2]


def test_nothing_is_added_that_was_not_staged(gateway: Gateway) -> None:
    live(gateway.shop, range(5))
    seq = gateway.shop.writer.merchant("shop").seq
    refused = gateway.post("/v1/admin", REQUEST, key=gateway.admin)
    assert (refused.status_code, "avalist features add shop" in refused.json()["detail"]) == (409, True)
    assert gateway.shop.writer.merchant("shop").seq == seq


def test_a_feature_that_makes_no_sense_is_refused(gateway: Gateway) -> None:
    odd = {**REQUEST, "features": [{"aggregate": "count", "entity": "crad", "window": "1d"}]}
    assert gateway.post("/v1/admin", odd, key=gateway.admin).status_code == 422


def test_a_state_of_other_code_another_log_or_the_future_is_passed_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(shop, range(10))
    folding = stage(shop)
    merchant = shop.writer.merchant("shop")
    assert kept(shop).load(merchant, folding.plan) is not None
    merchant.seq -= 1
    assert kept(shop).load(merchant, folding.plan) is None
    merchant.seq += 1
    with monkeypatch.context() as changed:
        changed.setattr(stages, "CODE", "other")
        assert kept(shop).load(merchant, folding.plan) is None
    shop.installation.log._records.pop()  # type: ignore[attr-defined]
    shop.installation.log._records.pop()  # type: ignore[attr-defined]
    assert kept(shop).load(merchant, folding.plan) is None
    with pytest.raises(Conflict):
        shop.writer.begin_features("shop", FIRST)


def test_a_back_fill_goes_on_from_what_is_staged(shop: Shop) -> None:
    live(shop, range(10))
    folding = stage(shop)
    live(shop, range(10, 20))
    begun: list[int] = []

    def read(start: int) -> Any:
        begun.append(start)
        return shop.installation.log.read(start)

    merchant = shop.writer.merchant("shop")
    merchant.settle()
    whole = backfill_from(read)(merchant, folding.plan)
    rest = backfill_from(read, kept(shop).load)(merchant, folding.plan)
    assert rest.digest() == whole.digest()
    assert begun == [0, folding.position]


def test_a_start_and_the_follower_use_it_and_a_snapshot_ends_it(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(artefact)
        live(shop, range(20))
        stage(shop)
        live(shop, range(20, 25))
        shop.installation.administration.carry_out(AddFeatures("shop", FIRST), shop.clock.ms)
        live(shop, range(25, 30))
        digest = shop.writer.merchant("shop").features.digest()
        assert digest == all_at_once(shop, FIRST).features.digest()
    with opened(tmp_path) as shop:
        assert shop.writer.merchant("shop").features.digest() == digest
        assert staged(shop)
        follower = shop.follower()
        while follower.behind_bytes:
            follower.advance()
        assert [one.different for one in follower.states.parity.merchants.values()] == [0]
        follower.states.save()
        assert not staged(shop)


class Load:
    """One caller who pays until he is told to stop."""

    def __init__(self, port: int, key: str) -> None:
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pay, args=(port, key))
        self._thread.start()

    def _pay(self, port: int, key: str) -> None:
        with Connection(port, key) as connection:
            for n in itertools.count(1000):
                if self._stop.is_set():
                    return
                card = {"kind": "card", "fingerprint": f"card-{n % 7}"}
                self.statuses.append(connection.send("POST", "/v1/decisions", payment_json(n, method=card))[0])

    def stop(self) -> list[int]:
        self._stop.set()
        self._thread.join()
        return self.statuses


@pytest.mark.sockets
def test_the_command_adds_them_to_a_service_under_load(tmp_path: Path, artefact: Artefact) -> None:
    folder, file = tmp_path / "data", tmp_path / "own.toml"
    file.write_text('[[feature]]\naggregate = "min"\nentity = "card"\nwindow = "1d"\n')
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        live(shop, range(60))
        key = shop.key()
    service = Service(folder)
    try:
        load = Load(service.port, key)
        ran = avalist("features", "add", "shop", file, "--data", folder, "--port", service.port)
        before = len(load.statuses)
        assert until(lambda: len(load.statuses) >= before + 20)
        statuses = load.stop()
    finally:
        service.stop()
    assert "decisions after seq" in ran.stdout, ran.stderr
    assert set(statuses) == {200}
    with opened(folder) as shop:
        result = replay(shop.installation.log, shop.installation.load_model)
        assert (result.decisions, result.different) == (60 + len(statuses), 0), result.examples
        widths = [
            len(shop.writer.lookup("shop", f"p{n}", "pre_auth")[1].features) // 4 for n in (1000, 999 + len(statuses))
        ]
        assert widths[1] == widths[0] + 1
        assert result.digests["shop"] == shop.writer.merchant("shop").features.digest()
