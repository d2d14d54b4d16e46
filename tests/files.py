"""Files of shops that have nothing in common, made for the tests of import."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

START = datetime(2026, 1, 1, 8, 0, 0)
ROWS = 400


def draws(seed: int = 1) -> random.Random:
    return random.Random(seed)


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(head)
        writer.writerows(rows)
    return path


def times(n: int = ROWS, every_s: int = 7_321) -> list[datetime]:
    return [START + timedelta(seconds=every_s * i) for i in range(n)]


def is_fraud(n: int) -> bool:
    return n % 23 == 5


def european(path: Path, rows: int = ROWS) -> Path:
    """Semicolons, decimal commas, dates with dots, day and time apart, gaps, cp1252."""
    draw = draws()
    lines = ["Bestellnr;Datum;Uhrzeit;Betrag;Kundennr;E-Mail;Straße;Betrug"]
    for n, at in enumerate(times(rows)):
        amount = f"{draw.randrange(1, 3)}.{draw.randrange(100, 999)},{draw.randrange(10, 99)} €"
        mail = "" if n % 7 == 0 else f"k{n % 60}@beispiel.de"
        fraud = "ja" if is_fraud(n) else "nein"
        lines.append(f"B-{n:05d};{at:%d.%m.%Y};{at:%H:%M};{amount};K{n % 60};{mail};Hauptstraße {n};{fraud}")
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    return path


def american(path: Path) -> Path:
    """Month first, twelve-hour clock, dollars, card numbers, a chargeback date."""
    draw, rows = draws(), []
    for n, at in enumerate(times()):
        charged_back = f"{at + timedelta(days=20):%m/%d/%Y}" if is_fraud(n) else ""
        rows.append(
            (n, f"ord_{n}", f"{at:%m/%d/%Y %I:%M %p}", f"${draw.uniform(1, 2000):,.2f}", f"411111111111{n % 80:04d}",
             draw.choice(["CA", "NY", "TX"]), "Visa", charged_back)
        )  # fmt: skip
    head = ("", "Order ID", "Order Date", "Order Total", "Card Number", "State", "Brand", "Chargeback Date")
    return write_csv(path, head, rows)


def epochs(path: Path) -> Path:
    """Milliseconds since 1970, minor units, tabs, several currencies, a status of words."""
    draw, rows = draws(), []
    for n, at in enumerate(times()):
        ms = round((at - datetime(1970, 1, 1)).total_seconds() * 1000)
        status = "chargeback" if is_fraud(n) else draw.choice(["paid", "paid", "declined"])
        currency = "GBP" if n % 9 == 0 else "USD"
        rows.append(
            (f"{n:032x}", ms, draw.randrange(100, 90_000), currency, f"192.0.2.{n % 50}", f"dev-{n % 70}", status)
        )
    head = ("uuid", "created_ms", "amount_cents", "ccy", "client_ip", "device_hash", "status")
    return write_csv(path, head, rows, "\t")


def anonymous(path: Path) -> Path:
    """No entity but an amount: anonymous numbers, a count of seconds, a class."""
    draw = draws()
    rows = [
        (n * 61, *(f"{draw.gauss(0, 1):.6f}" for _ in range(5)), f"{draw.uniform(0, 500):.2f}", int(is_fraud(n)))
        for n in range(ROWS)
    ]
    return write_csv(path, ("Time", "V1", "V2", "V3", "V4", "V5", "Amount", "Class"), rows)


def nested(path: Path) -> Path:
    """JSON lines of nested objects with zones in the times."""
    draw, lines = draws(), []
    for n, at in enumerate(times()):
        whole: dict[str, Any] = {
            "id": f"pay_{n}", "created": f"{at:%Y-%m-%dT%H:%M:%S}+02:00",
            "amount": {"value": f"{draw.uniform(5, 90):.2f}", "currency": "EUR"},
            "customer": {"id": f"cus_{n % 40}", "email": f"u{n % 40}@example.com"},
            "source": {"card": {"fingerprint": f"fp{n % 55:06x}", "bin": 411111 + n % 3}},
            "items": [{"sku": f"S-{n % 12}"}], "fraudulent": is_fraud(n),
        }  # fmt: skip
        lines.append(msgspec.json.encode(whole))
    path.write_bytes(b"\n".join(lines))
    return path


def generator_like(path: Path) -> Path:
    """Typed columns, people's names, places, coordinates; ids that repeat; cards whose numbers look real."""
    draw, rows = draws(), []
    for n, at in enumerate(times()):
        rows.append({
            "trans": f"{n % 396:032x}", "ts": at, "cc_num": f"411111111111{n % 50:04d}", "merchant": f"Shop {n % 30}",
            "category": draw.choice(["travel", "food", "home"]), "amt": round(draw.uniform(1, 300), 2),
            "first": "Ann", "last": f"Smith{n % 50}", "zip": f"{10_000 + n % 50}", "lat": 40 + n % 50 / 7,
            "city_pop": 1000 + n % 50 * 37, "dob": "1980-01-02", "is_fraud": int(is_fraud(n)),
        })  # fmt: skip
    pl.DataFrame(rows).write_parquet(path)
    return path


def book_like(path: Path, rows: int = ROWS) -> Path:
    """Numbers for ids, one customer and one terminal, a flag."""
    draw = draws()
    frame = pl.DataFrame({
        "TXN_ID": range(rows), "TXN_DATETIME": times(rows), "CLIENT_ID": [draw.randrange(90) for _ in range(rows)],
        "TERMINAL_ID": [draw.randrange(150) for _ in range(rows)],
        "TXN_AMOUNT": [round(draw.uniform(1, 99), 2) for _ in range(rows)],
        "TXN_FRAUD": [int(is_fraud(n)) for n in range(rows)],
    })  # fmt: skip
    frame.write_parquet(path)
    return path


def transfers(path: Path) -> Path:
    """Steps of an hour, two accounts, balances that tell the end of it, another system's flag."""
    draw, rows = draws(), []
    for n in range(ROWS):
        amount = draw.uniform(10, 9000)
        rows.append((n // 4, draw.choice(["TRANSFER", "CASH_OUT"]), f"{amount:.2f}", f"C{n % 90:09d}",
                     f"{amount * 2:.2f}", f"{amount:.2f}",
                     f"M{n % 40:09d}", int(is_fraud(n)), 0))  # fmt: skip
    head = (
        "step",
        "type",
        "amount",
        "nameOrig",
        "oldbalanceOrg",
        "newbalanceOrig",
        "nameDest",
        "isFraud",
        "isFlaggedFraud",
    )
    return write_csv(path, head, rows)
