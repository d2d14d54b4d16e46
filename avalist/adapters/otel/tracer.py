"""Spans by OpenTelemetry's SDK, told by OTLP over HTTP."""

from __future__ import annotations

from typing import Final, Unpack

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from avalist import __version__
from avalist.ports.tracing import Kind, Said

_KINDS: Final = {"server": SpanKind.SERVER, "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}
_HEADER: Final = "traceparent"
_CONTEXT: Final = TraceContextTextMapPropagator()


class OtelSpan:
    """A span of the SDK."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> bytes:
        """Return by what another process names it as the parent."""
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier, set_span_in_context(self._span))
        return carrier[_HEADER].encode()

    def note(self, what: str, **said: Unpack[Said]) -> None:
        """Say that something happened in it, now."""
        self._span.add_event(what, _named(said))

    def end(self, error: str = "", **said: Unpack[Said]) -> None:
        """End it."""
        self._span.set_attributes(_named(said))
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class OtelTracer:
    """Tells a collector of the spans of one process.

    Sampler, resource, limits and batches are those of the ``OTEL_`` variables that OpenTelemetry describes.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        named = Resource.create()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
        ours = {"service.version": __version__}
        if str(named.attributes["service.name"]).startswith("unknown_service"):
            ours["service.name"] = service
        self._provider = TracerProvider(resource=named.merge(Resource(ours)), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("avalist", __version__)

    @classmethod
    def to_collector(cls, service: str, endpoint: str) -> OtelTracer:
        """Return a tracer that tells a collector at a base URL, or where ``OTEL_`` variables say."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
        return cls(service, BatchSpanProcessor(exporter))

    def begin(self, name: str, kind: Kind, parent: bytes = b"", **said: Unpack[Said]) -> OtelSpan:
        """Begin a span; of a trace of its own where `parent` is empty, or no ``traceparent``."""
        context = _CONTEXT.extract({_HEADER: parent.decode("latin-1")}) if parent else None
        return OtelSpan(self._tracer.start_span(name, context, _KINDS[kind], _named(said)))

    def close(self) -> None:
        """Tell what has ended."""
        self._provider.shutdown()


def _named(said: Said) -> dict[str, str | int | bool]:
    return {f"avalist.{name}": value for name, value in said.items() if isinstance(value, str | int)}
