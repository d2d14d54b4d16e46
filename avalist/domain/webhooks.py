"""Webhooks: what a merchant's own systems are told, where, and signed with what (Standard Webhooks 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any, Final, Literal, get_args

import msgspec

Topic = Literal["decision.revised", "wave.alert", "outcome.recorded", "model.activated", "model.rolled_back"]
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

WAITS_S: Final = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200, 86_400, 86_400)
"""How long after each failure the next attempt is made; after the last one the message is a dead letter."""


class Signing(msgspec.Struct, frozen=True):
    """A secret to sign with, sealed; it signs until `ends_at_ms`."""

    sealed: bytes
    at_ms: int
    ends_at_ms: int | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An address of a merchant that wants messages of some topics."""

    id: str
    url: str
    topics: tuple[Topic, ...]
    added_at_ms: int
    signing: tuple[Signing, ...]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one `subject`, such as ``payment/p1``. `order` grows with the log; `body` is JSON."""

    id: str
    topic: Topic
    subject: str
    at_ms: int
    order: int
    body: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way to one webhook: how often it was tried, when it is due, and why the last try failed."""

    id: str
    webhook: str
    message: Message
    due_ms: int = 0
    attempts: int = 0
    failed: str = ""

    def after(self, failed: str, now_ms: int) -> Delivery | None:
        """Return the delivery after a failed attempt; None where it was the last."""
        if self.attempts >= len(WAITS_S):
            return None
        due_ms = now_ms + WAITS_S[self.attempts] * 1000
        return msgspec.structs.replace(self, attempts=self.attempts + 1, due_ms=due_ms, failed=failed)

    def dead(self, failed: str) -> Delivery:
        """Return the delivery after its last failed attempt."""
        return msgspec.structs.replace(self, attempts=self.attempts + 1, failed=failed)


def body_of(id: str, topic: Topic, merchant: str, at: str, data: dict[str, Any]) -> str:
    """Return a message's body."""
    return msgspec.json.encode({"id": id, "type": topic, "timestamp": at, "merchant": merchant, "data": data}).decode()


def secret_text(secret: bytes) -> str:
    """Return a signing secret as its holder sees it.

    >>> secret_text(b"0123456789abcdef01234567")
    'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3'
    """
    return f"whsec_{base64.b64encode(secret).decode()}"


def signed(id: str, at_s: int, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """Return the headers of a message that is sent at `at_s` (seconds since 1970): one signature for each secret.

    >>> secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # the standard's own example
    >>> headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [secret])
    >>> headers["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    content = f"{id}.{at_s}.".encode() + body
    macs = [base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{mac}" for mac in macs),
    }
