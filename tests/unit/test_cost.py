"""The cost of a decision grows neither with the history of its entities nor with the number of merchants (I6)."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT, T, unpack_row
from tests.shop import Shop, payment

RATIO = 5.0  # what a busy machine may add


def best_s(shop: Shop, prefix: str, **changes: object) -> float:
    """Return the least processor time of 60 decisions."""
    events = [payment(f"{prefix}-{n}", **changes) for n in range(60)]
    times = []
    for event in events:
        start = time.thread_time()
        shop.writer.decide("shop", event, shop.clock.ms)
        times.append(time.thread_time() - start)
    return min(times)


def fold(shop: Shop, rows: npt.NDArray[np.int64]) -> None:
    rows.setflags(write=False)  # as the log gives them: another type would be compiled anew
    shop.writer.merchant("shop").features.run(rows, np.zeros(len(rows), dtype=np.bool_))


def test_a_key_with_a_hundred_thousand_events_costs_what_one_with_ten_does(shop: Shop) -> None:
    row = np.array(unpack_row(shop.decide("first").core.row), dtype=np.int64)
    many = np.tile(row, (100_000, 1))
    many[:, AT] = many[:, T] = row[AT] + np.arange(len(many)) * 10_000  # eleven days
    fold(shop, many)
    shop.clock.ms = int(many[-1, AT]) + 1
    others = {"customer": {"id": "new"}, "ip": "198.51.100.1", "method": {"kind": "card", "fingerprint": "new"}}
    few = best_s(shop, "few", **others)
    busy = best_s(shop, "busy")
    assert shop.features("busy-0")["card__count__events__7d"] > 50_000
    assert busy < RATIO * few


def test_a_decision_of_one_merchant_among_fifty_costs_what_a_lonely_ones_does(shop: Shop) -> None:
    lonely = best_s(shop, "lonely")
    for n in range(50):
        shop.create(f"merchant-{n}")
        shop.decide(1, f"merchant-{n}")
    assert best_s(shop, "crowded") < RATIO * lonely


def test_a_busy_key_holds_bounded_memory(shop: Shop) -> None:
    row = np.array(unpack_row(shop.decide("first").core.row), dtype=np.int64)
    sizes = []
    for start in (1, 2):
        many = np.tile(row, (50_000, 1))
        many[:, AT] = many[:, T] = row[AT] + (start * len(many) + np.arange(len(many))) * 60_000
        fold(shop, many)
        sizes.append(shop.writer.merchant("shop").features.mem.size)
    assert sizes[1] == sizes[0]
