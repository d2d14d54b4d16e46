"""Kafka's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from avalist.domain.errors import AvalistError, LogCorrupt, LogFailed, NotFound

_ABSENT = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_DAMAGED = {
    KafkaError.INVALID_MSG,
    KafkaError._BAD_MSG,
    KafkaError._BAD_COMPRESSION,
    KafkaError._LOG_TRUNCATION,
}


def mapped(error: KafkaError, what: str) -> AvalistError:
    """Return ``NotFound`` for a topic or offset that is not there, ``LogCorrupt`` for damage, else ``LogFailed``."""
    said = f"{what}: {error.str()} ({error.name()})"
    if error.code() in _ABSENT:
        return NotFound(f"{said}; create the topic, or start at a position that its retention kept")
    if error.code() in _DAMAGED:
        return LogCorrupt(f"{said}; acknowledged records are damaged or lost: restore the partition")
    return LogFailed(f"{said}; mend the cause and start again")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever the client library raises into an error of ours that begins with `what`."""
    try:
        yield
    except KafkaException as error:
        known = error.args and isinstance(error.args[0], KafkaError)
        raise mapped(error.args[0] if known else KafkaError(KafkaError._FAIL, str(error)), what) from error
    except (BufferError, RuntimeError, TypeError, ValueError, OverflowError, NotImplementedError) as error:
        raise LogFailed(f"{what}: {error or type(error).__name__}; mend the cause and start again") from error
