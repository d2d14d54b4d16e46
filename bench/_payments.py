"""Payments for load: bodies of about 2 KB that differ in every id, cheap to make."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"
)
_PAD = "x"


_DETAILS: dict[str, object] = {
    "journey": ["home", "product", "cart", "pay"], "tells": [], "pointer": {"speed": 640.0, "detour": 1.2},
    "typing": {"hold_ms": 92, "flight_ms": 171, "hold_spread": 0.4, "flight_spread": 0.6},
}  # fmt: skip


def payment(
    n: int, customer: int, rng: np.random.Generator, size: int = 2048, *, detailed: bool = False
) -> dict[str, object]:
    """Return one payment of a customer, padded to about `size` bytes by what it carries in ``custom``.

    The session of one that is `detailed` tells of steps, keys and pointer.
    """
    details = _DETAILS if detailed else {}
    card, product, host = (int(x) for x in rng.integers(0, (2, 40, 250)))
    body: dict[str, object] = {
        "event_id": f"e{n}",
        "payment_id": f"p{n}",
        "occurred_at": "2026-01-01T00:00:00Z",
        "amount_minor": int(rng.choice([1000, 2000, 2500, 5000, 10_000])),
        "currency": "EUR",
        "cart": [{"kind": "gift_card", "sku": f"sku-{product}", "brand": "brand", "unit_amount_minor": 2500}],
        "method": {
            "kind": "card", "fingerprint": f"card-{customer}-{card}", "bin": f"4{customer % 1000:05d}", "last4": "0000",
            "issuer_country": "DE",
        },
        "customer": {
            "id": f"customer-{customer}", "email": f"name.{customer}@example.com", "created_at": "2025-01-01T00:00:00Z",
        },
        "device": {
            "id": f"device-{customer}", "user_agent": _AGENT, "screen": "1920x1080", "timezone": "Europe/Berlin",
            "language": "de-DE",
        },
        "session": {
            "id": f"s{n}", "duration_ms": 120_000, "pages": 5, "key_presses": 40, "pointer_moves": 900, **details,
        },
        "ip": f"93.{customer % 200}.{customer // 200 % 250}.{host}",
        "billing": {"city": "Berlin", "postcode": "10115", "country": "DE"},
        "payee": {"id": f"payee-{customer % 5000}", "kind": "recipient"},
    }  # fmt: skip
    room = size - len(json.dumps(body)) - 40
    body["custom"] = {f"note_{i}": _PAD * min(480, room - 500 * i) for i in range(room // 500 + 1) if room > 500 * i}
    return body


def bodies(
    first: int, count: int, *, customers: int = 50_000, seed: int = 1, detailed: bool = False
) -> Iterator[bytes]:
    """Yield `count` bodies with ids from `first` on, of customers drawn with a long tail."""
    rng = np.random.default_rng((seed, first))
    templates = [
        json.dumps(payment(0, int(c), rng, detailed=detailed)).encode() for c in rng.zipf(1.3, 4000) % customers
    ]
    for n in range(first, first + count):
        template = templates[int(n * 2_654_435_761) % len(templates)]
        yield template.replace(b'"e0"', b'"e%d"' % n, 1).replace(b'"p0"', b'"p%d"' % n, 1)
