"""Time what reference tables add to a payment's facts: nothing cached, all cached, and the look-ups alone.

``python -m bench.enrich [FOLDER]``: FOLDER holds the archives of the packages that are not shipped (``npm pack``);
without it they are fetched. Of each payment the fastest of five rounds counts, for other work of the machine only adds
to it. The last line printed is one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from avalist.adapters.packages import archive_in, fetch
from avalist.domain.events import Payment, decode_payment
from avalist.domain.facts import Facts
from avalist.domain.schema import DIGITAL_GOODS
from avalist.enrich.agents import agent_of
from avalist.enrich.intake import Intake
from avalist.enrich.packages import SOURCES, add, shipped
from avalist.enrich.tables import Contents, Tables, to_bytes
from bench._raw import keep

N, ROUNDS = 4000, 5
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "Linux; Android 15; SM-S911B")
_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Calcutta", "Europe/Paris", "America/Sao_Paulo")
_COUNTRIES = ("DE", "US", "IN", "FR", "BR", "GB")
_encode = msgspec.msgpack.Encoder().encode


def contents(folder: Path | None) -> Contents:
    """Return all tables."""
    made = shipped()
    for source in SOURCES:
        if not source.shipped:
            found = archive_in(folder, source) if folder else None
            archive = found.read_bytes() if found else fetch(source, source.version)[1]
            made = add(made, source, source.version, archive)
    return made


def payments() -> list[Payment]:
    """Return payments of which each has an address, a domain, a phone and a user agent of its own."""
    rng = np.random.default_rng(0)
    made = []
    for n in range(N):
        country = _COUNTRIES[n % 6]
        ip = f"2a01:{n:x}:{n % 7:x}::1" if n % 5 == 0 else ".".join(map(str, rng.integers(1, 255, 4).tolist()))
        made.append({
            "event_id": f"e{n}", "payment_id": f"p{n}", "occurred_at": "2026-01-01T00:00:00Z", "currency": "EUR",
            "amount_minor": 2500, "ip": ip, "billing": {"country": country},
            "customer": {"id": f"c{n}", "email": f"ann{n}@shop{n}.example", "phone": f"+49 30 {n}"},
            "method": {"kind": "card", "fingerprint": f"f{n}", "bin": f"{400000 + n}", "issuer_country": country},
            "device": {
                "id": f"d{n}", "timezone": _ZONES[n % 5], "language": "de-DE", "screen": "1920x1080",
                "user_agent": f"Mozilla/5.0 ({_SYSTEMS[n % 3]}) AppleWebKit/537.36 Chrome/{n}.0 Safari/537.36",
            },
        })  # fmt: skip
    return [decode_payment(msgspec.json.encode(one)) for one in made]


def timed(calls: list[Callable[[], object]]) -> list[int]:
    """Return the nanoseconds of each call."""
    times = []
    for call in calls:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return times


def taken(intake: Intake, payment: Payment) -> Callable[[], object]:
    """Return the call that makes a payment's facts and row, and its facts as the log has them."""

    def take() -> object:
        facts: Facts = intake.payment(payment)[1]
        return _encode(facts)

    return take


def main() -> None:
    made = contents(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    start = time.perf_counter_ns()
    tables = Tables(made)
    load_ms = (time.perf_counter_ns() - start) / 1e6
    events = payments()
    gc.collect()
    gc.freeze()
    gc.disable()  # as the service does
    raw: dict[str, list[list[int]]] = {}
    for _ in range(ROUNDS):
        plain, rich = Intake(DIGITAL_GOODS, b"k" * 32), Intake(DIGITAL_GOODS, b"k" * 32)
        rich.tables = tables
        for found in (tables.network, tables.email_class, tables._phone, tables.places, agent_of):
            found.cache_clear()
        for kind, intake in (("without", plain), ("with", rich)):
            for pass_ in ("cold", "cached"):
                raw.setdefault(f"{kind}_{pass_}", []).append(timed([taken(intake, event) for event in events]))
    ips = [event.ip or "" for event in events]
    for _ in range(ROUNDS):
        looked = timed([lambda ip=ip: tables._network_of(ip) for ip in ips])  # type: ignore[misc]
        raw.setdefault("ip_look_up", []).append(looked)
    keep("enrich", raw)
    best = {name: np.min(rounds, axis=0) / 1e3 for name, rounds in raw.items()}
    medians = {name: float(np.median(times)) for name, times in best.items()}
    for name, times in best.items():
        print(f"{name:16} p50 {medians[name]:7.2f} µs   p99 {np.percentile(times, 99):7.2f} µs   n {len(times)}")
    result: dict[str, object] = {"bench": "enrich", "payments": N, "tables_bytes": len(to_bytes(made))}
    result |= {"ranges": sum(one.rows for one in made.packages), "load_ms": round(load_ms, 1)}
    result |= {f"{name}_p50_us": round(value, 2) for name, value in medians.items()}
    for pass_ in ("cold", "cached"):
        result[f"added_{pass_}_p50_us"] = round(medians[f"with_{pass_}"] - medians[f"without_{pass_}"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
