"""The notifier: sends what is queued for webhooks, again and again until it is taken or days have passed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

import msgspec

from avalist.app.deciding import Noted, untold
from avalist.app.webhooks import Webhooks
from avalist.domain.errors import NotFound, Unavailable
from avalist.domain.webhooks import Delivery, Webhook, signed

_AT_ONCE: Final = 32
_OF_A_MERCHANT: Final = 8
_OF_A_WEBHOOK: Final = 4
_LOOK_AGAIN_MS: Final = 10_000
"""What was put among those that wait, as a dead letter is that is replayed, is found after so long."""


class Posts(Protocol):
    """Who posts: ``adapters.calls``."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post and return the status. Raises ``Unavailable``."""
        ...


class _Passed(msgspec.Struct):
    """How much of a webhook's queue is nothing to send before `until_ms`: the messages of `subjects` up to `order`.

    `oldest_ms` is the time of the first.
    """

    until_ms: int
    order: int | None = None
    oldest_ms: int | None = None
    subjects: set[str] = msgspec.field(default_factory=set)


def _everybody(merchant: str) -> bool:
    return True


class Notifier:
    """Delivers messages at least once, each with its id. Call :meth:`step` again and again, from one thread.

    `ended` counts the attempts by what became of them: ``taken``, ``again`` later, ``dead``; `oldest_ms` is the time of
    the oldest message that waited at the last step, None where none did.

    Of one subject the messages to a webhook go one after the other, in the order of the log: the next waits until the
    one before it was taken or is a dead letter.

    A receiver that failed with several messages and takes one again gets all that wait for it at once; where it fails
    then, they wait as long as they would have.
    """

    def __init__(self, webhooks: Webhooks, posts: Posts, note: Noted = untold) -> None:
        self._webhooks = webhooks
        self._posts = posts
        self._note = note
        self.ended: Counter[str] = Counter()
        self.oldest_ms: int | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, "webhook")
        self._sent: dict[tuple[str, str], tuple[Delivery, Future[str]]] = {}
        self._passed: dict[str, _Passed] = {}
        self._failing: defaultdict[str, set[str]] = defaultdict(set)
        self._recovered: set[str] = set()

    def step(self, now_ms: int, ours: Callable[[str], bool] = _everybody) -> int:
        """Note what became of those that were sent, and send what is due; return how many are on their way.

        Of merchants that are not `ours` nothing is sent, and what was sent is theirs to note who has them now.
        """
        for (merchant, _), (delivery, done) in [(k, v) for k, v in self._sent.items() if v[1].done()]:
            del self._sent[merchant, delivery.id]
            if ours(merchant):
                self._ended(merchant, delivery, done.result(), now_ms)
        self.oldest_ms = None
        for merchant in filter(ours, self._webhooks.merchants()):
            for webhook in self._webhooks.of(merchant):
                self._send_due(merchant, webhook, now_ms)
        return len(self._sent)

    def settle(self, now_ms: int, leaving: Callable[[str], bool]) -> None:
        """Wait for what is on its way to merchants that another will send to, and note what became of it: the other
        sends nothing a second time.
        """
        for (merchant, id), (delivery, done) in list(self._sent.items()):
            if leaving(merchant):
                self._ended(merchant, delivery, done.result(), now_ms)
                del self._sent[merchant, id]

    def close(self) -> None:
        """Wait for those that are on their way; what became of them is not noted, so they are sent again."""
        self._pool.shutdown(cancel_futures=True)

    def _send_due(self, merchant: str, webhook: Webhook, now_ms: int) -> None:
        """Send what is due, and remember what is not: thousands that wait for their time are not read at each step."""
        passed = self._passed.get(webhook.id)
        if passed is None or passed.until_ms <= now_ms:
            passed = self._passed[webhook.id] = _Passed(now_ms + _LOOK_AGAIN_MS)
        free, passing, later = self._free(merchant, webhook.id), True, set[str]()
        oldest_ms = passed.oldest_ms
        for delivery in self._webhooks.queued(merchant, webhook.id, passed.order):
            message = delivery.message
            oldest_ms = message.at_ms if oldest_ms is None else oldest_ms
            if free == 0:
                break
            sent = (merchant, delivery.id) in self._sent
            first = message.subject not in passed.subjects and message.subject not in later
            due = first and not sent and (delivery.due_ms <= now_ms or webhook.id in self._recovered)
            if due:
                self._send(merchant, webhook, delivery, now_ms)
                free -= 1
            passing = passing and not due and not sent
            if passing:
                passed.order, passed.oldest_ms = message.order, oldest_ms
                passed.until_ms = min(passed.until_ms, delivery.due_ms) if first else passed.until_ms
            (passed.subjects if passing else later).add(message.subject)
        if oldest_ms is not None:
            self.oldest_ms = min(self.oldest_ms or oldest_ms, oldest_ms)

    def _free(self, merchant: str, webhook: str) -> int:
        """Return how many more may be on their way to a webhook: a merchant keeps others from none."""
        mine = [one.webhook for (owner, _), (one, _) in self._sent.items() if owner == merchant]
        return max(0, min(_OF_A_WEBHOOK - mine.count(webhook), _OF_A_MERCHANT - len(mine)))

    def _send(self, merchant: str, webhook: Webhook, delivery: Delivery, now_ms: int) -> None:
        headers = self._headers(merchant, webhook, delivery, now_ms)
        done = self._pool.submit(self._post, webhook.url, headers, delivery.message.body.encode())
        self._sent[merchant, delivery.id] = delivery, done

    def _headers(self, merchant: str, webhook: Webhook, delivery: Delivery, now_ms: int) -> dict[str, str]:
        body, message = delivery.message.body.encode(), delivery.message
        signatures = signed(message.id, now_ms // 1000, body, self._webhooks.secrets(merchant, webhook, now_ms))
        return {"content-type": "application/json", "user-agent": "avalist-webhooks/1", **signatures}

    def _post(self, url: str, headers: dict[str, str], body: bytes) -> str:
        """Return why a message was not taken; empty if it was."""
        try:
            status = self._posts.post(url, headers, body)
        except Unavailable as error:
            return str(error)[:200]
        return "" if 200 <= status < 300 else f"it answered {status}"

    def _ended(self, merchant: str, delivery: Delivery, failed: str, now_ms: int) -> None:
        try:
            self._webhooks.get(merchant, delivery.webhook)
        except NotFound:  # removed meanwhile, and its messages with it
            return
        self._learn(delivery, failed)
        again = None if not failed else delivery if delivery.due_ms > now_ms else delivery.after(failed, now_ms)
        if not failed:
            self._webhooks.done(merchant, delivery)
        elif again is not None:
            self._webhooks.put(merchant, [again])
        else:
            self._webhooks.bury(merchant, delivery.dead(failed))
            self._note("dead letter", merchant=merchant, webhook=delivery.webhook, message=delivery.message.id)
        self.ended["taken" if not failed else "again" if again is not None else "dead"] += 1

    def _learn(self, delivery: Delivery, failed: str) -> None:
        """Take note of whether a receiver takes messages: one that fails may be to blame itself, several are not."""
        failing, webhook = self._failing[delivery.webhook], delivery.webhook
        if failed:
            failing.add(delivery.id)
            self._recovered.discard(webhook)
            return
        if len(failing) > 1:
            self._recovered.add(webhook)
            self._passed.pop(webhook, None)
        failing.clear()
