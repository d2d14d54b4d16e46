"""The notifier: sends what is queued for webhooks, again and again until it is taken or days have passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from avalist.app.deciding import Noted, untold
from avalist.app.webhooks import Webhooks
from avalist.domain.errors import NotFound, Unavailable
from avalist.domain.webhooks import Delivery, Webhook, signed

_AT_ONCE: Final = 16
_OF_A_WEBHOOK: Final = 4


class Posts(Protocol):
    """Who posts: ``adapters.calls``."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post and return the status. Raises ``Unavailable``."""
        ...


def _everybody(merchant: str) -> bool:
    return True


class Notifier:
    """Delivers messages at least once, each with its id. Call :meth:`step` again and again, from one thread.

    `ended` counts the attempts by what became of them: ``taken``, ``again`` later, ``dead``; `oldest_ms` is the time of
    the oldest message that waited at the last step, None where none did.

    Of one subject the messages to a webhook go one after the other, in the order of the log: the next waits until the
    one before it was taken or is a dead letter.
    """

    def __init__(self, webhooks: Webhooks, posts: Posts, note: Noted = untold) -> None:
        self._webhooks = webhooks
        self._posts = posts
        self._note = note
        self.ended: Counter[str] = Counter()
        self.oldest_ms: int | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, "webhook")
        self._sent: dict[tuple[str, str], tuple[Delivery, Future[str]]] = {}

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
        subjects: set[str] = set()
        sending = sum(one.webhook == webhook.id for one, _ in self._sent.values())
        for delivery in self._webhooks.waiting(merchant, webhook.id):
            self.oldest_ms = min(self.oldest_ms or delivery.message.at_ms, delivery.message.at_ms)
            if sending >= _OF_A_WEBHOOK:
                return
            first = delivery.message.subject not in subjects
            subjects.add(delivery.message.subject)
            if first and delivery.due_ms <= now_ms and (merchant, delivery.id) not in self._sent:
                headers = self._headers(merchant, webhook, delivery, now_ms)
                done = self._pool.submit(self._post, webhook.url, headers, delivery.message.body.encode())
                self._sent[merchant, delivery.id] = delivery, done
                sending += 1

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
        again = delivery.after(failed, now_ms) if failed else None
        if not failed:
            self._webhooks.done(merchant, delivery)
        elif again is not None:
            self._webhooks.put(merchant, [again])
        else:
            self._webhooks.bury(merchant, delivery.dead(failed))
            self._note("dead letter", merchant=merchant, webhook=delivery.webhook, message=delivery.message.id)
        self.ended["taken" if not failed else "again" if again is not None else "dead"] += 1
