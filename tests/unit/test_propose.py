"""Files that nobody prepared: what they are taken for, why, and what is asked."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from avalist.domain.errors import BadInput
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.understanding.propose import Proposal, propose
from tests import files
from tests.files import write_csv
from tests.shop import CARD_NUMBER, payment_json

FILES = (
    files.european, files.american, files.epochs, files.anonymous, files.nested, files.generator_like, files.book_like,
    files.transfers,
)  # fmt: skip


def mapped(file: Path, **answers: str) -> Mapping:
    mapping = propose(file, answers).ready(assume=True).mapping
    assert mapping is not None
    return mapping


def reason(proposal: Proposal, column: str) -> tuple[str, str]:
    (found,) = [r for r in proposal.reasons if r.column == column]
    return found.role, found.why


@pytest.mark.parametrize("make", FILES)
def test_what_is_proposed_can_be_saved_and_read_again(make: Callable[[Path], Path], tmp_path: Path) -> None:
    proposal = propose(make(tmp_path / "file"))
    assert decode_mapping(proposal.toml()) == proposal.mapping
    assert proposal.mapping is not None
    proposal.mapping.merchant_schema()
    assert all(r.why for r in proposal.reasons)


def test_a_european_file(tmp_path: Path) -> None:
    m = mapped(files.european(tmp_path / "f"))
    assert (m.payment_id, m.occurred_at, m.amount) == ("Bestellnr", ("Datum", "Uhrzeit"), "Betrag")
    assert (m.decimal_mark, m.currency, m.formats) == (",", "=EUR", {"Datum": "%d.%m.%Y %H:%M"})
    assert m.fields == {"customer.id": "Kundennr", "customer.email": "E-Mail"}
    assert m.outcomes.fraud == "Betrug"


def test_an_american_file(tmp_path: Path) -> None:
    m = mapped(files.american(tmp_path / "f"))
    assert (m.payment_id, m.currency, m.hashed) == ("Order ID", "=USD", ("Card Number",))
    assert m.formats == {"Order Date": "%m/%d/%Y %I:%M %p", "Chargeback Date": "%m/%d/%Y"}
    assert m.outcomes.fraud_reported_at == "Chargeback Date"
    assert m.schema.entities == {"card": "method.fingerprint"}


def test_epochs_minor_units_and_a_status_of_words(tmp_path: Path) -> None:
    m = mapped(files.epochs(tmp_path / "f"))
    assert (m.amount_minor, m.currency, m.formats) == ("amount_cents", "ccy", {"created_ms": "ms since 1970-01-01"})
    assert m.outcomes.fraud == m.outcomes.captured == m.outcomes.old_decision == "status"
    assert m.yes["fraud"] == ("chargeback",)
    assert set(m.yes["captured"]) == {"paid", "chargeback"}
    assert set(m.schema.settings["rates"]) == {"GBP"}


def test_no_entity_but_an_amount(tmp_path: Path) -> None:
    proposal = propose(files.anonymous(tmp_path / "f"))
    assert proposal.mapping is not None
    assert (proposal.mapping.payment_id, proposal.mapping.fields["custom.everybody"]) == ("", "=everybody")
    assert proposal.mapping.outcomes.fraud == "Class"
    assert list(proposal.mapping.schema.numbers) == ["v1", "v2", "v3", "v4", "v5"]
    assert any("2020-01-01 stands in" in note for note in proposal.notes)


def test_nested_objects(tmp_path: Path) -> None:
    m = mapped(files.nested(tmp_path / "f"))
    assert (m.amount, m.currency, m.occurred_at) == ("amount.value", "amount.currency", "created")
    assert m.fields["method.fingerprint"] == "source.card.fingerprint"
    assert m.fields["cart.sku"] == "items.0.sku"


def test_people_and_places(tmp_path: Path) -> None:
    proposal = propose(files.generator_like(tmp_path / "f"))
    assert proposal.mapping is not None
    assert proposal.mapping.payment_id == ("trans", "ts")
    assert proposal.mapping.hashed == ("cc_num",)
    assert proposal.mapping.schema.entities == {"card": "method.fingerprint", "payee": "payee.id"}
    assert reason(proposal, "last") == ("ignored", "personal data that no feature needs")


def test_a_book_s_columns(tmp_path: Path) -> None:
    m = mapped(files.book_like(tmp_path / "f"))
    assert m.fields == {"customer.id": "CLIENT_ID", "payee.id": "TERMINAL_ID"}
    assert (m.payment_id, m.outcomes.fraud) == ("TXN_ID", "TXN_FRAUD")


def test_what_is_known_only_afterwards_is_ignored(tmp_path: Path) -> None:
    proposal = propose(files.transfers(tmp_path / "f"))
    assert reason(proposal, "newbalanceOrig")[0] == "ignored"
    assert proposal.mapping is not None
    assert proposal.mapping.schema.entities == {"account": "customer.id", "payee": "payee.id"}


def test_a_column_that_tells_fraud_by_itself_is_ignored(tmp_path: Path) -> None:
    rows = [
        (n, f"2026-01-{n % 28 + 1:02d}", n % 50 + 0.5, int(files.is_fraud(n)), "x" if files.is_fraud(n) else "")
        for n in range(600)
    ]
    proposal = propose(write_csv(tmp_path / "f", ("id", "date", "amount", "fraud", "case_note"), rows))
    assert reason(proposal, "case_note") == (
        "ignored",
        "it is filled only where there was fraud: known only afterwards",
    )


def test_card_numbers_are_hashed_and_never_shown(tmp_path: Path) -> None:
    rows = [
        (n, f"2026-01-{n % 28 + 1:02d}", n + 0.5, CARD_NUMBER, f"pan {CARD_NUMBER} called, he was rather angry")
        for n in range(40)
    ]
    proposal = propose(write_csv(tmp_path / "f", ("id", "date", "amount", "who", "notes"), rows))
    assert proposal.mapping is not None
    assert proposal.mapping.hashed == ("who",)
    assert reason(proposal, "notes")[0] == "ignored"
    assert CARD_NUMBER not in repr(proposal) + proposal.toml()


def test_samples_of_personal_columns_are_masked(tmp_path: Path) -> None:
    rows = [
        (n, f"2026-01-{n % 28 + 1:02d}", n + 0.5, f"ann{n % 9}@example.com", f"+49 30 12345{n % 9}",
         f"Main Street {n % 9}", f"192.0.2.{n % 9}", f"joe{n % 9}@example.com")
        for n in range(60)
    ]  # fmt: skip
    head = ("id", "date", "amount", "email", "phone", "street", "ip", "note")
    shown = {r.column: r.sample for r in propose(write_csv(tmp_path / "f", head, rows)).reasons}
    assert set(shown["email"].split(", ")) == {"a***"}
    assert not any(clear in repr(shown) for clear in ("ann", "+49", "Main", "192", "joe"))
    assert "0.5" in shown["amount"]


def dates(folder: Path, cells: list[str]) -> Path:
    rows = [(n, cell, 5.25 + n) for n, cell in enumerate(cells)]
    return write_csv(folder / "f", ("id", "date", "amount"), rows)


@pytest.mark.parametrize(
    ("cells", "format"),
    [
        (["13/01/2026", "02/01/2026", "03/01/2026"], "%d/%m/%Y"),
        (["01/13/2026", "01/02/2026", "01/03/2026"], "%m/%d/%Y"),
        (["11/02/2026", "12/02/2026", "01/03/2026", "02/03/2026"], "%d/%m/%Y"),
        (["20260113", "20260114", "20260102"], "%Y%m%d"),
        (["13 Jan 2026", "14 Jan 2026", "02 Feb 2026"], "%d %b %Y"),
        (["2026-W03-2", "2026-W03-3", "2026-W04-1"], "%G-W%V-%u"),
        (["13.01.26 21.15", "14.01.26 8.05", "02.02.26 00.00"], "%d.%m.%y %H.%M"),
        (["13/01/2026 21h15", "14/01/2026 08h05", "02/02/2026 00h00"], "%d/%m/%Y %Hh%M"),
        (["13. Januar 2026", "14. Januar 2026", "2. März 2026"], "%d %b %Y"),
        (["13 janv. 2026 21h15", "14 mars 2026 08h05", "2 août 2026 00h00"], "%d %b %Y %Hh%M"),
        (["13 de enero de 2026", "14 de agosto de 2026", "2 de mayo de 2026"], "%d %b %Y"),
        (["13JAN2026", "14JAN2026", "02FEB2026"], "%d%b%Y"),
        (["2026-01-13 10:00:00 +0000 UTC", "2026-01-14 10:00:00 +0100 CET"], "iso"),
        (["2026-01-13T10:00:00+01:00[Europe/Paris]", "2026-01-14T10:00:00+01:00[Europe/Paris]"], "iso"),
        (["1768300000", "1768300100", "1768300200"], "s since 1970-01-01"),
        (["2026-01-13T10:00:00Z", "2026-01-14T10:00:00+02:00", "2026-01-15 10:00"], "iso"),
    ],
)
def test_formats_of_time(tmp_path: Path, cells: list[str], format: str) -> None:
    assert mapped(dates(tmp_path, cells)).formats.get("date", "iso") == format


def test_dates_that_may_be_read_either_way_are_asked_about(tmp_path: Path) -> None:
    file = dates(tmp_path, ["05/02/2026", "01/03/2026", "04/01/2026", "02/05/2026"])
    with pytest.raises(BadInput) as error:
        propose(file).ready()
    assert (error.value.field, error.value.expected) == ("--date-order", "dmy or mdy")
    assert mapped(file, date_order="mdy").formats == {"date": "%m/%d/%Y"}


@pytest.mark.parametrize(
    ("head", "option"), [(("id", "date", "x", "y"), "--amount"), (("id", "x", "amount", "y"), "--time")]
)
def test_what_is_not_told_is_asked_and_the_option_named(tmp_path: Path, head: tuple[str, ...], option: str) -> None:
    day = [f"2026-01-{n % 28 + 1:02d}" if head[1] == "date" else "word" for n in range(60)]
    rows = [(f"o{n}", day[n], f"{n * 1.37:.2f}", f"{n * 2.11:.2f}") for n in range(60)]
    with pytest.raises(BadInput) as error:
        propose(write_csv(tmp_path / "f", head, rows)).ready()
    assert error.value.field == option


def test_an_answer_is_taken(tmp_path: Path) -> None:
    rows = [(f"o{n}", f"2026-01-{n % 28 + 1:02d}", f"{n * 1.37:.2f}", f"{n * 2.11:.2f}") for n in range(60)]
    file = write_csv(tmp_path / "f", ("id", "date", "x", "y"), rows)
    m = mapped(file, amount="y", currency="GBP", timezone="Europe/Paris", id="none")
    assert (m.amount, m.currency, m.timezone, m.payment_id) == ("y", "=GBP", "Europe/Paris", "")
    with pytest.raises(BadInput, match="no such column"):
        propose(file, {"amount": "z"})


def cents(folder: Path, name: str = "amount", currency: str = "EUR") -> Path:
    rows = [(n, f"2026-01-{n % 28 + 1:02d}", 99 + 50 * (n % 7), int(n % 9 == 0), currency) for n in range(90)]
    return write_csv(folder / "f", ("id", "date", name, "fraud", "currency"), rows)


def test_whole_amounts_that_may_be_cents_are_asked_about(tmp_path: Path) -> None:
    file = cents(tmp_path)
    with pytest.raises(BadInput, match=r"whole numbers, such as 99.*\(--yes takes what is proposed\)") as error:
        propose(file).ready()
    assert (error.value.field, error.value.expected) == ("--units", "major or minor")
    assert mapped(file, units="minor").amount_minor == mapped(file, units="major").amount == "amount"
    assert propose(file).ready(assume=True).mapping == mapped(file, units="major")
    with pytest.raises(BadInput, match="no such choice"):
        propose(file, {"units": "pence"})


@pytest.mark.parametrize(("name", "currency"), [("amount_cents", "EUR"), ("amount", "JPY")])
def test_whole_amounts_that_leave_no_doubt_are_not_asked_about(tmp_path: Path, name: str, currency: str) -> None:
    assert not propose(cents(tmp_path, name, currency)).questions


def test_amounts_with_decimals_are_no_minor_units(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="minor units are whole numbers"):
        propose(files.book_like(tmp_path / "f"), {"units": "minor"})


def test_without_a_label_it_stops_unless_what_is_proposed_is_taken(tmp_path: Path) -> None:
    file = dates(tmp_path, ["2026-01-01", "2026-01-02", "2026-01-03"])
    with pytest.raises(BadInput, match="--yes") as error:
        propose(file).ready()
    assert error.value.field == "--label"
    proposal = propose(file).ready(assume=True)
    (question,) = proposal.questions
    assert (question.option, question.needed) == ("--label", False)
    assert "nothing can be trained" in question.text


def test_several_labels_are_asked_about(tmp_path: Path) -> None:
    rows = [(n, f"2026-01-{n % 28 + 1:02d}", n + 0.5, n % 9 == 0, n % 7 == 0) for n in range(90)]
    file = write_csv(tmp_path / "f", ("id", "date", "amount", "is_fraud", "chargeback"), rows)
    with pytest.raises(BadInput) as error:
        propose(file).ready()
    assert (error.value.field, error.value.expected) == ("--label", "is_fraud or chargeback or none")
    assert mapped(file, label="chargeback").outcomes.fraud == "chargeback"


@pytest.mark.parametrize("packed", [False, True])
def test_our_own_events_are_recognised(tmp_path: Path, packed: bool) -> None:
    lines = b"\n".join(msgspec.json.encode(payment_json(n)) for n in range(20))
    (tmp_path / "f").write_bytes(gzip.compress(lines) if packed else lines)
    proposal = propose(tmp_path / "f").ready()
    assert (proposal.kind, proposal.mapping) == ("events", None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_same_file_in_another_encoding_and_packed(tmp_path: Path, encoding: str) -> None:
    plain = files.european(tmp_path / "plain")
    (tmp_path / "other").write_bytes(gzip.compress(plain.read_bytes().decode("cp1252").encode(encoding)))
    assert mapped(tmp_path / "other") == mapped(plain)


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"PK\x03\x04xx", "unpack"), (b"a,b\n", "no rows")])
def test_a_file_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(BadInput, match=said):
        propose(tmp_path / "f")


def zipped(content: bytes, *names: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return whole.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lambda content: zipped(content, "export.csv", "__MACOSX/._export.csv"),
        lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    ],
)
def test_the_same_file_packed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    plain = files.european(tmp_path / "plain")
    (tmp_path / "packed").write_bytes(pack(plain.read_bytes()))
    assert mapped(tmp_path / "packed") == mapped(plain)
    (tmp_path / "half").write_bytes(pack(plain.read_bytes())[:900])
    with pytest.raises(BadInput, match="cannot be unpacked"):
        propose(tmp_path / "half")


@pytest.mark.parametrize(
    ("names", "said"),
    [(("a.csv", "b.csv"), "unpack it first"), (("[Content_Types].xml", "sheet"), "workbook cannot be read")],
)
def test_what_to_do_with_an_archive_of_several_files(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    (tmp_path / "f").write_bytes(zipped(b"a,b\n1,2\n", *names))
    with pytest.raises(BadInput, match=said):
        propose(tmp_path / "f")


def test_half_a_gzip_file_and_one_made_to_harm_are_told(tmp_path: Path) -> None:
    packed = gzip.compress(files.european(tmp_path / "plain").read_bytes())
    (tmp_path / "half").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "bomb").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000_000, 9))
    for name, said in (("half", "cannot be unpacked"), ("bomb", "far too much")):
        with pytest.raises(BadInput, match=said):
            propose(tmp_path / name)


def test_a_long_cell_is_no_trouble(tmp_path: Path) -> None:
    rows = [(n, f"2026-01-{n % 28 + 1:02d}", n + 0.5, "x" * 200_000 if n == 3 else "y") for n in range(40)]
    assert mapped(write_csv(tmp_path / "f", ("id", "date", "amount", "note"), rows)).amount == "amount"


def test_a_german_shop_is_understood(tmp_path: Path) -> None:
    rows = [
        (
            f"B{n}",
            f"{n % 28 + 1:02d}.{n // 28 + 1:02d}.2026 10:00",
            "25,00",
            status,
            "20.12.2026" if n % 10 == 0 else "",
        )
        for n in range(300)
        for status in ("Rückbuchung" if n % 10 == 0 else "storniert" if n % 7 == 0 else "bezahlt",)
    ]
    names = ("Bestellnr", "Bestelldatum", "Betrag", "Status", "Rückbuchung am")
    file = tmp_path / "shop.csv"
    file.write_text("\n".join(";".join(row) for row in (names, *rows)))
    mapping = propose(file).mapping
    assert mapping is not None
    assert mapping.outcomes.fraud_reported_at == "Rückbuchung am"
    assert (mapping.outcomes.captured, mapping.yes["captured"]) == ("Status", ("Rückbuchung", "bezahlt"))


def test_reasons_of_which_some_say_fraud_are_asked_about(tmp_path: Path) -> None:
    rows = [
        (
            f"{n}",
            f"2026-01-{n % 28 + 1:02d}",
            f"{n}.50",
            ("fraud", "unrecognized")[n % 2] if n % 20 < 2 else "",
            "GB"[n % 20 < 3],
        )
        for n in range(300)
    ]
    file = write_csv(tmp_path / "f.csv", ("id", "date", "amount", "dispute_reason", "risk_flag_final"), rows)
    (question,) = [q for q in propose(file).questions if q.about == "label"]
    assert {"dispute_reason", "risk_flag_final", "none"} <= set(question.choices)
    assert propose(file, {"label": "dispute_reason"}).ready()
