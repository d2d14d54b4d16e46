"""Spans of a payment: in one process, and from a gateway over a decider's inbox to its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import get_type_hints

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from avalist.app import asked as a
from avalist.bootstrap import open_tracer
from avalist.config import Settings
from avalist.ports.tracing import Said
from tests.collector import PARENT, TRACE, Memory
from tests.gateway import Gateway
from tests.shop import CARD_NUMBER, payment_json
from tests.unit.test_deciding import Decider, decide


@pytest.fixture
def memory() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.tracer.close()


@pytest.fixture
def traced(gateway: Gateway, memory: Memory) -> Gateway:
    gateway.service.tracer = memory.tracer
    return gateway


def said(span: ReadableSpan) -> dict[str, object]:
    return {name.removeprefix("avalist."): value for name, value in (span.attributes or {}).items()}


def test_a_payment_is_a_span_of_its_callers_trace(traced: Gateway, memory: Memory) -> None:
    answer = traced.post("/v1/decisions", payment_json(), traceparent=PARENT).json()
    (span,) = memory.spans.values()
    assert (span.name, f"{span.context.trace_id:032x}") == ("POST /v1/decisions", TRACE)
    assert said(span) == {
        "merchant": "shop", "action": answer["action"], "seq": answer["seq"], "degraded": False, "status": 200
    }  # fmt: skip


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", "\xff"])
def test_without_a_callers_trace_it_begins_one(traced: Gateway, memory: Memory, header: str) -> None:
    assert traced.post("/v1/decisions", payment_json(), traceparent=header).status_code == 200
    assert memory.spans["POST /v1/decisions"].parent is None


def test_a_refusal_ends_the_span(traced: Gateway, memory: Memory) -> None:
    assert traced.decide(1, currency="XXX").status_code == 422
    assert traced.post("/v1/decisions", b"{").status_code == 422
    assert [said(span)["status"] for span in memory.exporter.get_finished_spans()] == [422, 422]


def test_nothing_of_a_person_stands_in_a_span(traced: Gateway, memory: Memory) -> None:
    assert traced.decide(1).status_code == 200
    assert traced.decide(CARD_NUMBER).status_code == 422
    told = "".join(span.to_json() for span in memory.exporter.get_finished_spans())
    clear = ("ann", "192.0.2.7", "card-1", "411111", "e1", "p1", CARD_NUMBER)
    assert [value for value in clear if f'"{value}' in told or f"{value}@" in told] == []
    names = {name for span in memory.exporter.get_finished_spans() for name in said(span)}
    assert names <= set(get_type_hints(Said))


def test_a_message_carries_its_span_to_the_decider(memory: Memory) -> None:
    decider = Decider()
    decider.deciding._tracer = memory.tracer
    sent = memory.tracer.begin("send events", "producer", PARENT.encode(), partition=0)
    message = a.encode_message(decide(1))
    asyncio.run(_send(decider, message, sent.traceparent))
    decider.log.stalls = True
    decider.step()
    assert memory.spans == {}  # not before it is durable
    decider.log.stalls = False
    decider.step()
    (span,) = memory.spans.values()
    assert span.parent is not None
    assert (span.name, f"00-{span.parent.trace_id:032x}-{span.parent.span_id:016x}-01".encode()) == (
        "decide", sent.traceparent,
    )  # fmt: skip
    assert [(event.name, dict(event.attributes or {})["avalist.seq"]) for event in span.events] == [("decided", 2)]


async def _send(decider: Decider, message: bytes, traceparent: bytes = b"") -> None:
    decider.exchange.send(0, "shop", message, None, traceparent)


def test_what_is_not_traced_makes_no_span(memory: Memory) -> None:
    decider = Decider()
    decider.deciding._tracer = memory.tracer
    assert isinstance(decider.ask(1), a.Decided)
    assert memory.spans == {}


def test_traces_are_off_until_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert open_tracer(Settings(), "avalist") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    named = open_tracer(Settings(), "avalist")
    assert named is not None
    named.close()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_tracer(Settings(traces="http://127.0.0.1:1"), "avalist") is None


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Memory().tracer._provider.resource.attributes["service.name"] == "avalist-test"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "risk")
    assert Memory().tracer._provider.resource.attributes["service.name"] == "risk"


def test_the_sampler_of_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    memory = Memory()
    memory.tracer.begin("decide", "consumer").end()
    assert memory.spans == {}
