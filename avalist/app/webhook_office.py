"""Operators' requests about webhooks: they change documents alone, and nothing that decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from avalist.app.webhooks import DeadLetters, Url, WebhookId, WebhookIssued, Webhooks, WebhooksShown
from avalist.domain.events import UNDECODABLE, bad_body
from avalist.domain.webhooks import Topic

_ID = "^[a-z0-9][a-z0-9-]{0,62}$"
_DAY_S = 86_400


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    merchant: Annotated[str, msgspec.Meta(pattern=_ID)]


class AddWebhook(_Request, frozen=True, tag="add_webhook"):
    """Add an address that messages of these topics are posted to, all of them by default; its secret is shown once."""

    url: Url
    topics: tuple[Topic, ...] = ()


class ListWebhooks(_Request, frozen=True, tag="list_webhooks"):
    """List a merchant's webhooks, and how many messages wait or are dead letters. Never their secrets."""


class RotateWebhook(_Request, frozen=True, tag="rotate_webhook"):
    """Give a webhook a new secret; the old one signs beside it for `overlap_s` seconds."""

    webhook: WebhookId
    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=366 * _DAY_S)] = _DAY_S


class RemoveWebhook(_Request, frozen=True, tag="remove_webhook"):
    """Remove a webhook, with its messages."""

    webhook: WebhookId


class ListDeadLetters(_Request, frozen=True, tag="list_dead_letters"):
    """List the messages that no webhook took in days."""


class ReplayDeadLetters(_Request, frozen=True, tag="replay_dead_letters"):
    """Send dead letters again: these, or all where none is named."""

    letters: tuple[Annotated[str, msgspec.Meta(max_length=512)], ...] = ()


WebhookRequest = AddWebhook | ListWebhooks | RotateWebhook | RemoveWebhook | ListDeadLetters | ReplayDeadLetters
WebhookAnswer = WebhookIssued | WebhooksShown | DeadLetters

_DECODER: msgspec.json.Decoder[WebhookRequest] = msgspec.json.Decoder(WebhookRequest)


def decode_webhook_request(body: bytes) -> WebhookRequest:
    """Decode a request about webhooks from JSON. Raises ``BadInput``."""
    try:
        return _DECODER.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error, kind=WebhookRequest) from None


class WebhookOffice:
    """Carries out requests about webhooks. `check` raises ``NotFound`` for a merchant that there is not."""

    def __init__(self, check: Callable[[str], object], webhooks: Webhooks) -> None:
        self._check = check
        self._webhooks = webhooks

    def carry_out(self, request: WebhookRequest, at_ms: int) -> dict[str, Any]:
        """Carry out one request and return a ``WebhookAnswer`` as a dict. Raises ``NotFound``, as ``Webhooks`` does."""
        self._check(request.merchant)
        answer: dict[str, Any] = msgspec.to_builtins(self._answer(request, at_ms))
        return answer

    def _answer(self, request: WebhookRequest, at_ms: int) -> WebhookAnswer:
        merchant, webhooks = request.merchant, self._webhooks
        match request:
            case AddWebhook(url=url, topics=topics):
                return webhooks.add(merchant, url, topics, at_ms)
            case ListWebhooks():
                return webhooks.shown(merchant)
            case RotateWebhook(webhook=id, overlap_s=overlap_s):
                return webhooks.rotate(merchant, id, at_ms, at_ms + overlap_s * 1000)
            case RemoveWebhook(webhook=id):
                return webhooks.remove(merchant, id)
            case ListDeadLetters():
                return webhooks.dead(merchant)
            case ReplayDeadLetters(letters=letters):
                return webhooks.replay(merchant, letters, at_ms)
