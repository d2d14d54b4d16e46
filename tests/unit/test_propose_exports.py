"""Exports of payment providers and public data sets of fraud, in their shapes: what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from avalist.domain.errors import BadInput
from avalist.domain.events import Chargeback, Label, Payment, Refund
from avalist.history.columns import numbers
from avalist.history.mapping import Mapping
from avalist.history.rejects import Rejects
from avalist.history.rowfile import RowHistory
from avalist.history.table import Table
from avalist.history.understanding.propose import Proposal, propose
from tests.files import is_fraud, times, write_csv

ROWS = 400


def columns(folder: Path, **cells: Sequence[object]) -> Path:
    """Write a file of some columns; an underscore in a name stands for a space."""
    head = [name.replace("_", " ") for name in cells]
    return write_csv(folder / "f.csv", head, zip(*cells.values(), strict=True))


def usual(rows: int = ROWS) -> dict[str, Sequence[object]]:
    """Return columns that leave no question open."""
    return {
        "order_id": [f"o{n}" for n in range(rows)],
        "created": [f"{at:%Y-%m-%d %H:%M:%S}" for at in times(rows)],
        "amount": [f"{n % 50 + 0.99:.2f}" for n in range(rows)],
        "fraud": [int(is_fraud(n)) for n in range(rows)],
    }


def mapped(file: Path, **answers: str) -> Mapping:
    mapping = propose(file, answers).ready(assume=True).mapping
    assert mapping is not None
    return mapping


def roles(proposal: Proposal) -> dict[str, str]:
    return {r.column: r.role for r in proposal.reasons}


def told(file: Path, mapping: Mapping, folder: Path) -> list[tuple[str, str]]:
    """Import a file's rows; return its outcomes as (type, payment id)."""
    history = RowHistory(file, mapping, mapping.merchant_schema(), b"k" * 32, folder / "runs")
    with Rejects(folder / "rejects.csv") as rejects:
        history.survey(rejects)
        events = [event for some in history.events() for event in some]
    return [(e.type, e.payment_id) for e in events if isinstance(e, Chargeback | Label | Refund)]


# --- rows that are no payments, and words that say what became of them ------------------------------------------------


def provider(folder: Path) -> Path:
    """Payments, refunds and chargebacks as rows of their own, with the same reference."""
    rows = [(f"{at:%Y-%m-%d %H:%M:%S}", f"p{n}", "Payment", n % 50 + 0.5) for n, at in enumerate(times(ROWS))]
    others = [("2026-03-01 00:00:00", "p5", "Chargeback", -5.5), ("2026-03-02 00:00:00", "p6", "Refund", -6.5),
              ("2026-03-03 00:00:00", "p5", "ChargebackReversed", 5.5),
              ("2026-03-04 00:00:00", "p999", "Chargeback", -5.5)]  # fmt: skip
    return write_csv(folder / "f.csv", ("date", "psp reference", "type", "amount"), [*rows, *others])


def test_chargebacks_that_are_rows_of_their_own_are_the_label(tmp_path: Path) -> None:
    proposal = propose(provider(tmp_path)).ready()
    assert proposal.mapping is not None
    assert proposal.mapping.yes == {"payment": ("Payment",), "refund": ("Refund",), "chargeback": ("Chargeback",)}
    outcomes = told(tmp_path / "f.csv", proposal.mapping, tmp_path)
    assert outcomes == [("chargeback", "p5"), ("refund", "p6")]


def test_chargebacks_that_name_no_payment_are_no_label(tmp_path: Path) -> None:
    file = provider(tmp_path)
    file.write_text(file.read_text().replace(",p5,Chargeback", ",x5,Chargeback").replace(",p999,C", ",x9,C"))
    with pytest.raises(BadInput, match="no column says which payments were fraud"):
        propose(file).ready()
    assert any("none names a payment of the file" in note for note in propose(file).notes)


def test_a_reference_that_only_refunds_have_names_the_payment(tmp_path: Path) -> None:
    ids = [f"t{n}" for n in range(ROWS)]
    kinds = ["Chargeback" if n % 40 == 39 else "Express Checkout Payment" for n in range(ROWS)]
    cells = {**usual(), "order_id": ids, "type": kinds}
    del cells["fraud"]
    cells["reference_txn_id"] = [f"t{n - 30}" if kinds[n] == "Chargeback" else "" for n in range(ROWS)]
    mapping = mapped(columns(tmp_path, **cells))
    assert (mapping.refund_of, mapping.payment_id) == ("reference txn id", "order id")
    assert told(tmp_path / "f.csv", mapping, tmp_path)[0] == ("chargeback", "t9")


def test_a_status_of_words_that_are_not_known_never_says_that_most_were_unpaid(tmp_path: Path) -> None:
    words = ["chargeback - fraud" if is_fraud(n) else "pending" if n % 9 == 0 else "green" for n in range(ROWS)]
    outcomes = mapped(columns(tmp_path, **{**usual(), "fraud": words})).outcomes
    assert (outcomes.fraud, outcomes.captured, outcomes.old_decision) == ("fraud", "", "")


def test_a_good_payment_and_one_disputed_for_another_reason_were_paid(tmp_path: Path) -> None:
    words = ["chargeback - fraud" if is_fraud(n) else ("pending", "chargeback - not received", "good")[min(n % 9, 2)]
             for n in range(ROWS)]  # fmt: skip
    yes = mapped(columns(tmp_path, **{**usual(), "fraud": words})).yes
    assert yes["fraud"] == ("chargeback - fraud",)
    assert yes["captured"] == ("chargeback - fraud", "chargeback - not received", "good")


def test_reasons_say_which_of_the_dated_disputes_were_fraud(tmp_path: Path) -> None:
    cells = {**usual(), "fraud": [("fraudulent", "not received")[n % 2] if is_fraud(n) else "" for n in range(ROWS)]}
    cells["dispute_reason"], cells["dispute_date"] = cells.pop("fraud"), [
        "2026-04-01" if is_fraud(n) else "" for n in range(ROWS)
    ]  # fmt: skip
    mapping = propose(columns(tmp_path, **cells)).ready().mapping
    assert mapping is not None
    assert (mapping.outcomes.fraud_reported_at, mapping.yes["fraud"]) == ("dispute date", ("fraudulent",))
    outcomes = told(tmp_path / "f.csv", mapping, tmp_path)
    assert outcomes == [("chargeback", f"o{n}") for n in range(ROWS) if is_fraud(n) and n % 2 == 0]


@pytest.mark.parametrize("yes", ["1", "true"])
def test_a_label_that_says_what_was_no_fraud_is_turned_round(tmp_path: Path, yes: str) -> None:
    cells = {**usual(), "is_legit": [("0" if yes == "1" else "false") if is_fraud(n) else yes for n in range(ROWS)]}
    del cells["fraud"]
    mapping = mapped(columns(tmp_path, **cells))
    assert {id for _, id in told(tmp_path / "f.csv", mapping, tmp_path)} <= {
        f"o{n}" for n in range(ROWS) if is_fraud(n)
    }


def test_which_value_of_a_label_means_fraud_is_asked_and_taken(tmp_path: Path) -> None:
    cells = {**usual(), "kind": ["B" if is_fraud(n) else "A" for n in range(ROWS)]}
    del cells["fraud"]
    file = columns(tmp_path, **cells)
    with pytest.raises(BadInput, match="which value of kind means fraud") as error:
        propose(file, {"label": "kind"}).ready(assume=True)
    assert (error.value.field, error.value.expected) == ("--fraud-value", "A or B")
    assert mapped(file, label="kind", fraud_value="B").yes["fraud"] == ("B",)
    with pytest.raises(BadInput, match="no such value"):
        propose(file, {"label": "kind", "fraud_value": "C"})


def test_a_mark_where_it_was_fraud_is_a_label(tmp_path: Path) -> None:
    marks = ["x" if is_fraud(n) else "" for n in range(ROWS)]
    assert mapped(columns(tmp_path, **{**usual(), "fraud": marks})).yes["fraud"] == ("x",)


def test_an_empty_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\(fraud has no two values\)"):
        propose(columns(tmp_path, **{**usual(), "fraud": [0] * ROWS})).ready()


# --- shops of other countries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "currency", "third"),
    [
        (["R$ 1.256,59", "R$ 80,58", "-R$ 72,03"], "BRL", -72.03),
        (["4\u202f497,09 €", "85,29 €", "\u22125,10 €"], "EUR", -5.1),
        (["CHF 1’497.09", "CHF 85.29", "CHF 5.10"], "CHF", 5.1),
        (["US$46.91", "US$1,046.91", "US$5.10"], "USD", 5.1),
    ],
)
def test_amounts_as_countries_write_them(tmp_path: Path, cells: list[str], currency: str, third: float) -> None:
    cells = [*cells[:2] * (ROWS // 2)][: ROWS - 1] + cells[2:]
    mapping = mapped(columns(tmp_path, **{**usual(), "amount": cells}))
    assert (mapping.amount, mapping.currency) == ("amount", f"={currency}")
    assert numbers(pl.Series(cells), mapping.decimal_mark)[-1] == third


def test_amounts_in_several_currencies_are_asked_about(tmp_path: Path) -> None:
    file = columns(tmp_path, **{**usual(), "amount": [f"{'€$'[n % 2]}{n % 50 + 0.99:.2f}" for n in range(ROWS)]})
    with pytest.raises(BadInput, match=r"several currencies \(EUR, USD\)") as error:
        propose(file).ready(assume=True)
    assert error.value.field == "--currency"
    assert mapped(file, currency="USD").currency == "=USD"


def test_an_amount_that_cannot_be_read_is_shown(tmp_path: Path) -> None:
    file = columns(tmp_path, **{**usual(), "amount": ["5.10", "KD 3.250"] * (ROWS // 2)})
    with pytest.raises(BadInput, match=r"no column can be an amount.*\(amount, such as 'KD 3\.250', is none") as error:
        propose(file).ready()
    assert not error.value.expected  # neither the label nor the row's number is offered


@pytest.mark.parametrize(("also", "third"), [({}, 1_002.0), ({"fee": "0.25"}, 1.002), ({"currency": "KWD"}, 1.002)])
def test_nothing_but_thousands_marks_are_no_decimals(tmp_path: Path, also: dict[str, str], third: float) -> None:
    cells = [f"{n % 9 + 1}.{n % 9:03}" for n in range(ROWS)]
    cells[2] = "1.002"
    file = columns(tmp_path, **{**usual(), "amount": cells, **{name: [cell] * ROWS for name, cell in also.items()}})
    mapping = mapped(file)
    assert numbers(pl.Series(cells), mapping.decimal_mark)[2] == third


@pytest.mark.parametrize("mark", [".", ","])
def test_whole_amounts_with_thousands_marks_may_be_cents_too(tmp_path: Path, mark: str) -> None:
    cells = [f"{n % 9 + 1}{mark}{n % 9:03}" for n in range(ROWS)]
    proposal = propose(columns(tmp_path, **{**usual(), "amount": cells}))
    assert [question.option for question in proposal.questions] == ["--units"]


def test_one_amount_that_is_none_is_rejected_and_no_more(tmp_path: Path) -> None:
    amounts = [*usual()["amount"][:-1], "see invoice"]
    mapping = mapped(columns(tmp_path, **{**usual(), "amount": amounts}))
    told(tmp_path / "f.csv", mapping, tmp_path)
    assert "amount,not an amount,see invoice" in (tmp_path / "rejects.csv").read_text()


def test_further_items_of_an_order_are_left_out(tmp_path: Path) -> None:
    """Some shops write a line for each further item of an order, with neither a time nor an amount."""
    ids = [f"#{1001 + n - n % 3 // 2}" for n in range(ROWS)]
    gone = {n for n in range(ROWS) if n % 3 == 2}
    cells = {"Name": ids, "Paid at": usual()["created"], "Total": usual()["amount"], "Chargebacked": usual()["fraud"]}
    cells = {k: ["" if n in gone and k != "Name" else v[n] for n in range(ROWS)] for k, v in cells.items()}
    mapping = mapped(columns(tmp_path, **cells), time="Paid at")
    assert (mapping.payment_id, mapping.outcomes.fraud) == ("Name", "Chargebacked")
    history = RowHistory(tmp_path / "f.csv", mapping, mapping.merchant_schema(), b"k" * 32, tmp_path / "runs")
    with Rejects(tmp_path / "rejects.csv") as rejects:
        survey = history.survey(rejects)
    assert (survey.rejected, survey.skipped) == (0, {"no time and no amount": len(gone)})


def test_a_time_in_some_rows_is_asked_about(tmp_path: Path) -> None:
    paid = [at if n % 3 else "" for n, at in enumerate(usual()["created"])]
    cells = {**usual(), "Paid at": paid}
    del cells["created"]
    file = columns(tmp_path, **cells)
    with pytest.raises(BadInput, match="Paid at in 66% of the rows") as error:
        propose(file).ready(assume=True)
    assert error.value.expected == "Paid at"
    assert mapped(file, time="Paid at").occurred_at == "Paid at"


@pytest.mark.parametrize(("name", "yes", "no"), [("Betrug", "WAHR", "FALSCH"), ("Chargebacked", "yes", "no"),
                                                 ("Betrugsfall", "J", "N"), ("fraudflag", "VRAI", "FAUX")])  # fmt: skip
def test_labels_as_countries_and_spreadsheets_write_them(tmp_path: Path, name: str, yes: str, no: str) -> None:
    cells = {**usual(), name: [yes if is_fraud(n) else no for n in range(ROWS)]}
    del cells["fraud"]
    mapping = propose(columns(tmp_path, **cells)).ready(assume=True).mapping
    assert mapping is not None
    labels = told(tmp_path / "f.csv", mapping, tmp_path)
    assert sorted(id for _, id in labels) == sorted(f"o{n}" for n in range(ROWS) if is_fraud(n))


@pytest.mark.parametrize("cells", [("A", "B"), ("1", "0"), ("open", "closed")])
def test_a_label_whose_values_do_not_tell_is_asked_about(tmp_path: Path, cells: tuple[str, str]) -> None:
    """It never becomes a column that a model sees."""
    file = columns(tmp_path, **{**usual(), "fraud": [cells[n % 5 == 0] for n in range(ROWS)]})
    with pytest.raises(BadInput, match="which value of fraud means fraud") as error:
        propose(file).ready(assume=True)
    assert error.value.field == "--fraud-value"
    assert mapped(file, fraud_value=cells[1]).yes["fraud"] == (cells[1],)


def test_numbers_of_orders_and_people_are_told_from_numbers(tmp_path: Path) -> None:
    cells: dict[str, Sequence[object]]
    cells = {"Name": [f"#{n + 1001}" for n in range(ROWS)], "cpf": [10**10 + n % 90 for n in range(ROWS)], **usual()}
    del cells["order_id"]
    mapping = mapped(columns(tmp_path, **cells))
    assert (mapping.payment_id, mapping.fields["customer.id"]) == ("Name", "cpf")


@pytest.mark.parametrize(
    ("named", "zone"),
    [("Europe/Berlin", "Europe/Berlin"), ("CET", "CET"), ("PST", "America/Los_Angeles"),
     ("MEZ MESZ", "Europe/Berlin"), ("lunar", "UTC"), ("CET JST", "UTC")],
)  # fmt: skip
def test_a_column_names_the_zone(tmp_path: Path, named: str, zone: str) -> None:
    zones = named.split()
    proposal = propose(columns(tmp_path, **{**usual(), "Zeitzone": [zones[n % len(zones)] for n in range(ROWS)]}))
    assert proposal.mapping is not None
    assert proposal.mapping.timezone == zone
    said = "as Zeitzone says" if zone != "UTC" else "Zeitzone names no zone that is known"
    assert any(said in note for note in proposal.notes)


# --- times ------------------------------------------------------------------------------------------------------------


def first_time(file: Path, mapping: Mapping, folder: Path) -> str:
    history = RowHistory(file, mapping, mapping.merchant_schema(), b"k" * 32, folder / "runs")
    with Rejects(folder / "rejects.csv") as rejects:
        history.survey(rejects)
        return next(f"{event.occurred_at:%Y-%m-%d %H:%M:%S}" for some in history.events() for event in some)


def without_created(**more: Sequence[object]) -> dict[str, Sequence[object]]:
    cells = {**usual(), **more}
    del cells["created"]
    return cells


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({"Year": "%Y", "Month": "%m", "Day": "%d", "Time": "%H:%M"}, "2026-01-01 08:00:00"),
        ({"Jahr": "%Y", "Monat": "%m", "Tag": "%d"}, "2026-01-01 00:00:00"),
        ({"date": "%Y-%m-%d", "hour": "%H"}, "2026-01-01 08:00:00"),
        ({"date": "%m/%d/%Y", "time": "%H:%M:%S"}, "2026-01-01 08:00:00"),
        ({"date": "%Y-%m-%d", "time": "%I:%M %p"}, "2026-01-01 08:00:00"),
    ],
)
def test_a_time_in_several_columns(tmp_path: Path, more: dict[str, str], first: str) -> None:
    cells = {
        name: [str(int(cell)) if (cell := at.strftime(form)).isdigit() else cell for at in times(ROWS)]
        for name, form in more.items()
    }
    file = columns(tmp_path, **without_created(**cells))
    mapping = propose(file).ready().mapping
    assert mapping is not None
    assert set(mapping.time_columns) - {"=00"} == set(more)
    assert first_time(file, mapping, tmp_path) == first


@pytest.mark.parametrize("cell", ["46023.5", "46023,5"])
def test_days_as_spreadsheets_count_them(tmp_path: Path, cell: str) -> None:
    days = [cell.replace("46023", str(46023 + n // 9)) for n in range(ROWS)]
    file = columns(tmp_path, **without_created(Bestelldatum=days))
    assert first_time(file, mapped(file), tmp_path) == "2026-01-01 12:00:00"


def test_what_a_coarse_count_counts_is_asked_and_taken(tmp_path: Path) -> None:
    file = columns(tmp_path, **without_created(step=[n // 10 for n in range(ROWS)]))
    with pytest.raises(BadInput, match="from 0 to 39, in 10 rows or so each") as error:
        propose(file).ready()
    assert error.value.field == "--time-unit"
    assert mapped(file).formats == {"step": "d since 2020-01-01"}
    assert mapped(file, time_unit="month").formats == {"step": "month since 2020-01-01"}
    assert columns_count(tmp_path, "day") == {"day": "d since 2020-01-01"}


@pytest.mark.parametrize(("every", "unit"), [(24, "h"), (7, "d")])
def test_steps_are_hours_where_payments_come_and_go_with_the_day(tmp_path: Path, every: int, unit: str) -> None:
    steps = [step for step in range(96) for _ in range(5 + 5 * (step % every < every / 2))]
    cells = usual(len(steps))
    file = columns(tmp_path, **{**cells, "created": steps}, step=steps)
    assert mapped(file, time="step").formats == {"step": f"{unit} since 2020-01-01"}


def columns_count(folder: Path, name: str) -> dict[str, str]:
    proposal = propose(columns(folder, **without_created(**{name: [n // 10 for n in range(ROWS)]}))).ready()
    assert proposal.mapping is not None
    return proposal.mapping.formats


def test_another_count_since_1970_is_no_number_to_learn_from(tmp_path: Path) -> None:
    cells = {**usual(), "unix_time": [1_767_254_400 + 7_321 * n for n in range(ROWS)]}
    assert roles(propose(columns(tmp_path, **cells)))["unix time"] == "ignored"


def test_when_an_account_was_opened_is_known(tmp_path: Path) -> None:
    cells = {**usual(), "signup_time": [f"2025-12-{n % 28 + 1:02d} 10:00:00" for n in range(ROWS)]}
    mapping = mapped(columns(tmp_path, **cells))
    assert (mapping.fields["customer.created_at"], mapping.occurred_at) == ("signup time", "created")


def test_a_file_without_any_time_is_told_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("amount\n" + "\n".join(f"{n}.99" for n in range(60)))
    with pytest.raises(BadInput, match="a payment needs one: add a column"):
        propose(tmp_path / "f.csv").ready()


# --- who and where ----------------------------------------------------------------------------------------------------


def test_names_that_mislead(tmp_path: Path) -> None:
    cells = {
        **usual(),
        "merchant_reference": [f"r{n}" for n in range(ROWS)],
        "issuer_country": ["DE", "FR"] * (ROWS // 2),
        "card_id": [f"card_{n}" for n in range(ROWS)],
        "card_fingerprint": [f"fp{n % 90:05x}" for n in range(ROWS)],
        "zip_count_4w": [n * 7 % 97 for n in range(ROWS)],
        "name_email_similarity": [f"{n % 91 / 91:.5f}" for n in range(ROWS)],
        "fee": [f"{n % 50 / 30:.2f}" for n in range(ROWS)],
    }
    found = roles(propose(columns(tmp_path, **cells)))
    assert found["issuer country"] == "fields.custom.issuer_country"
    assert found["card fingerprint"] == "fields.method.fingerprint"
    assert found["zip count 4w"].startswith("fields.custom.zip_count")
    assert found["name email similarity"].startswith("fields.custom.name_email")
    assert {found[name] for name in ("merchant reference", "card id", "fee")} == {"ignored"}


def test_ip_addresses_written_as_numbers(tmp_path: Path) -> None:
    cells = {**usual(), "ip_address": [f"{3_232_235_520 + n % 90}.79972" for n in range(ROWS)]}
    file = columns(tmp_path, **cells)
    mapping = mapped(file)
    history = RowHistory(file, mapping, mapping.merchant_schema(), b"k" * 32, tmp_path / "runs")
    with Rejects(tmp_path / "rejects.csv") as rejects:
        history.survey(rejects)
        first = next(event for some in history.events() for event in some)
    assert isinstance(first, Payment)
    assert first.ip == "192.168.0.0"


def test_numbers_find_room_where_categories_are_full(tmp_path: Path) -> None:
    few = {f"C{i}": [n % 5 for n in range(ROWS)] for i in range(14)}
    words = {f"M{i}": ["T" if n % 3 else "F" for n in range(ROWS)] for i in range(9)}
    found = propose(columns(tmp_path, **usual(), **few, **words)).ready(assume=True).mapping
    assert found is not None
    assert {f"m{i}" for i in range(9)} < set(found.schema.categories)
    assert len(found.schema.categories) + len(found.schema.numbers) == 23


# --- amounts ----------------------------------------------------------------------------------------------------------


def test_amounts_of_both_signs_are_asked_about(tmp_path: Path) -> None:
    cells = {**usual(), "amount": [f"{'-' if n % 2 else ''}{n % 50}.99" for n in range(ROWS)]}
    file = columns(tmp_path, **cells)
    with pytest.raises(BadInput, match="50% of amount are negative") as error:
        propose(file).ready(assume=True)
    assert error.value.field == "--negative-amounts"
    assert mapped(file, negative_amounts="flip").negative_amounts == "flip"


# --- what stands around the table -------------------------------------------------------------------------------------

TABLE = "id;date;amount;fraud\n" + "".join(
    f"o{n};{at:%Y-%m-%d};{n},50;{int(is_fraud(n))}\n" for n, at in enumerate(times(60))
)


@pytest.mark.parametrize(
    "above",
    ["sep=;\n", '"sep=;"\r\n', "Orders;;;\nfrom;2026-01-01;;\n", "sep=;\nOrders;;;\n", "Orders\n\n"],
)
def test_lines_above_the_names_are_no_names(tmp_path: Path, above: str) -> None:
    (tmp_path / "f.csv").write_text(above + TABLE)
    table = Table(tmp_path / "f.csv")
    (batch,) = table.batches()
    assert (table.names, len(batch.frame)) == (["id", "date", "amount", "fraud"], 60)
    assert batch.lines[0] == above.count("\n") + 2


def test_cells_in_apostrophes(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("step,customer,amount\n" + "".join(f"{n},'C{n}',5.00\n" for n in range(60)))
    (batch,) = Table(tmp_path / "f.csv").batches()
    assert batch.frame["customer"][0] == "C0"


def test_an_apostrophe_in_some_cells_quotes_nothing(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("id,name\n" + "".join(f"{n},O'Hara{n}\n" for n in range(60)))
    (batch,) = Table(tmp_path / "f.csv").batches()
    assert batch.frame["name"][0] == "O'Hara0"


def test_types_of_parquet_that_csv_has_not(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {**usual(), "country": ["DE", "FR"] * (ROWS // 2), "currency": ["EUR"] * ROWS, "tags": [["a", "b"]] * ROWS}
    ).with_columns(
        pl.col("country").cast(pl.Categorical),
        pl.col("currency").cast(pl.Enum(["EUR"])),
        pl.col("amount").cast(pl.Decimal(18, 4)),
        raw=pl.lit(b"\xff"),
        took=pl.duration(seconds=pl.int_range(ROWS)),
    )
    frame.write_parquet(tmp_path / "f")
    mapping = mapped(tmp_path / "f")
    assert (mapping.currency, mapping.amount) == ("currency", "amount")
    assert mapping.fields["billing.country"] == "country"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xfd7zXZxxxx", "unpack it first"),
        (b"\xd0\xcf\x11\xe0xxxx", "save the sheet as CSV"),
        (b'{"data": [' + b", ".join([b'{"id": 1}'] * 30) + b"]}", "one JSON object is one payment"),
        (b'{\n "data": [\n  {\n   "id": 1\n  }\n ]\n}', "one JSON object is one payment"),
    ],
)
def test_a_file_of_another_kind_is_told_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(BadInput, match=said):
        propose(tmp_path / "f")
