"""Exports of acquirers, banks and shop systems, in their shapes: what they are taken for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from avalist.domain.errors import BadInput
from avalist.history.table import Table
from avalist.history.understanding.profile import draw
from avalist.history.understanding.propose import Proposal, propose
from tests.files import is_fraud, times, write_csv

ROWS = 400
TIMES = times(ROWS)


def proposed(folder: Path, **more: Sequence[object]) -> Proposal:
    """Propose a mapping of a usual file with some more columns; an underscore in a name stands for a space."""
    cells: dict[str, Sequence[object]] = {
        "order_id": [f"o{n}" for n in range(ROWS)],
        "created": [f"{at:%Y-%m-%d %H:%M:%S}" for at in TIMES],
        "amount": [f"{n % 50 + 0.99:.2f}" for n in range(ROWS)],
        "fraud": [int(is_fraud(n)) for n in range(ROWS)],
        **more,
    }
    kept = {name.replace("_", " "): column for name, column in cells.items() if column}
    return propose(write_csv(folder / "f.csv", [*kept], zip(*kept.values(), strict=True)))


def role(proposal: Proposal, column: str) -> str:
    return next(r.role for r in proposal.reasons if r.column == column)


def fraud(yes: object, no: object) -> list[object]:
    return [yes if is_fraud(n) else no for n in range(ROWS)]


def test_a_chargeback_that_was_won_is_no_fraud(tmp_path: Path) -> None:
    status = [v if n % 9 else "CHARGEBACK_WON" for n, v in enumerate(fraud("CHARGEBACK_LOST", "COMPLETED"))]
    mapping = proposed(tmp_path, fraud=(), status=status).mapping
    assert mapping is not None
    assert mapping.yes["fraud"] == ("CHARGEBACK_LOST",)


def test_who_declined_may_stand_in_the_status(tmp_path: Path) -> None:
    status = ["processor_declined" if n % 9 == 0 else "submitted_for_settlement" for n in range(ROWS)]
    mapping = proposed(tmp_path, Transaction_Status=status).mapping
    assert mapping is not None
    assert mapping.outcomes.old_decision == "Transaction Status"
    assert mapping.yes["captured"] == ("submitted_for_settlement",)


@pytest.mark.parametrize(
    ("column", "cells", "taken"),
    [
        ("Last Four of Credit Card", [f"{n % 90:04d}" for n in range(ROWS)], "fields.method.last4"),
        ("PAN Suffix", [f"{n % 90:04d}" for n in range(ROWS)], "fields.method.last4"),
        ("Card", [f"{n % 90:04d}" for n in range(ROWS)], "fields.custom.card"),
        ("First Six of Credit Card", ["424242", "510510"] * (ROWS // 2), "fields.method.bin"),
        ("Billing Post code", [f"{n % 90 + 10000}" for n in range(ROWS)], "fields.billing.postcode"),
        ("AVS Postal Code Response", ["M", "N"] * (ROWS // 2), "fields.custom.avs_postal_code_response"),
        ("Processor Response Code", ["1000", "2000"] * (ROWS // 2), "ignored"),
        ("Customer Group", ["General", "VIP"] * (ROWS // 2), "fields.custom.customer_group"),
        ("Kundenreferenz", [f"E2E{n}" for n in range(ROWS)], "ignored"),
        ("Settlement amount", [f"{n % 50 + 0.7:.2f}" for n in range(ROWS)], "ignored"),
        ("from address", [f"0x{n % 90:038x}" for n in range(ROWS)], "fields.custom.from_address"),
        ("Contact", [f"+9198{n % 90:06d}XXX" for n in range(ROWS)], "ignored"),
        ("took", [f"{n % 24:02d}:{n % 60:02d}:{n % 59:02d}" for n in range(ROWS)], "ignored"),  # not an IP address
        ("note", ["card 4111111111111111" if n % 50 == 1 else "ok" for n in range(ROWS)], "ignored"),
    ],
)
def test_names_of_acquirers_and_shops(tmp_path: Path, column: str, cells: list[str], taken: str) -> None:
    assert role(proposed(tmp_path, **{column.replace(" ", "_"): cells}), column) == taken


def test_a_bank_s_code_without_a_card_is_followed(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, bin=["424242", "510510"] * (ROWS // 2)).mapping
    assert mapping is not None
    assert mapping.schema.entities["bin"] == "custom.bin"


def test_a_message_of_a_card_network(tmp_path: Path) -> None:
    mapping = proposed(
        tmp_path,
        created=(), amount=(), fraud=(),
        local_date=[f"{at:%Y%m%d}" for at in TIMES], local_time=[f"{at:%H%M%S}" for at in TIMES],
        tran_amt=[f"{1000 + n:012d}" for n in range(ROWS)], curr_code=["840"] * ROWS, frd_ind=fraud("Y", "N"),
    ).mapping  # fmt: skip
    assert mapping is not None
    assert (mapping.occurred_at, mapping.formats["local date"]) == (("local date", "local time"), "%Y%m%d %H%M%S")
    assert (mapping.amount_minor, mapping.currency, mapping.outcomes.fraud) == ("tran amt", "=USD", "frd ind")


def test_signs_of_several_currencies_in_a_column_are_asked_about(tmp_path: Path) -> None:
    (question,) = proposed(tmp_path, currency=["$", "€"] * (ROWS // 2)).questions
    assert (question.option, {*question.choices}) == ("--currency", {"USD", "EUR"})


@pytest.mark.parametrize("nothing", [".", "-", "0000-00-00 00:00:00"])
def test_no_time_of_a_report_is_written_in_many_ways(tmp_path: Path, nothing: str) -> None:
    reported = [f"{TIMES[n] + dt.timedelta(9):%Y-%m-%d %H:%M:%S}" if is_fraud(n) else nothing for n in range(ROWS)]
    found = proposed(tmp_path, fraud=(), chargeback_date=reported, kind=["a", "b", "c", "d"] * (ROWS // 4))
    assert role(found, "chargeback date") == "outcomes.fraud_reported_at"
    assert role(found, "kind") == "fields.custom.kind"  # nothing tells fraud by itself, for most are none


@pytest.mark.parametrize("format", ["%d%b%Y:%H:%M:%S", "%d/%m/%Y|%Hh%M", "%d%b%y|%H%M"])
def test_clocks_of_other_programs(tmp_path: Path, format: str) -> None:
    head = ["date", "heure"][: format.count("|") + 1]
    cells = zip(*[f"{at:{format}}".split("|") for at in TIMES], strict=True)
    mapping = proposed(tmp_path, created=(), **dict(zip(head, cells, strict=True))).mapping
    assert mapping is not None
    assert mapping.time_columns == tuple(head)


def test_when_it_was_booked_comes_before_what_was_booked(tmp_path: Path) -> None:
    cells = {"event_date": [f"{at:%Y-%m-%d}" for at in TIMES], "booked_on": [f"{at:%Y-%m-%d %H:%M}" for at in TIMES]}
    mapping = proposed(tmp_path, created=(), **cells).mapping
    assert mapping is not None
    assert mapping.occurred_at == "booked on"


def test_rows_that_stand_twice_have_one_id(tmp_path: Path) -> None:
    proposed(tmp_path)
    frame = pl.read_csv(tmp_path / "f.csv", infer_schema=False)
    pl.concat([frame, frame.head(40)]).write_csv(tmp_path / "g.csv")
    mapping = propose(tmp_path / "g.csv").mapping
    assert mapping is not None
    assert mapping.payment_id == "order id"


@pytest.mark.parametrize(("other", "refunds"), [("sale", ("credit",)), ("debit", ())])
def test_a_credit_is_a_refund_beside_sales(tmp_path: Path, other: str, refunds: tuple[str, ...]) -> None:
    kinds = ["credit" if n % 9 == 0 else "bill payment" if n % 9 == 1 else other for n in range(ROWS)]
    mapping = proposed(tmp_path, type=kinds).mapping
    assert mapping is not None
    assert mapping.yes.get("refund", ()) == refunds


def test_an_amount_in_a_currency_comes_before_one_in_coins(tmp_path: Path) -> None:
    cells: dict[str, Sequence[object]]
    cells = {"value_eth": [f"{n * 7 % 97 / 1e5:.5f}" for n in range(ROWS)], "value_usd": [n + 0.5 for n in range(ROWS)]}
    mapping = proposed(tmp_path, amount=(), **cells).mapping
    assert mapping is not None
    assert (mapping.amount, mapping.currency) == ("value usd", "=USD")


def test_past_frauds_are_no_label(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, previous_fraudulent_activity=fraud(1, 0)[::-1]).mapping
    assert mapping is not None
    assert mapping.outcomes.fraud == "fraud"


def test_a_zone_as_spreadsheets_name_it(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, Time_Zone=["Eastern Time (US & Canada)"] * ROWS).mapping
    assert mapping is not None
    assert mapping.timezone == "America/New_York"


def test_a_booking_day_comes_before_a_value_day(tmp_path: Path) -> None:
    days = [f"{at:%d.%m.%Y}" for at in TIMES]
    mapping = proposed(tmp_path, created=(), Valutadatum=days, Buchungstag=days).mapping
    assert mapping is not None
    assert mapping.occurred_at == "Buchungstag"


def test_several_values_may_mean_fraud(tmp_path: Path) -> None:
    kinds = [("takeover" if n % 2 else "testing") if is_fraud(n) else "none" for n in range(ROWS)]
    (question,) = proposed(tmp_path, fraud=(), fraud_type=kinds).questions
    assert (question.option, question.choices[-1].count(",")) == ("--fraud-value", 1)
    mapping = propose(tmp_path / "f.csv", {"fraud_value": "takeover,testing"}).mapping
    assert mapping is not None
    assert mapping.yes["fraud"] == ("takeover", "testing")
    with pytest.raises(BadInput, match="has no such value"):
        propose(tmp_path / "f.csv", {"fraud_value": "takeover,none"})


@pytest.mark.parametrize(("name", "yes", "no"), [("class", "1", "2"), ("y", "1", "-1"), ("label", "bad", "good")])
def test_what_a_label_s_values_mean_is_asked(tmp_path: Path, name: str, yes: str, no: str) -> None:
    (question,) = proposed(tmp_path, fraud=(), **{name: fraud(yes, no)}).questions
    assert (question.option, {*question.choices}) == ("--fraud-value", {yes, no})


def test_amounts_that_rounding_would_change_are_told(tmp_path: Path) -> None:
    notes = proposed(tmp_path, amount=[f"{0.001 * (n % 97) + 0.00012:.5f}" for n in range(ROWS)]).notes
    assert any("rounding changes them" in note for note in notes)


def test_names_below_names_of_groups(tmp_path: Path) -> None:
    rows = "".join(f"{n},{at:%Y-%m-%d},{n}.50,c{n % 9}\n" for n, at in enumerate(TIMES))
    (tmp_path / "f.csv").write_text(f"Order,,Money,Customer\nid,date,amount,name\n{rows}")
    table = Table(tmp_path / "f.csv")
    assert (table.names, table.above) == (["id", "date", "amount", "name"], 1)


@pytest.mark.parametrize("delimiter", ["~", "^"])
def test_delimiters_of_banks(tmp_path: Path, delimiter: str) -> None:
    write_csv(tmp_path / "f.csv", ["id", "amount"], [(n, 5) for n in range(60)], delimiter)
    assert Table(tmp_path / "f.csv").names == ["id", "amount"]


def test_a_file_of_one_cell_a_line_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("id time amount\n" + "1 2026-01-01 5.00\n" * 60)
    with pytest.raises(BadInput, match="every line is one cell"):
        propose(tmp_path / "f.txt")


def test_what_few_objects_of_an_array_have_is_seen(tmp_path: Path) -> None:
    objects = [{"id": n, "at": f"{at}", "more": {"tags": ["x", "y"]}} for n, at in enumerate(times(3000))]
    objects[2900]["dispute"] = "fraud"
    (tmp_path / "f.json").write_text(json.dumps(objects))
    table = Table(tmp_path / "f.json")
    sample = draw(table).frame
    assert len(sample) == 3000  # though the first batch is small
    assert sample["dispute"].drop_nulls().to_list() == ["fraud"]
    assert sample["more.tags"][0] == "x y"


def test_a_time_of_day_of_parquet_is_no_ip_address(tmp_path: Path) -> None:
    proposed(tmp_path)
    frame = pl.read_csv(tmp_path / "f.csv").with_columns(t=pl.Series([at.time() for at in TIMES]))
    frame.write_parquet(tmp_path / "f.parquet")
    assert role(propose(tmp_path / "f.parquet"), "t") == "ignored"
