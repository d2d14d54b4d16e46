"""A decider and a gateway that share a process: turns, replies, fallbacks, poison, without brokers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import msgspec
import pytest

from avalist.adapters.file import segment
from avalist.adapters.file.log import FileLog
from avalist.adapters.memory.asking import MemoryExchange
from avalist.adapters.memory.blobs import MemoryBlobs
from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.memory.log import MemoryLog
from avalist.api.app import App
from avalist.api.gateway import Gateway
from avalist.api.given import Answers
from avalist.api.health import DeciderMetrics
from avalist.api.profiles import Profiles
from avalist.api.spooling import Spooling
from avalist.app import asked as a
from avalist.app.administer import Administration
from avalist.app.deciding import OPENING_S, Deciding, Opened
from avalist.app.merchant import decode_fallback
from avalist.app.partition import Partition
from avalist.app.profile import decode_profile, encode_profile, profile_of
from avalist.app.stored import StoredDecision
from avalist.app.webhooks import Webhooks
from avalist.app.writer import Writer
from avalist.config import Settings
from avalist.domain.decisions import Action, Decision
from avalist.domain.errors import LogFailed, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.models.score import Model
from tests.cluster.running import PATIENCE_S
from tests.shop import SCHEMA, T0_MS, FakeClock, payment_json

SECRET = b"s" * 32


class PartitionLog(MemoryLog):
    """A partition's log in memory; `stalls` is a time when nothing is acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = self.near = 0
        self.epoch = 1
        self.cursors: list[int] = []
        self.stalls = False

    def append(self, records: Sequence[Record]) -> list[int]:
        self.cursors.append(self.cursor)
        return super().append(records)

    def settle(self, timeout_s: float = 0.0) -> int:
        return self.durable_end if self.stalls else self.sync()

    def write_cursor(self) -> None:
        self.cursors.append(self.cursor)

    def abandon(self) -> None:
        self._closed = True


class AtOnce(Executor):
    """Does at once what it is given."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **named))
        except Exception as error:  # noqa: BLE001  as executors do
            done.set_exception(error)
        return done


class Decider:
    """A decider of one partition, and whoever asks it."""

    def __init__(self) -> None:
        self.exchange = MemoryExchange(1)
        self.records: list[Record] = []
        self.documents = MemoryDocuments()
        self.clock = FakeClock()
        self.noted: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.cursor = 0
        self.metrics = DeciderMetrics()
        self.deciding = Deciding(self.exchange, self.clock, self.open, AtOnce(), self.note, measures=self.metrics)
        self.deciding.inbox = self.exchange
        self.exchange.turns = self.deciding
        self.step()
        self.step()

    def open(self, partition: int) -> Opened:
        log = PartitionLog()
        log.append(self.records)
        self.log = log
        log.cursor = self.cursor
        self.writer = Writer(log, no_model, lambda merchant: SECRET)
        self.writer.recover()
        if not self.writer.merchants:
            self.writer.create("shop", SCHEMA, T0_MS)
        webhooks = Webhooks(self.documents, lambda merchant: SECRET, lambda: SECRET)
        administration = Administration(self.writer, self.documents, MemoryBlobs(), lambda: "drawn", webhooks)
        return Opened(Partition(self.writer, administration, lambda merchant: SECRET, log), log)

    def note(self, what: str, /, **details: object) -> None:
        self.noted.append(what)
        self.told.append(details)

    def step(self) -> None:
        self.deciding.step(0.0)

    def send(self, message: a.Asked) -> None:
        asyncio.run(self._send(a.encode_message(message)))

    async def _send(self, value: bytes) -> None:
        self.exchange.send(0, "shop", value)

    def ask(self, n: int, **changes: Any) -> a.Reply:
        self.send(decide(n, **changes))
        self.step()
        return a.decode_reply(self.exchange.replied[-1])

    def measured(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"avalist_{name}")

    def kinds(self) -> list[int]:
        return [record.kind for _, record in self.log.read()]


def no_model(merchant: str, version: str) -> Model:
    raise NotFound(version)


def part(n: int, **changes: Any) -> bytes:
    return a.sealed(SECRET, T0_MS, msgspec.json.encode(payment_json(n, **changes)))


def decide(n: int, **changes: Any) -> a.Decide:
    return a.Decide(b"request-%d" % n, "shop", T0_MS, part(n, **changes))


def fallen(n: int) -> tuple[a.Fallen, Decision]:
    profiles = Profiles(lambda merchant: SECRET, MemoryDocuments())
    given = Decision(
        payment_id=f"p{n}", event_id=f"e{n}", checkpoint="pre_auth", action=Action.REVIEW, seq=0, engine=2, mode="live",
        degraded=True, durable=False,
    )  # fmt: skip
    assert len(profiles) == 0
    return a.Fallen(b"", "shop", T0_MS, part(n), given, "deadline"), given


@pytest.fixture
def decider() -> Decider:
    return Decider()


def test_a_payment_is_decided_and_asked_again_answered_the_same(decider: Decider) -> None:
    first = decider.ask(1)
    assert isinstance(first, a.Decided)
    assert (first.answer.seq, first.answer.degraded) == (2, False)
    assert decider.ask(1) == first
    assert decider.kinds() == [RecordKind.CONTROL, RecordKind.EVENT, RecordKind.DECISION]


def test_a_reply_waits_for_the_log(decider: Decider) -> None:
    decider.log.stalls = True
    decider.send(decide(1))
    decider.step()
    assert decider.exchange.replied == []
    decider.log.stalls = False
    decider.step()
    assert len(decider.exchange.replied) == 1


def test_the_cursor_never_passes_what_is_not_in_the_log(decider: Decider) -> None:
    decider.ask(1)
    for n in (2, 3):
        decider.send(decide(n))
    decider.step()
    assert decider.log.cursors == [0, 0, 0, 1]
    assert decider.log.cursor == 3


def test_what_is_wrong_with_a_payment_is_told(decider: Decider) -> None:
    decider.ask(1)
    reply = decider.ask(1, amount_minor=1)
    assert isinstance(reply, a.Refused)
    assert reply.error.kind == "Conflict"


def test_a_fallback_is_logged_as_it_was_given_and_is_the_answer_from_then_on(decider: Decider) -> None:
    message, given = fallen(1)
    decider.send(message)
    decider.step()
    again = decider.ask(1)
    assert isinstance(again, a.Decided)
    assert again.answer == given
    assert decider.kinds()[1:] == [RecordKind.EVENT, RecordKind.DECISION, RecordKind.FALLBACK]
    assert decode_fallback(decider.log.get(3).core).answer == given


def test_a_fallback_that_is_sent_twice_is_logged_once(decider: Decider) -> None:
    for _ in range(2):
        decider.send(fallen(1)[0])
    decider.step()
    assert decider.kinds().count(RecordKind.FALLBACK) == 1


@pytest.mark.parametrize(
    "value", [b"", b"no message", a.encode_message(a.Decide(b"r", "shop", T0_MS, b"not sealed" * 9))]
)
def test_poison_is_laid_aside_and_the_next_is_taken(decider: Decider, value: bytes) -> None:
    asyncio.run(decider._send(value))
    assert isinstance(decider.ask(2), a.Decided)
    assert [came.offset for came, _ in decider.exchange.buried] == [0]


def test_a_fallback_of_a_payment_that_contradicts_the_log_is_laid_aside(decider: Decider) -> None:
    decider.ask(1, amount_minor=7)
    decider.send(fallen(1)[0])
    decider.step()
    ((_, reason),) = decider.exchange.buried
    assert reason.startswith("Conflict: event id 'e1'")


def test_an_event_that_breaks_the_code_half_way_is_found_and_the_others_are_decided(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = __import__("avalist.app.writer", fromlist=["decide"]).decide

    def breaks(merchant: Any, events: Any, seq: int) -> Any:
        if any(event.event_id == "e2" for event in events):
            raise ZeroDivisionError("half way")
        return whole(merchant, events, seq)

    monkeypatch.setattr("avalist.app.writer.decide", breaks)
    decider.ask(1)
    decider.records, decider.cursor = [record for _, record in decider.log.read()], 1
    for n in (2, 3):
        decider.send(decide(n))
    for _ in range(8):
        decider.step()
        decider.clock.ms += 1000
    assert [came.offset for came, _ in decider.exchange.buried] == [1]
    assert decider.exchange.buried[0][1].startswith("ZeroDivisionError at ")
    answers = [a.decode_reply(value) for value in decider.exchange.replied]
    assert [one.answer.event_id for one in answers if isinstance(one, a.Decided)] == ["e1", "e3"]


def test_a_partition_that_is_lost_says_nothing_more(decider: Decider) -> None:
    decider.log.stalls = True
    decider.send(decide(1))
    decider.step()
    decider.deciding.lost([0])
    decider.step()
    assert decider.exchange.replied == []
    with pytest.raises(LogFailed):
        decider.log.append([])


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_jumps_delays_no_second_opening(decider: Decider, jump_ms: int) -> None:
    decider.ask(1)
    decider.log.close()
    decider.send(decide(2))
    decider.step()
    assert decider.noted[-1] == "opens again"
    decider.clock.ahead_ms = jump_ms
    decider.step()
    assert not decider.deciding.owned
    decider.clock.ms += 1000
    decider.step()
    assert decider.deciding.owned


class Later(Executor):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        self.given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        self.given.append((done, lambda: work(*arguments, **named)))
        return done

    def do(self) -> None:
        ((done, work),) = self.given
        self.given = []
        done.set_result(work())


def test_what_an_operators_request_needs_is_loaded_off_the_deciding_thread(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, prepared = Later(), list[Any]()
    monkeypatch.setattr(decider.deciding, "_executor", later)
    monkeypatch.setattr(Administration, "prepare", lambda self, request: prepared.append(request))
    request = a.sealed(SECRET, T0_MS, msgspec.json.encode({"do": "show", "merchant": "shop"}))
    for message in (decide(1), a.Administer(b"office", "shop", T0_MS, request), decide(2), decide(3)):
        decider.send(message)
    decider.step()
    decider.step()
    assert [type(a.decode_reply(one)) for one in decider.exchange.replied] == [a.Decided]
    later.do()
    decider.step()
    assert len(prepared) == 1
    assert [type(a.decode_reply(one)) for one in decider.exchange.replied] == [
        a.Decided, a.CarriedOut, a.Decided, a.Decided
    ]  # fmt: skip


def test_a_new_partition_is_opened_at_once_and_its_messages_do_not_wait_for_those_of_others(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    decider.deciding.lost([0])
    later = Later()
    monkeypatch.setattr(decider.deciding, "_executor", later)
    decider.deciding.assigned([0])
    with mock.patch.object(decider.exchange, "take", return_value=[]) as take:
        decider.deciding.step(1.0)
        later.do()
        decider.deciding.step(1.0)
    assert [call.args[1] for call in take.call_args_list] == [OPENING_S, 1.0]
    assert decider.noted[-1] == "caught up"


def test_a_control_event_of_a_newer_version_keeps_the_partition_closed_and_says_why(decider: Decider) -> None:
    unknown = msgspec.msgpack.encode({"type": "of_tomorrow", "version": 7})
    decider.records = [
        *(record for _, record in decider.log.read()),
        Record("shop", 2, RecordKind.CONTROL, T0_MS, unknown),
    ]
    decider.deciding.lost([0])
    decider.deciding.assigned([0])
    decider.step()
    assert decider.noted[-1] == "opens again"
    assert "newer version" in decider.told[-1]["reason"]


def test_a_partition_that_is_handed_over_says_what_it_decided(decider: Decider) -> None:
    decider.log.stalls = True
    decider.send(decide(1))
    decider.step()
    decider.deciding.revoked([0])
    assert len(decider.exchange.replied) == 1
    assert not decider.deciding.owned


def epoch_in_the_topic(decider: Decider) -> int:
    return decode_profile(decider.exchange.profiles["shop"]).epoch


def publish(decider: Decider, epoch: int) -> None:
    """Publish as another decider would, behind what is no profile, and let ours hear it."""
    decider.exchange.publish("none", b"no profile")
    decider.exchange.publish("shop", encode_profile(profile_of(decider.writer.merchant("shop"), [], epoch)))
    decider.clock.ms += 1000
    decider.step()
    decider.step()


def test_a_profile_of_an_earlier_turn_that_comes_last_is_followed_by_ours(decider: Decider) -> None:
    publish(decider, 0)
    assert epoch_in_the_topic(decider) == 1
    decider.clock.ms += 1000
    decider.step()  # it hears itself
    assert decider.noted.count("publishes again") == 1


def test_a_profile_of_a_later_turn_is_left_alone(decider: Decider) -> None:
    publish(decider, 2)
    assert epoch_in_the_topic(decider) == 2


def test_a_profile_is_published_again_once_what_it_says_is_durable(decider: Decider) -> None:
    decider.log.stalls = True
    decider.send(decide(1))
    decider.step()
    publish(decider, 0)
    assert epoch_in_the_topic(decider) == 0
    decider.log.stalls = False
    decider.step()
    assert epoch_in_the_topic(decider) == 1


def test_it_is_ready_when_it_owns_and_has_caught_up(decider: Decider) -> None:
    assert decider.deciding.ready
    decider.deciding.assigned([0])
    assert not decider.deciding.ready


# --- the gateway -----------------------------------------------------------------------------------------------------


class Front:
    """A gateway before a decider that works when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.decider = Decider()
        self.spool = folder / "spool"
        profiles = Profiles(lambda merchant: SECRET, self.decider.documents)
        spooling = Spooling(
            self.decider.exchange, lambda: FileLog(self.spool), lambda: __import__("shutil").rmtree(self.spool),
            self.decider.clock.now_ms, 0.01,
        )  # fmt: skip
        self.service = Gateway(
            Settings(data=folder), profiles, self.decider.exchange, spooling, self.decider.documents,
            lambda merchant: SECRET, self.decider.clock, "admin", "metrics",
            Webhooks(self.decider.documents, lambda merchant: SECRET, lambda: SECRET), lambda merchant: iter(()),
        )  # fmt: skip
        self.service.timeout_s = lambda merchant: PATIENCE_S  # type: ignore[method-assign]
        self.runner = asyncio.Runner()
        transport = httpx.ASGITransport(App(self.service))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://avalist", timeout=20)
        self.runner.run(self._start())
        self.key = self.post("/v1/admin", {"do": "issue_key", "merchant": "shop"}, key="admin").json()["key"]

    async def _start(self) -> None:
        self.service.start()

    async def _restart(self) -> None:
        self.service.stop()
        self.service.start()

    def post(self, path: str, body: Any, *, key: str = "", works: bool = True, deadline_ms: int = 0) -> httpx.Response:
        return self.runner.run(self._post(path, body, key or self.key, works, deadline_ms))

    async def _post(self, path: str, body: Any, key: str, works: bool, deadline_ms: int) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} | (
            {"avalist-deadline-ms": str(deadline_ms)} if deadline_ms else {}
        )
        return await self._served(self.client.post(path, content=msgspec.json.encode(body), headers=headers), works)

    async def _served(self, request: Coroutine[Any, Any, httpx.Response], works: bool) -> httpx.Response:
        asking = asyncio.ensure_future(request)
        while not asking.done():
            await asyncio.sleep(0.002)
            if works:
                self.decider.step()
        return await asking

    def decide(self, n: int = 1, *, works: bool = True, deadline_ms: int = 0, **changes: Any) -> httpx.Response:
        return self.post("/v1/decisions", payment_json(n, **changes), works=works, deadline_ms=deadline_ms)

    def get(self, payment: str = "p1", *, works: bool = True, checkpoint: str = "pre_auth") -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        request = self.client.get(f"/v1/decisions/{payment}", params={"checkpoint": checkpoint}, headers=headers)
        with mock.patch("avalist.api.gateway._FIND_S", PATIENCE_S if works else 0.05):
            return self.runner.run(self._served(request, works))

    def forget(self) -> None:
        """Be another gateway, which gave none of the answers so far."""
        self.service._answers = Answers(1)

    def close(self) -> None:
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        await self.client.aclose()
        self.service.stop()


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    for name in ("_RECORD_S", "_LOOK_UP_S"):
        monkeypatch.setattr(f"avalist.api.gateway.{name}", PATIENCE_S)
    front = Front(tmp_path)
    yield front
    front.close()


def test_a_gateway_answers_what_the_decider_decides(front: Front) -> None:
    answer = front.decide()
    assert answer.status_code == 200
    assert (answer.json()["seq"], answer.json()["degraded"]) == (2, False)
    assert front.decide().content == answer.content


def test_no_personal_data_lies_in_the_clear_on_its_way(front: Front) -> None:
    front.decide()
    assert not [came for came in front.decider.exchange.events[0] if b"ann" in came.value]


def test_past_the_deadline_the_fallback_is_the_answer_from_then_on(front: Front) -> None:
    answer = front.decide(works=False, deadline_ms=20)
    assert (answer.json()["degraded"], answer.json()["durable"], answer.json()["seq"]) == (True, False, 0)
    assert front.decide().content == answer.content
    assert front.decider.kinds()[1:] == [RecordKind.EVENT, RecordKind.DECISION, RecordKind.FALLBACK]


def test_a_retry_without_deciders_gets_its_first_answer(front: Front) -> None:
    first = front.decide()
    front.decider.exchange.reachable = False
    assert front.decide(works=False, deadline_ms=20).content == first.content
    assert front.decide(works=False, deadline_ms=20, amount_minor=1).status_code == 409


def test_a_retry_at_another_gateway_without_deciders_finds_its_first_answer_among_the_documents(front: Front) -> None:
    first = front.decide()
    store(front, first, "p1/pre_auth")
    front.forget()
    front.decider.exchange.reachable = False
    assert front.decide(works=False, deadline_ms=20).content == first.content


def test_a_decision_is_found_right_after_the_post_at_every_gateway(front: Front) -> None:
    answer = front.decide()
    found = front.get()
    assert found.json()["decision"] == answer.json()
    assert found.json()["facts"]["amount_base_minor"] == payment_json(1)["amount_minor"]
    assert found.json()["features"]["card__count__events__10m"] is None
    front.forget()
    assert front.get().json() == found.json()
    assert front.get("other").status_code == 404


def test_a_look_up_without_deciders_finds_what_the_gateway_answered_itself(front: Front) -> None:
    answer = front.decide()
    front.decider.exchange.reachable = False
    assert front.get(works=False).json()["decision"] == answer.json()
    front.forget()
    assert front.get(works=False).status_code == 503


def test_a_fallback_that_is_not_logged_yet_is_found_as_it_was_given(front: Front) -> None:
    answer = front.decide(works=False, deadline_ms=20)
    assert front.get(works=False).json()["decision"] == answer.json()
    front.decider.step()  # now it is logged, with the payment, which gives it a number
    front.forget()
    assert front.get().json()["decision"] == {**answer.json(), "seq": 2}


def test_a_newer_decision_than_the_documents_have_is_found(front: Front) -> None:
    front.decide()
    store(front, front.decide(11, payment_id="p1", checkpoint="rescore"), "p1/rescore")
    second = front.decide(12, payment_id="p1", checkpoint="rescore")
    assert front.get(checkpoint="rescore").json()["decision"] == second.json()


def test_what_is_old_is_looked_for_in_the_documents_alone(front: Front) -> None:
    answer = front.decide()
    front.forget()
    front.decider.log.near = front.decider.log.end
    assert front.get().status_code == 404
    store(front, answer, "p1/pre_auth")
    assert front.get().json()["decision"] == answer.json()


def store(front: Front, answer: httpx.Response, name: str) -> None:
    """Be the follower."""
    stored = StoredDecision(decision=msgspec.json.decode(answer.content, type=Decision), facts=None, features={})
    front.decider.documents.put_many([("shop", "decisions", name, msgspec.json.encode(stored))])


def test_a_fallback_is_spooled_while_nobody_takes_it_and_sent_by_the_next_gateway(front: Front, tmp_path: Path) -> None:
    front.decider.exchange.reachable = False
    answer = front.decide(works=False, deadline_ms=20)
    assert answer.json()["degraded"]
    assert [record.merchant for _, record in FileLog(front.spool, readonly=True).read()] == ["shop"]
    front.runner.run(front._restart())
    front.decider.exchange.reachable = True
    front.runner.run(front._restart())
    assert front.decide().content == answer.content


async def spooled(spooling: Spooling, depth: int) -> None:
    while spooling.depth != depth:
        await asyncio.sleep(0.01)


def test_a_spool_on_a_full_disk_holds_no_answer_up_and_heals(
    front: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("avalist.api.spooling._AGAIN_S", 0.02)
    full, put = [True], segment.write_all

    def write_all(fd: int, data: bytes) -> None:
        if full:
            put(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        put(fd, data)

    monkeypatch.setattr(segment, "write_all", write_all)
    front.decider.exchange.reachable = False
    answers = [front.decide(n, works=False, deadline_ms=20) for n in (1, 2)]
    assert [answer.json()["degraded"] for answer in answers] == [True, True]
    spooling = front.service._spooling
    assert (spooling.depth, spooling.failures > 0) == (0, True)
    full.clear()
    front.runner.run(asyncio.wait_for(spooled(spooling, 2), PATIENCE_S))
    front.runner.run(front._restart())
    front.decider.exchange.reachable = True
    front.runner.run(front._restart())
    assert [front.decide(n).content for n in (1, 2)] == [answer.content for answer in answers]


def test_a_revoked_key_and_an_unknown_one_open_nothing(front: Front) -> None:
    keys = front.post("/v1/admin", {"do": "list_keys", "merchant": "shop"}, key="admin").json()["keys"]
    front.post("/v1/admin", {"do": "revoke_key", "merchant": "shop", "key": keys[0]["id"]}, key="admin")
    front.decider.clock.ms += 1
    assert front.decide().status_code == 401
    assert front.post("/v1/decisions", payment_json(), key="av_live_shop_guess").status_code == 401


def test_a_profile_of_a_turn_that_is_over_counts_no_more() -> None:
    decider = Decider()
    profiles = Profiles(lambda merchant: SECRET, MemoryDocuments())
    merchant = decider.writer.merchant("shop")
    merchant.mode = "off"
    for epoch, mode in ((5, "observe"), (4, "off")):
        merchant.mode = mode  # type: ignore[assignment]
        profiles.put(msgspec.msgpack.encode(profile_of(merchant, [], epoch)))
    assert profiles._known["shop"].profile.mode == "observe"


def test_batches_and_take_overs_are_measured() -> None:
    decider = Decider()
    for n in (1, 2):
        decider.send(decide(n))
    decider.step()
    assert (decider.measured("batch_messages_sum"), decider.measured("batch_messages_count")) == (2.0, 1.0)
    assert (decider.measured("batch_seconds_sum") or 0.0) > 0.0
    assert decider.measured("take_over_seconds_count") == 1.0


def test_a_take_over_lasts_until_the_partition_is_open_again() -> None:
    decider = Decider()
    decider.log.close()
    decider.send(decide(1))
    decider.step()
    decider.clock.ms += 3000
    decider.step()
    decider.step()
    assert (decider.measured("take_over_seconds_sum"), decider.measured("take_over_seconds_count")) == (3.0, 2.0)
