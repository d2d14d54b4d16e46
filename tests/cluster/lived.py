"""A merchant over Kafka with a past: what a decider of long ago took."""

from __future__ import annotations

import msgspec

from avalist.adapters.kafka.log import Writers
from avalist.app.asked import partition_of
from avalist.app.writer import Writer
from avalist.cluster import open_cluster, partition_opener
from avalist.config import Settings
from avalist.domain.core import Control
from tests.shop import DAY_MS, SCHEMA, event, iso, payment

DAYS, PER_DAY = 50, 20


def live(settings: Settings, from_ms: int, *controls: Control) -> None:
    """Let a decider take what came in then, of a shop that has frauds enough to train on."""
    schema = msgspec.structs.replace(SCHEMA, report_delay_d=(0.5, 1.0))
    with open_cluster(settings) as cluster:
        opened = partition_opener(cluster, Writers(cluster.client, 0))(partition_of("shop", settings.partitions))
        opened.partition.writer.create("shop", schema, from_ms)
        for control in controls:
            opened.partition.writer.control("shop", control, from_ms)
        for n in range(DAYS * PER_DAY):
            pay(opened.partition.writer, n, from_ms + n * DAY_MS // PER_DAY)
        opened.log.close()


def pay(writer: Writer, n: int, at_ms: int) -> None:
    """Let a payment come: one in ten is of few cards, most of them fraud, reported at once."""
    bad = n % 10 == 3
    made = {
        "customer": {"id": f"bad{n % 3}" if bad else f"c{n % 397}"}, "amount_minor": 4000 + 37 * (n % 499),
        "method": {"kind": "card", "fingerprint": f"k{n % 3 if bad else n}"}, "custom": {"lat": n % 101},
    }  # fmt: skip
    about = {"payment_id": f"p{n}", "occurred_at": iso(at_ms)}
    writer.record("shop", payment(n, occurred_at=iso(at_ms), **made), at_ms)
    writer.record("shop", event("capture", f"cap{n}", **about), at_ms)
    if (bad and n % 7 < 5) or n % 53 == 0:
        writer.record("shop", event("early_fraud_warning", f"f{n}", **about), at_ms)
