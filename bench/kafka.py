"""Time the log in a Kafka partition, on one real broker that this starts: ``python -m bench.kafka`` (Java 17, Maven).

Records of 2 KB. Commit: append and sync, one record and sixteen at a time; beside it the same in a transaction each,
which the log does not use (ADR 8). Then reading through, and ``get`` of single records in random order. Raw samples in
``bench/out/kafka.json``; the last line printed is one JSON object. Everything shares one machine with the broker.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from avalist.adapters.kafka.log import KafkaLog
from avalist.domain.records import Record, RecordKind, encode_record
from bench._raw import keep
from tests.services.kafka import Broker, start

RECORD = Record("shop", 1, RecordKind.EVENT, 0, os.urandom(2000))
COMMITS, TRANSACTIONS, GETS, OPENINGS, WARM = 3000, 500, 500, 5, 200


def timed(call: Callable[[], object], times: int) -> list[float]:
    """Return how long each call took, ms."""
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        samples.append((time.perf_counter() - began) * 1e3)
    return samples


def commit(log: KafkaLog, records: int) -> None:
    log.append([RECORD] * records)
    log.sync()


def transaction(producer: Producer, payload: bytes) -> None:
    producer.begin_transaction()
    producer.produce("transactions", payload, partition=0)
    producer.commit_transaction(20)


def transactions(broker: Broker) -> list[float]:
    broker.create("transactions")
    producer = Producer({**broker.client, "transactional.id": "bench", "linger.ms": 0})
    producer.init_transactions(20)
    payload = encode_record(RECORD)
    return timed(lambda: transaction(producer, payload), TRANSACTIONS)


def read_through(log: KafkaLog) -> float:
    """Return records read per second."""
    began = time.perf_counter()
    count = sum(1 for _ in log.read())
    return count / (time.perf_counter() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = start(Path(folder))
        try:
            measure(broker)
        finally:
            broker.kill()


def measure(broker: Broker) -> None:
    broker.create("log")
    openings = timed(lambda: KafkaLog(broker.client, "log").close(), OPENINGS)
    log = KafkaLog(broker.client, "log")
    timed(lambda: commit(log, 1), WARM)
    first = log.end
    one, sixteen = timed(lambda: commit(log, 1), COMMITS), timed(lambda: commit(log, 16), COMMITS)
    places = iter(np.random.default_rng(0).integers(first, log.end, GETS + 20).tolist())
    timed(lambda: log.get(next(places)), 20)
    samples = {"commit": one, "commit_16": sixteen, "get": timed(lambda: log.get(next(places)), GETS)}
    samples |= {"transaction": transactions(broker)[20:], "open": openings}
    figures: dict[str, float] = {"read_records_per_s": round(read_through(log))}
    for name, values in samples.items():
        figures |= {f"{name}_p{q}_ms": round(float(np.percentile(values, q)), 2) for q in (50, 99)}
    log.close()
    keep("kafka", {"figures": figures, "samples_ms": samples})
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
