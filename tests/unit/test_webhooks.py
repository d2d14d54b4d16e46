"""Webhooks: who is told, in what order, signed by whom; and what becomes of messages that nobody takes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.app.webhooks import Webhooks
from avalist.domain.errors import BadInput, Conflict, NotFound, Unavailable
from avalist.domain.webhooks import TOPICS, WAITS_S, Message, Topic
from avalist.follow.notifier import Notifier

T0_MS, DAY_MS = 1_790_000_000_000, 86_400_000
URL = "https://shop.example/hooks"


class Receiver:
    """Takes posts, or not: `answers` by message id, else `status`."""

    def __init__(self) -> None:
        self.status: int | Unavailable = 200
        self.answers: dict[str, int] = {}
        self.taken: list[str] = []
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        with self._lock:
            self.calls.append((url, dict(headers), body))
            status = self.answers.get(headers["webhook-id"], self.status)
            if isinstance(status, Unavailable):
                raise status
            if status == 200:
                self.taken.append(headers["webhook-id"])
            return status


@pytest.fixture
def webhooks() -> Webhooks:
    numbers = itertools.count(1)
    return Webhooks(
        MemoryDocuments(), lambda merchant: merchant.encode().ljust(32), lambda: bytes([next(numbers)]) * 32
    )


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def notifier(webhooks: Webhooks, receiver: Receiver) -> Iterator[Notifier]:
    notifier = Notifier(webhooks, receiver)
    yield notifier
    notifier.close()


def message(n: int, subject: str = "", topic: Topic = "outcome.recorded", at_ms: int = T0_MS) -> Message:
    return Message(
        id=f"m{n}", topic=topic, subject=subject or f"payment/p{n}", at_ms=at_ms, order=n, body=f'{{"n":{n}}}'
    )


def queue(webhooks: Webhooks, *messages: Message, merchant: str = "shop") -> None:
    rows, entries = webhooks.queue(merchant, messages)
    webhooks._documents.put_many(rows, keys=entries)


def step(notifier: Notifier, at_ms: int) -> None:
    """Send what is due, and wait until all that was sent is noted."""
    while notifier.step(at_ms):
        time.sleep(0.001)


def test_only_the_topics_that_are_wanted_are_told(webhooks: Webhooks, notifier: Notifier, receiver: Receiver) -> None:
    webhooks.add("shop", URL, ["wave.alert"], T0_MS)
    queue(webhooks, message(1), message(2, topic="wave.alert"))
    step(notifier, T0_MS)
    assert receiver.taken == ["m2"]
    assert receiver.calls[0][0] == URL


def test_what_was_before_a_webhook_is_not_told(webhooks: Webhooks) -> None:
    id = webhooks.add("shop", URL, [], T0_MS).webhook
    queue(webhooks, message(1, at_ms=T0_MS - 1), message(2))
    assert [one.message.id for one in webhooks.waiting("shop", id)] == ["m2"]


def test_a_merchant_tells_its_own_webhooks_alone(webhooks: Webhooks, notifier: Notifier, receiver: Receiver) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    webhooks.add("rival", "https://rival.example/", [], T0_MS)
    queue(webhooks, message(1))
    step(notifier, T0_MS)
    assert [url for url, _, _ in receiver.calls] == [URL]
    with pytest.raises(NotFound):
        webhooks.get("shop", webhooks.of("rival")[0].id)


def macs(headers: dict[str, str], body: bytes, secret: str) -> bool:
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return f"v1,{mac}" in headers["webhook-signature"].split(" ")


def test_two_secrets_sign_until_the_old_one_ends(webhooks: Webhooks, notifier: Notifier, receiver: Receiver) -> None:
    first = webhooks.add("shop", URL, [], T0_MS)
    second = webhooks.rotate("shop", first.webhook, T0_MS, T0_MS + 1000)
    for n, at_ms in ((1, T0_MS + 999), (2, T0_MS + 1000)):
        queue(webhooks, message(n))
        step(notifier, at_ms)
    signed = [[macs(headers, body, one.secret) for one in (first, second)] for _, headers, body in receiver.calls]
    assert signed == [[True, True], [False, True]]
    assert receiver.calls[0][1]["webhook-timestamp"] == str((T0_MS + 999) // 1000)


def test_a_message_is_sent_again_later_and_later_for_days(
    webhooks: Webhooks, notifier: Notifier, receiver: Receiver
) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    queue(webhooks, message(1))
    receiver.status, now_ms = 503, T0_MS
    for tries, wait_s in enumerate(WAITS_S, 1):
        step(notifier, now_ms)
        step(notifier, now_ms + wait_s * 1000 - 1)
        assert len(receiver.calls) == tries
        now_ms += wait_s * 1000
    assert now_ms - T0_MS > 2 * DAY_MS
    step(notifier, now_ms)
    (letter,) = webhooks.dead("shop").letters
    assert (letter.attempts, letter.failed, letter.topic) == (len(WAITS_S) + 1, "it answered 503", "outcome.recorded")
    assert webhooks.shown("shop").webhooks[0].pending == 0


def test_of_one_subject_the_next_waits_for_the_one_before(
    webhooks: Webhooks, notifier: Notifier, receiver: Receiver
) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    queue(webhooks, message(1, "payment/a"), message(2, "payment/a"), message(3, "payment/b"))
    receiver.answers["m1"] = 500
    step(notifier, T0_MS)
    assert receiver.taken == ["m3"]
    receiver.answers.clear()
    step(notifier, T0_MS + WAITS_S[0] * 1000)
    assert receiver.taken == ["m3", "m1", "m2"]


FAILED = 201  # more than a page of the queue


@pytest.fixture
def down(webhooks: Webhooks, notifier: Notifier, receiver: Receiver) -> Receiver:
    """Return a receiver that failed with more messages than are read at once."""
    webhooks.add("shop", URL, [], T0_MS)
    queue(webhooks, *[message(n) for n in range(FAILED)])
    receiver.status = 503
    step(notifier, T0_MS)
    assert len(receiver.calls) == FAILED
    return receiver


def test_a_new_message_does_not_wait_behind_many_that_fail(
    webhooks: Webhooks, notifier: Notifier, down: Receiver
) -> None:
    queue(webhooks, message(FAILED))
    step(notifier, T0_MS + 1)
    assert (len(down.calls), down.calls[-1][1]["webhook-id"]) == (FAILED + 1, f"m{FAILED}")
    queue(webhooks, message(FAILED + 1))
    step(notifier, T0_MS + 2)
    assert (len(down.calls), down.calls[-1][1]["webhook-id"]) == (FAILED + 2, f"m{FAILED + 1}")
    assert notifier.oldest_ms == T0_MS


def test_a_receiver_that_takes_messages_again_gets_all_that_waited(
    webhooks: Webhooks, notifier: Notifier, down: Receiver
) -> None:
    step(notifier, T0_MS + WAITS_S[0] * 1000)
    down.status = 200
    queue(webhooks, message(FAILED))
    step(notifier, T0_MS + WAITS_S[0] * 1000 + 1)  # half a minute before the others are due
    assert sorted(down.taken) == sorted(f"m{n}" for n in range(FAILED + 1))
    step(notifier, T0_MS + WAITS_S[0] * 1000 + 2)
    assert notifier.oldest_ms is None


def test_a_try_ahead_of_its_time_that_fails_takes_nothing_of_a_messages_patience(
    webhooks: Webhooks, notifier: Notifier, down: Receiver
) -> None:
    (id,) = [one.id for one in webhooks.of("shop")]
    before = {one.id: one for one in webhooks.queued("shop", id)}
    queue(webhooks, message(FAILED))
    down.answers[f"m{FAILED}"] = 200
    step(notifier, T0_MS + 1)
    assert down.taken == [f"m{FAILED}"]
    assert len(down.calls) <= FAILED + 1 + 4  # those that were on their way when the first of them failed
    assert {one.id: one for one in webhooks.queued("shop", id)} == before


def test_one_message_that_is_refused_is_not_tried_at_each_success(
    webhooks: Webhooks, notifier: Notifier, receiver: Receiver
) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    receiver.answers["m0"] = 400
    for n in range(9):
        queue(webhooks, message(n))
        step(notifier, T0_MS + n)
    assert len(receiver.calls) == 9


def test_a_dead_letter_that_is_replayed_is_found_among_those_that_wait(
    webhooks: Webhooks, notifier: Notifier, down: Receiver
) -> None:
    (id,) = [one.id for one in webhooks.of("shop")]
    first = next(webhooks.queued("shop", id))
    webhooks.bury("shop", first.dead("gone"))
    step(notifier, T0_MS + 1)
    webhooks.replay("shop", [first.id], T0_MS + 2)
    step(notifier, T0_MS + 4_999)
    step(notifier, T0_MS + 10_001)
    assert {headers["webhook-id"] for _, headers, _ in down.calls[FAILED:]} >= {"m0"}


def test_a_merchant_whose_receivers_hang_leaves_threads_to_others(webhooks: Webhooks) -> None:
    hang, got = threading.Event(), threading.Event()

    class Hanging:
        def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
            got.set() if "rival" in url else hang.wait()
            return 200

    for n in range(12):
        webhooks.add("shop", f"{URL}/{n}", [], T0_MS)
    webhooks.add("zrival", "https://rival.example/", [], T0_MS)  # its turn is the last
    queue(webhooks, *[message(n) for n in range(50)])
    queue(webhooks, message(1), merchant="zrival")
    here = Notifier(webhooks, Hanging())
    try:
        assert here.step(T0_MS) == 9
        assert got.wait(240)
    finally:
        hang.set()
        here.close()


def test_a_dead_letter_lets_the_next_go_and_is_replayed(
    webhooks: Webhooks, notifier: Notifier, receiver: Receiver
) -> None:
    id = webhooks.add("shop", URL, [], T0_MS).webhook
    queue(webhooks, message(1, "payment/a"), message(2, "payment/a"))
    (first, _) = webhooks.waiting("shop", id)
    webhooks.bury("shop", first.dead("gone"))
    step(notifier, T0_MS)
    assert receiver.taken == ["m2"]
    assert webhooks.replay("shop", [first.id], T0_MS).replayed == 1
    step(notifier, T0_MS)
    assert (receiver.taken, webhooks.dead("shop").letters) == (["m2", "m1"], ())


def test_all_dead_letters_are_replayed_where_none_is_named(webhooks: Webhooks) -> None:
    id = webhooks.add("shop", URL, [], T0_MS).webhook
    queue(webhooks, *[message(n) for n in range(5)])
    for one in webhooks.waiting("shop", id):
        webhooks.bury("shop", one.dead("gone"))
    assert (webhooks.shown("shop").webhooks[0].dead, webhooks.replay("shop", [], T0_MS).replayed) == (5, 5)
    assert [one.message.order for one in webhooks.waiting("shop", id)] == [0, 1, 2, 3, 4]
    with pytest.raises(NotFound, match="avalist webhooks dead shop"):
        webhooks.replay("shop", ["m1"], T0_MS)


def test_what_was_on_its_way_at_the_end_is_sent_again(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    queue(webhooks, message(1))
    for _ in range(2):
        notifier = Notifier(webhooks, receiver)
        notifier.step(T0_MS)
        notifier.close()
    assert receiver.taken == ["m1", "m1"]


def test_what_is_handed_over_is_noted_and_not_sent_again(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.add("shop", URL, [], T0_MS)
    webhooks.add("rival", URL, [], T0_MS)
    queue(webhooks, message(1))
    queue(webhooks, message(2), merchant="rival")
    here = Notifier(webhooks, receiver)
    here.step(T0_MS)
    here.settle(T0_MS, lambda merchant: merchant == "shop")
    assert [len(webhooks.waiting(one, webhooks.of(one)[0].id)) for one in ("shop", "rival")] == [0, 1]
    assert here.ended == {"taken": 1}
    here.close()


def test_others_send_to_merchants_that_are_not_ours(webhooks: Webhooks, receiver: Receiver) -> None:
    noted: list[str] = []
    id = webhooks.add("shop", URL, [], T0_MS).webhook
    queue(webhooks, message(1))
    here = Notifier(webhooks, receiver, lambda what, /, **_: noted.append(what))
    receiver.status = 503
    assert (here.step(T0_MS, lambda merchant: False), here.oldest_ms) == (0, None)
    assert (here.step(T0_MS), here.oldest_ms) == (1, T0_MS)
    while here.step(T0_MS, lambda merchant: False):  # lost meanwhile: what came of it is not ours to note
        time.sleep(0.001)
    (waiting,) = webhooks.waiting("shop", id)
    assert (waiting.attempts, here.ended, noted) == (0, {}, [])
    here.close()


def test_a_removed_webhook_takes_its_messages_along(webhooks: Webhooks, notifier: Notifier, receiver: Receiver) -> None:
    id = webhooks.add("shop", URL, [], T0_MS).webhook
    queue(webhooks, message(1))
    receiver.status = Unavailable("no answer")
    notifier.step(T0_MS)
    assert webhooks.remove("shop", id).webhooks == ()
    step(notifier, T0_MS)
    assert webhooks.waiting("shop", id) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https:///x",
        "ftp://shop.example/",
        "https://a:b@shop.example/",
        "nonsense",
        "https://é.example/",
        "https://[shop]/",
        "https://shop.example:99999/",
        "https://shop.example:port/",
        "https://shop.example/a b",
        "https://shop.example/a\nb",
    ],
)
def test_an_address_that_may_not_be_called_is_refused(webhooks: Webhooks, url: str) -> None:
    with pytest.raises(BadInput, match="not an address for a webhook"):
        webhooks.add("shop", url, TOPICS, T0_MS)


def test_a_password_in_an_address_is_not_repeated(webhooks: Webhooks) -> None:
    with pytest.raises(BadInput) as refused:
        webhooks.add("shop", "https://me:sesame@shop.example/", TOPICS, T0_MS)
    assert refused.value.got == ""


def test_there_is_a_most_of_webhooks(webhooks: Webhooks) -> None:
    for _ in range(20):
        webhooks.add("shop", URL, [], T0_MS)
    with pytest.raises(Conflict, match="20 webhooks already"):
        webhooks.add("shop", URL, [], T0_MS)
