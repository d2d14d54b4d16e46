"""What of a file's history a merchant has not yet: an import that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

from avalist.app.merchant import EVENT_MEMORY_MS, PAYMENT_MEMORY_MS, Merchant
from avalist.app.writer import Writer
from avalist.domain.errors import Conflict
from avalist.domain.events import WireEvent, from_ms, known_at, to_ms
from avalist.history.source import History


def remaining(writer: Writer, id: str, history: History) -> Iterator[list[WireEvent]]:
    """Yield the events that the merchant has not yet, where an import was stopped half way; all of a new merchant's.

    Raises
    ------
    Conflict
        If what the merchant has is not the beginning of these events: others, or the same with other content. Content
        is compared for 400 days, of what is no payment for 35.
    """
    merchant = writer.merchant(id)
    checked_from_ms = merchant.at_ms - EVENT_MEMORY_MS
    for batch in history.events(merchant.at_ms - PAYMENT_MEMORY_MS):
        if not merchant.at_ms or to_ms(known_at(batch[0])) > merchant.at_ms:
            yield batch
            continue
        fresh = []
        for event in batch:
            at_ms = to_ms(known_at(event))
            if at_ms > merchant.at_ms:
                fresh.append(event)
            elif at_ms >= checked_from_ms and not merchant.knows(event.event_id):
                if at_ms < merchant.at_ms:
                    raise _other_history(event, merchant)
                fresh.append(event)
            elif writer.holds_other(id, event):
                raise _changed(event, merchant)
        if fresh:
            yield fresh


def _changed(event: WireEvent, merchant: Merchant) -> Conflict:
    return Conflict(
        f"{merchant.id} has {event.event_id[:64]!r} already, with other content: the file or its mapping changed since "
        "it was imported. What is recorded is never replaced: import the whole file into another merchant id"
    )


def _other_history(event: WireEvent, merchant: Merchant) -> Conflict:
    return Conflict(
        f"{merchant.id} has other events up to {from_ms(merchant.at_ms).isoformat()}, and {event.event_id[:64]!r} "
        "of this file was known before that. Merge it in with --rebuild, or use another merchant id"
    )
