"""Webhooks of merchants in the documents: added, rotated, removed; their messages on the way, and dead letters.

Messages wait in a queue per webhook, in the order of the log. All of it is primary: it stands in the documents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from avalist.domain.errors import BadInput, Conflict, NotFound
from avalist.domain.keys import HOUSE
from avalist.domain.webhooks import TOPICS, Delivery, Message, Signing, Topic, Webhook, secret_text
from avalist.enrich.seal import Secret, seal, unseal
from avalist.ports.documents import Documents

WEBHOOKS: Final = "webhooks"
PENDING: Final = "webhook_pending"
DEAD: Final = "webhook_dead"

_REGISTER: Final = "webhook_merchants"
_MOST: Final = 20
_MOST_MERCHANTS: Final = 1_000_000
_MOST_SHOWN: Final = 1_000
_PAGE: Final = 200

Url = Annotated[str, msgspec.Meta(min_length=8, max_length=512)]
WebhookId = Annotated[str, msgspec.Meta(pattern="^wh_[0-9a-f]{12}$")]
Row = tuple[str, str, str, bytes]
Entry = tuple[str, str, str, int, str]


class WebhookShown(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a webhook; `signing` counts the secrets that sign, `pending` and `dead` its messages."""

    id: str
    url: str
    topics: tuple[Topic, ...]
    added_at_ms: int
    signing: int
    pending: int
    dead: int


class WebhookIssued(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's new signing secret, shown once."""

    merchant: str
    webhook: str
    secret: str


class WebhooksShown(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's webhooks."""

    merchant: str
    webhooks: tuple[WebhookShown, ...]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that nobody took, and why the last attempt failed."""

    id: str
    webhook: str
    topic: Topic
    subject: str
    attempts: int
    failed: str


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's dead letters, the newest first; `replayed` were put on their way again."""

    merchant: str
    letters: tuple[DeadLetter, ...] = ()
    replayed: int = 0


class Webhooks:
    """Every merchant's webhooks. `new_secret` draws 32 random bytes; `private` allows what is not public."""

    def __init__(
        self, documents: Documents, secret: Secret, new_secret: Callable[[], bytes], *, private: bool = False
    ) -> None:
        self._documents = documents
        self._secret = secret
        self._new_secret = new_secret
        self._private = private

    # --- operators ------------------------------------------------------------------------------------------------

    def add(self, merchant: str, url: str, topics: Sequence[Topic], at_ms: int) -> WebhookIssued:
        """Add a webhook. Raises ``BadInput`` for an address that may not be called, ``Conflict`` past 20 of them."""
        check_url(url, private=self._private)
        if len(self.of(merchant)) >= _MOST:
            raise Conflict(f"merchant {merchant!r} has {_MOST} webhooks already: remove one first")
        id = f"wh_{self._new_secret()[:6].hex()}"
        return self._sign(
            merchant, Webhook(id=id, url=url, topics=tuple(topics) or TOPICS, added_at_ms=at_ms, signing=()), at_ms
        )

    def rotate(self, merchant: str, id: str, at_ms: int, ends_at_ms: int) -> WebhookIssued:
        """Give a webhook a new secret; those it has sign too until `ends_at_ms`. Raises ``NotFound``."""
        webhook = self.get(merchant, id)
        old = [one for one in webhook.signing if one.ends_at_ms is None or one.ends_at_ms > at_ms]
        ending = tuple(Signing(one.sealed, one.at_ms, min(ends_at_ms, one.ends_at_ms or ends_at_ms)) for one in old)
        return self._sign(merchant, msgspec.structs.replace(webhook, signing=ending), at_ms)

    def _sign(self, merchant: str, webhook: Webhook, at_ms: int) -> WebhookIssued:
        secret = self._new_secret()
        name = f"webhook/{webhook.id}/{at_ms}".encode() + secret
        signing = Signing(seal(self._secret(merchant), at_ms, name, secret), at_ms)
        whole = msgspec.structs.replace(webhook, signing=(signing, *webhook.signing))
        rows = [(merchant, WEBHOOKS, webhook.id, msgspec.json.encode(whole)), (HOUSE, _REGISTER, merchant, b"{}")]
        self._documents.put_many(rows)
        return WebhookIssued(merchant=merchant, webhook=webhook.id, secret=secret_text(secret))

    def remove(self, merchant: str, id: str) -> WebhooksShown:
        """Remove a webhook with its messages. Raises ``NotFound``."""
        self.get(merchant, id)
        self._documents.delete(merchant, WEBHOOKS, [id])
        for collection in (PENDING, DEAD):
            while held := [one.id for one in self.waiting(merchant, id, collection=collection)]:
                self._documents.delete(merchant, collection, held)
        return self.shown(merchant)

    def shown(self, merchant: str) -> WebhooksShown:
        """Return what may be shown of a merchant's webhooks."""
        found = [
            WebhookShown(
                id=one.id, url=one.url, topics=one.topics, added_at_ms=one.added_at_ms, signing=len(one.signing),
                pending=len(self.waiting(merchant, one.id, _MOST_SHOWN)),
                dead=len(self.waiting(merchant, one.id, _MOST_SHOWN, collection=DEAD)),
            )
            for one in self.of(merchant)
        ]  # fmt: skip
        return WebhooksShown(merchant=merchant, webhooks=tuple(found))

    def dead(self, merchant: str) -> DeadLetters:
        """Return a merchant's dead letters."""
        found = [_delivery(body) for _, body in self._documents.find(merchant, DEAD, limit=_MOST_SHOWN)]
        letters = [
            DeadLetter(
                id=one.id, webhook=one.webhook, topic=one.message.topic, subject=one.message.subject,
                attempts=one.attempts, failed=one.failed,
            )
            for one in found
        ]  # fmt: skip
        return DeadLetters(merchant=merchant, letters=tuple(letters))

    def replay(self, merchant: str, ids: Sequence[str], at_ms: int) -> DeadLetters:
        """Put dead letters on their way again: these, or all where none is named. Raises ``NotFound``."""
        replayed = 0
        while True:
            found = [self._letter(merchant, id) for id in ids]
            found = found or [_delivery(body) for _, body in self._documents.find(merchant, DEAD, limit=_MOST_SHOWN)]
            self.put(merchant, [msgspec.structs.replace(one, attempts=0, due_ms=at_ms) for one in found])
            self._documents.delete(merchant, DEAD, [one.id for one in found])
            replayed += len(found)
            if ids or not found:
                return DeadLetters(merchant=merchant, letters=self.dead(merchant).letters, replayed=replayed)

    def _letter(self, merchant: str, id: str) -> Delivery:
        body = self._documents.get(merchant, DEAD, id)
        if body is None:
            raise NotFound(f"no dead letter {id!r}: 'avalist webhooks dead {merchant}' lists them")
        return _delivery(body)

    # --- whoever delivers -----------------------------------------------------------------------------------------

    def merchants(self) -> list[str]:
        """Return the merchants that have, or had, webhooks."""
        return [id for id, _ in self._documents.find(HOUSE, _REGISTER, limit=_MOST_MERCHANTS)]

    def of(self, merchant: str) -> list[Webhook]:
        """Return a merchant's webhooks, the newest first."""
        found = self._documents.find(merchant, WEBHOOKS, limit=_MOST)
        return [msgspec.json.decode(body, type=Webhook) for _, body in found]

    def get(self, merchant: str, id: str) -> Webhook:
        """Return a webhook. Raises ``NotFound``."""
        body = self._documents.get(merchant, WEBHOOKS, id)
        if body is None:
            raise NotFound(f"no webhook {id!r}: 'avalist webhooks list {merchant}' shows them")
        return msgspec.json.decode(body, type=Webhook)

    def secrets(self, merchant: str, webhook: Webhook, now_ms: int) -> Iterator[bytes]:
        """Yield the secrets that sign now, the newest first."""
        for one in webhook.signing:
            if one.ends_at_ms is None or one.ends_at_ms > now_ms:
                yield unseal(self._secret(merchant), one.at_ms, one.sealed)

    def queue(self, merchant: str, messages: Sequence[Message]) -> tuple[list[Row], list[Entry]]:
        """Return messages to the merchant's webhooks that want them, as rows and entries to be stored.

        What happened before a webhook was added, as history that is merged in, is not told.
        """
        deliveries = [
            Delivery(id=f"{message.id}@{webhook.id}", webhook=webhook.id, message=message)
            for webhook in self.of(merchant)
            for message in messages
            if message.topic in webhook.topics and message.at_ms >= webhook.added_at_ms
        ]
        return _stored(merchant, deliveries, PENDING)

    def put(self, merchant: str, deliveries: Sequence[Delivery]) -> None:
        """Store deliveries that wait."""
        rows, entries = _stored(merchant, deliveries, PENDING)
        self._documents.put_many(rows, keys=entries)

    def bury(self, merchant: str, delivery: Delivery) -> None:
        """Make a dead letter of a delivery."""
        rows, entries = _stored(merchant, [delivery], DEAD)
        self._documents.put_many(rows, keys=entries)
        self.done(merchant, delivery)

    def done(self, merchant: str, delivery: Delivery) -> None:
        """Take a delivery off its queue."""
        self._documents.delete(merchant, PENDING, [delivery.id])

    def waiting(self, merchant: str, webhook: str, limit: int = 200, collection: str = PENDING) -> list[Delivery]:
        """Return a webhook's oldest deliveries, in the order of their messages."""
        return [_delivery(body) for _, body in self._documents.find_by(merchant, collection, webhook, limit=limit)]

    def queued(self, merchant: str, webhook: str, order: int | None = None) -> Iterator[Delivery]:
        """Yield a webhook's deliveries in the order of their messages, from `order` on; where a page of them ends, one
        may come twice.
        """
        before = None if order is None else 1 - order
        while True:
            page = list(self._documents.find_by(merchant, PENDING, webhook, before=before, limit=_PAGE))
            yield from (_delivery(body) for _, body in page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]  # others may have the same place
            before = last if last + 1 == before else last + 1


def _delivery(body: bytes) -> Delivery:
    return msgspec.json.decode(body, type=Delivery)


def _stored(merchant: str, deliveries: Sequence[Delivery], collection: str) -> tuple[list[Row], list[Entry]]:
    """Return deliveries as rows, with the entries of their queues: what is found first is the oldest."""
    rows = [(merchant, collection, one.id, msgspec.json.encode(one)) for one in deliveries]
    return rows, [(merchant, collection, one.webhook, -one.message.order, one.id) for one in deliveries]


def check_url(url: str, *, private: bool) -> None:
    """Raise ``BadInput`` unless a URL may be called: https with a host, and no name or password in it."""
    schemes = ("https", "http") if private else ("https",)
    if not (_plain(url) and _leads_to_a_host(url, schemes)):
        expected = f"{' or '.join(schemes)}://host/path, without a name or a password"
        shown = "" if "@" in url else url[:64]  # it may be a password
        raise BadInput("not an address for a webhook", field="$.url", expected=expected, got=shown)


def _plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _leads_to_a_host(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # brackets around no address, or a port that is none
        return False
