"""Every error of the Kafka client becomes one of ours, and none slips through."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import confluent_kafka.error
import pytest
from confluent_kafka import KafkaError

from avalist.adapters.kafka.errors import mapped, translated
from avalist.adapters.kafka.topics import Topics, ensure
from avalist.domain.errors import AvalistError, LogCorrupt, LogFailed, NotFound

CODES = {name: code for name in dir(KafkaError) if isinstance(code := getattr(KafkaError, name), int)}


def vendor_exceptions() -> Iterator[Exception]:
    """Yield one of every exception of the client, and of what its methods raise besides."""
    yield from (BufferError("full"), RuntimeError("closed"), ValueError("x"), TypeError("x"), NotImplementedError())
    for module in (confluent_kafka, confluent_kafka.error):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception):
                needs_error = "kafka_error" in inspect.signature(kind.__init__).parameters
                yield kind(KafkaError(KafkaError._FAIL)) if needs_error else kind()


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_every_code_is_mapped_and_named(code: int) -> None:
    error = mapped(KafkaError(code), "log events[0]")
    assert type(error) in (LogFailed, LogCorrupt, NotFound)
    assert str(error).startswith("log events[0]: ")
    assert KafkaError(code).name() in str(error)


@pytest.mark.parametrize("raised", list(vendor_exceptions()), ids=lambda raised: type(raised).__name__)
def test_every_exception_is_translated(raised: Exception) -> None:
    with pytest.raises(AvalistError, match=r"^log events"), translated("log events[0]"):
        raise raised


def test_our_own_errors_pass() -> None:
    with pytest.raises(NotFound, match=r"^mine$"), translated("log events[0]"):
        raise NotFound("mine")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, NotFound),
        (KafkaError._AUTO_OFFSET_RESET, NotFound),
        (KafkaError._BAD_MSG, LogCorrupt),
        (KafkaError.NOT_ENOUGH_REPLICAS, LogFailed),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, LogFailed),
    ],
)
def test_what_an_operator_can_tell_apart(code: int, kind: type[AvalistError]) -> None:
    assert type(mapped(KafkaError(code), "log")) is kind


def test_brokers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avalist.adapters.kafka.topics._WAIT_S", 0.1)
    with pytest.raises(LogFailed, match=r"127\.0\.0\.1:1"):
        ensure({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, Topics("x", 1))
