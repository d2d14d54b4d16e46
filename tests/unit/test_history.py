"""History: rows become events in the order in which they were known."""

from __future__ import annotations

import csv
import datetime as dt
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import pytest

from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.events import AuthorisationResult, Capture, Chargeback, EarlyFraudWarning, Label, Payment, WireEvent
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.rejects import Rejects
from avalist.history.rowfile import RowHistory
from avalist.history.source import Survey
from avalist.history.table import Lines, Table
from tests.shop import CARD_NUMBER

MAPPING = """
payment_id = "id"
occurred_at = "t"
amount = "amt"
currency = "=EUR"
hashed = ["pan"]
[fields]
"customer.id" = "user"
"method.fingerprint" = "pan"
"custom.lat" = "lat"
"cart.sku" = "sku"
[outcomes]
%s
[schema]
base_currency = "EUR"
[schema.entities]
account = "customer.id"
[schema.numbers]
lat = "custom.lat:3"
[schema.settings]
capture = "%s"
report_delay_d = [7, 7]
"""
DAY = dt.timedelta(days=1)


class Read(NamedTuple):
    events: list[WireEvent]
    refused: list[dict[str, str]]
    survey: Survey


START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def mapping(outcomes: str = 'fraud = "bad"', capture: str = "assumed") -> Mapping:
    return decode_mapping(MAPPING % (outcomes, capture))


def row(n: int, **cells: Any) -> dict[str, Any]:
    whole = {
        "id": f"p{n}",
        "t": START + n * DAY,
        "amt": 12.5,
        "user": n,
        "pan": CARD_NUMBER,
        "lat": 1.5,
        "sku": "s",
        "bad": 0,
    }
    return {**whole, **cells}


def read(rows: list[dict[str, Any]], m: Mapping, folder: Path, until: dt.datetime | None = None) -> Read:
    file = folder / "rows.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    history = RowHistory(file, m, m.merchant_schema(), b"k" * 32, folder / "runs", until)
    with Rejects(folder / "rejects.csv") as rejects:
        survey = history.survey(rejects)
    found = [event for batch in history.events() for event in batch]
    refused = list(csv.DictReader((folder / "rejects.csv").read_text().splitlines())) if rejects.count else []
    return Read(found, refused, survey)


def events(rows: list[dict[str, Any]], m: Mapping | None = None, until: dt.datetime | None = None) -> list[WireEvent]:
    with TemporaryDirectory() as folder:
        found, refused, _ = read(rows, m or mapping(), Path(folder), until)
    assert not refused, refused
    return found


def refusal(rows: list[dict[str, Any]], m: Mapping | None = None) -> dict[str, str]:
    with TemporaryDirectory() as folder:
        found, refused, survey = read(rows, m or mapping(), Path(folder))
    assert (len(refused), survey.rejected, found) == (1, 1, [])
    return refused[0]


def test_a_row_becomes_a_payment() -> None:
    (payment,) = events([row(3)])
    assert isinstance(payment, Payment)
    assert (payment.event_id, payment.payment_id, payment.amount_minor, payment.currency) == (
        "pay:p3",
        "p3",
        1250,
        "EUR",
    )
    assert payment.received_at == payment.occurred_at == START + 3 * DAY
    assert payment.customer is not None
    assert (payment.customer.id, payment.custom, payment.cart[0].sku) == ("3", {"lat": 1.5}, "s")


def test_the_largest_number_is_taken_and_none_above_it() -> None:
    (payment,) = events([row(1, lat=1e9)])
    assert isinstance(payment, Payment)
    assert payment.custom == {"lat": 1e9}
    refused = refusal([row(1, lat=1e9 + 1)])
    assert (refused["column"], refused["reason"]) == ("lat", "the number is too large")


def test_a_hashed_column_is_hashed_before_anything_reads_it() -> None:
    one, other = events([row(1), row(2)])
    assert CARD_NUMBER not in repr(one)
    assert isinstance(one, Payment)
    assert isinstance(other, Payment)
    assert one.method == other.method


def test_a_card_number_in_another_column_is_refused_and_not_shown() -> None:
    refused = refusal([row(1, sku=CARD_NUMBER)])
    assert (refused["column"], refused["value"]) == ("sku", "(a card number)")
    assert "list the column under hashed" in refused["reason"]


def test_a_label_is_known_a_delay_later_and_says_that_it_is_imputed() -> None:
    known = events([row(0, bad=1), row(6), row(7), row(8)])
    assert [e.event_id for e in known] == ["pay:p0", "pay:p6", "label:p0", "pay:p7", "pay:p8"]
    label = known[2]
    assert isinstance(label, Label)
    assert (label.source, label.received_at) == ("imputed", START + 7 * DAY)


def test_known_time_never_decreases() -> None:
    drawn = decode_mapping((MAPPING % ('fraud = "bad"', "assumed")).replace("[7, 7]", "[25.0, 90.0]"))
    known = [e.received_at for e in events([row(n, bad=n % 2) for n in range(60)], drawn)]
    assert len(known) == 90
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(known))


def test_an_imputed_delay_is_drawn_from_the_law_by_the_payments_id() -> None:
    drawn = decode_mapping((MAPPING % ('fraud = "bad"', "assumed")).replace("[7, 7]", "[25.0, 90.0]"))
    label = events([row(0, bad=1)], drawn)[1]
    assert label.received_at == START + dt.timedelta(days=DelayLaw(25.0, 90.0).draw_d("p0"))


def test_a_report_time_in_the_file_is_used_as_it_is() -> None:
    m = mapping('fraud = "bad"\nfraud_reported_at = "cb"\nearly_warning_at = "efw"')
    known = events([row(0, bad=1, cb=START + 3 * DAY, efw=START + DAY), row(2, bad=1, cb=None, efw=None)], m)
    assert [type(e) for e in known] == [Payment, EarlyFraudWarning, Payment, Chargeback]


def test_captures_and_issuer_answers_are_known_at_once() -> None:
    m = mapping('captured = "cap"\nauth_approved = "ok"\nissuer_code = "code"', "explicit")
    known = events([row(0, cap=True, ok=True, code="00"), row(1, cap=False, ok=False, code=5)], m)
    assert [type(e) for e in known] == [Payment, AuthorisationResult, Capture, Payment, AuthorisationResult]
    assert isinstance(known[4], AuthorisationResult)
    assert (known[4].approved, known[4].issuer_code) == (False, "5")


@pytest.mark.parametrize("days", [0, 1, 6, 7, 8, 100])
def test_until_leaves_out_what_was_not_known(days: int) -> None:
    rows = [row(0, bad=1), row(1, bad=1), row(6), row(7)]
    until = START + days * DAY
    everything = events(rows)
    assert events(rows, until=until) == [e for e in everything if e.received_at is not None and e.received_at < until]


@pytest.mark.parametrize(
    ("value", "fraud"),
    [
        (1, True),
        (0, False),
        (True, True),
        (1.0, True),
        ("yes", True),
        ("No", False),
        ("0", False),
        ("false", False),
        (None, False),
        ("", False),
    ],
)
def test_yes_and_no(value: object, fraud: bool) -> None:
    assert (len(events([row(0, bad=value)])) == 2) == fraud


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"bad": "perhaps"}, "bad"),
        ({"bad": 2}, "bad"),
        ({"amt": None}, "amt"),
        ({"amt": "x"}, "amt"),
        ({"amt": float("nan")}, "amt"),
        ({"amt": 1e13}, "amt"),
        ({"t": None}, "t"),
        ({"t": "yesterday"}, "t"),
        ({"t": "1950-01-01"}, "t"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 120}, "id"),
        ({"user": "x" * 200}, "user"),
        ({"user": "x\x00"}, "user"),
        ({"user": "x\u202ey"}, "user"),
        ({"lat": [1]}, "lat"),
        ({"lat": 1e300}, "lat"),
        ({"sku": "s" * 129}, "sku"),
    ],
)
def test_a_cell_that_does_not_fit_is_named_with_its_line(cells: dict[str, Any], column: str) -> None:
    refused = refusal([row(0, **cells)])
    assert (refused["column"], refused["line"]) == (column, "1")
    assert len(refused["value"]) <= 24


@pytest.mark.parametrize("column", ["id", "t", "amt", "user", "pan", "lat", "bad"])
def test_a_missing_column_is_named_with_those_there_are(column: str) -> None:
    cells = row(0)
    del cells[column]
    with pytest.raises(BadInput) as error:
        events([cells])
    assert (error.value.got, "sku" in error.value.expected) == (column, True)


@pytest.mark.parametrize("value", ["12.5", "x", None])
def test_minor_units_are_integers(value: object) -> None:
    minor = decode_mapping((MAPPING % ("", "assumed")).replace("amount = ", "amount_minor = "))
    assert refusal([row(0, amt=value)], minor)["column"] == "amt"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "payment_id = 1",
        "[",
        MAPPING % ("frauds = 'x'", "assumed"),
        MAPPING % ("", "never"),
        (MAPPING % ("", "assumed")).replace("lat:3", "lat:x"),
        (MAPPING % ("", "assumed")).replace("lat:3", "lat:9"),
        (MAPPING % ("", "assumed")).replace('"EUR"', '"XXX"'),
        (MAPPING % ("", "assumed")).replace("account =", "Account ="),
    ],
)
def test_a_mapping_that_makes_no_sense_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        decode_mapping(text).merchant_schema()


def test_events_of_history_are_wire_events() -> None:
    for event in events([row(0, bad=1), row(9)]):
        assert msgspec.json.decode(msgspec.json.encode(event), type=WireEvent) == event


def test_a_card_number_in_a_heading_is_refused_and_not_shown(tmp_path: Path) -> None:
    (file := tmp_path / "shop.csv").write_text("time;card 4111 1111 1111 1111\n2026-01-01;1\n")
    with pytest.raises(BadInput, match="column's name") as raised:
        Table(file)
    assert (raised.value.field, raised.value.got) == ("column 2", "(not shown)")


def test_lines_keep_their_numbers_where_empty_ones_and_marks_stand_between(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a":1}\n\n  \r\n\xef\xbb\xbf {"a":2}\r\n{"a":3}')
    assert list(Table(file).lines()) == [Lines([1, 4, 5], [b'{"a":1}', b' {"a":2}', b'{"a":3}'])]
