"""The spans of a decider: one for each traced message, from when it was taken until its reply leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from avalist.app.asked import Decided, Reply
from avalist.ports.asking import Came
from avalist.ports.tracing import Span, Tracer

Spans = Mapping[int, Span]
"""By place in the batch."""
NO_SPANS: Spans = {}


def begun(tracer: Tracer | None, batch: Sequence[Came]) -> Spans:
    """Begin the spans of those messages of a batch that are traced."""
    if tracer is None:
        return NO_SPANS
    return {
        place: tracer.begin("decide", "consumer", came.traceparent, partition=came.partition, offset=came.offset)
        for place, came in enumerate(batch)
        if came.traceparent
    }


def decided(spans: Spans, replies: Iterable[tuple[int, Reply]]) -> None:
    """Note what was decided; it is not durable yet."""
    for place, reply in replies if spans else ():
        span = spans.get(place)
        if span is not None and isinstance(reply, Decided):
            span.note("decided", seq=reply.answer.seq, action=reply.answer.action.value)


def ended(spans: Spans, error: str = "") -> None:
    """End them: the replies leave, or will not."""
    for span in spans.values():
        span.end(error)
