"""Bringing a file in: nothing half-written, rejects told, stopped imports go on, our own events go in as they are."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from avalist.app.merchant import decode_event_core
from avalist.bootstrap import Installation, build
from avalist.cli import bring_in as module
from avalist.cli.bring_in import Brought, bring_in
from avalist.cli.history import record_all
from avalist.config import Settings
from avalist.domain.errors import BadInput, Conflict
from avalist.domain.events import decode_event, from_ms, to_ms
from avalist.domain.records import RecordKind
from avalist.history.understanding.propose import propose
from avalist.simulator import World, history
from tests import files
from tests.files import write_csv
from tests.shop import CARD_NUMBER, DAY_MS, T0_MS, FakeClock, Shop, payment_json

Opened = Callable[[], Installation]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Return a way to open installations with one set of secrets and a log of their own."""
    in_memory = Settings(data=tmp_path / "data", log="memory:", documents="memory:", blobs="memory:")
    held: list[Installation] = []

    def open() -> Installation:
        if held:
            held.pop().close()
        held.append(build(in_memory, clock=FakeClock()))
        return held[-1]

    yield open
    held.pop().close()


def bring(here: Installation, file: Path, **options: Any) -> Brought:
    return bring_in(here, "shop", file, propose(file).ready(assume=True).mapping, **options)


def logged(here: Installation) -> list[tuple[object, ...]]:
    return [(r.merchant, r.seq, r.kind, r.received_at_ms, r.core, r.sealed) for _, r in here.log.read()]


@pytest.mark.parametrize("make", [files.european, files.american, files.epochs, files.anonymous, files.nested,
                                  files.generator_like, files.book_like, files.transfers])  # fmt: skip
def test_unlike_files_go_in_without_help(make: Callable[[Path], Path], tmp_path: Path, opened: Opened) -> None:
    done = bring(opened(), make(tmp_path / "file"))
    assert done.payments == files.ROWS
    assert done.survey.rejected == 0
    assert done.others >= sum(map(files.is_fraud, range(files.ROWS)))


def stopping(after: int) -> Callable[..., Any]:

    def record(here: Installation, merchant: str, events: Iterator[Any], bar: Any) -> Any:
        record_all(here, merchant, islice(events, after), bar)
        raise KeyboardInterrupt

    return record


@pytest.mark.parametrize("after", [0, 1, 100, 417])
def test_an_import_that_was_stopped_goes_on(
    after: int, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = files.book_like(tmp_path / "file")
    whole = opened()
    bring(whole, file)
    expected, here = logged(whole), opened()
    monkeypatch.setattr(module, "record_all", stopping(after))
    with pytest.raises(KeyboardInterrupt):
        bring(here, file)
    monkeypatch.undo()
    assert len(logged(here)) < len(expected)
    bring(here, file)
    assert logged(here) == expected


def test_a_second_import_adds_nothing(tmp_path: Path, opened: Opened) -> None:
    here, file = opened(), files.transfers(tmp_path / "file")
    bring(here, file)
    before = logged(here)
    assert bring(here, file).payments == 0
    assert logged(here) == before


def test_a_file_that_grew_goes_on_where_it_ended(tmp_path: Path, opened: Opened) -> None:
    here = opened()
    whole = pl.read_parquet(files.book_like(tmp_path / "file", 400))
    whole.head(300).write_parquet(tmp_path / "file")
    bring(here, tmp_path / "file", until=from_ms(1_769_000_000_000))
    whole.write_parquet(tmp_path / "file")
    done = bring(here, tmp_path / "file")
    assert here.writer.merchant("shop").knows_payment("399")
    assert 0 < done.payments < 400


@pytest.mark.parametrize("days_ago", [3, 200])
def test_a_file_that_changed_since_is_not_taken_for_the_same(days_ago: int, tmp_path: Path, opened: Opened) -> None:
    rows = [[f"o{n}", from_ms(T0_MS - n * DAY_MS).isoformat(), f"{n}.50", f"c{n % 9}"] for n in range(300)]
    here = opened()
    bring(here, write_csv(tmp_path / "f.csv", HEAD, rows))
    before = logged(here)
    rows[days_ago][2] = "9999.99"
    with pytest.raises(Conflict, match=f"'pay:o{days_ago}' already, with other content.*another merchant id"):
        bring(here, write_csv(tmp_path / "f.csv", HEAD, rows))
    assert logged(here) == before


def test_another_history_is_a_conflict(tmp_path: Path, opened: Opened) -> None:
    here = opened()
    bring(
        here,
        write_csv(tmp_path / "a", ("id", "date", "amount"), [(f"a{n}", f"2026-01-{n + 1:02d}", n) for n in range(9)]),
    )
    other = write_csv(
        tmp_path / "b", ("id", "date", "amount"), [(f"b{n}", f"2026-01-{n + 1:02d}", n) for n in range(20)]
    )
    before = logged(here)
    with pytest.raises(Conflict, match="has other events up to 2026-01-09"):
        bring(here, other)
    assert logged(here) == before


def shop_rows(bad: int) -> list[tuple[object, ...]]:
    amounts = ["x"] * bad + ["5.00"] * (100 - bad)
    random.Random(1).shuffle(amounts)
    return [(f"o{n}", f"2026-01-{n % 28 + 1:02d}", amounts[n], f"c{n % 9}") for n in range(100)]


HEAD = ("id", "date", "amount", "client")


def test_bad_rows_go_to_a_file_and_the_import_goes_on(tmp_path: Path, opened: Opened) -> None:
    rows = shop_rows(0)
    rows[6] = ("o6", "2026-01-02", "-3.00", "c1")
    rows[7] = ("o5", "2026-01-28", "3.00", "c1")
    rows[8] = ("o8", "2026-01-02", "3.00", CARD_NUMBER)
    file = write_csv(tmp_path / "f.csv", HEAD, rows)
    file.write_text(file.read_text() + "o200,2026-01-02\n")
    mapping = propose(write_csv(tmp_path / "sound", HEAD, shop_rows(0))).mapping
    done = bring_in(opened(), "shop", file, mapping)
    refused = list(csv.DictReader((tmp_path / "f.csv.rejects.csv").read_text().splitlines()))
    assert sorted((r["line"], r["column"], r["value"]) for r in refused) == [
        ("10", "client", "(a card number)"), ("102", "", ""), ("9", "id", "")]  # fmt: skip
    assert (done.payments, done.survey.rejected) == (97, 3)
    assert done.survey.skipped == {"refunds or chargebacks that name no payment of the file": 1}


def test_negative_amounts_may_be_rejected_instead(tmp_path: Path, opened: Opened) -> None:
    rows = [*shop_rows(0), ("o5", "2026-02-02", "-3.00", "c1")]
    mapping = propose(write_csv(tmp_path / "f.csv", HEAD, rows)).mapping
    assert mapping is not None
    done = bring_in(opened(), "shop", tmp_path / "f.csv", msgspec.structs.replace(mapping, negative_amounts="reject"))
    assert (done.survey.rejected, done.survey.skipped) == (1, {})


def test_a_refund_that_names_its_payment_is_an_event(tmp_path: Path, opened: Opened) -> None:
    back = [("o5", "2026-02-02", "-3.00", "c1"), ("o5", "2026-02-03", "-2.00", "c1"), ("o6", "2025-01-01", "-1", "c1")]
    file, here = write_csv(tmp_path / "f.csv", HEAD, [*back, *shop_rows(0)]), opened()
    done = bring(here, file)
    events = [decode_event_core(record.core) for _, record in here.log.read() if record.kind == RecordKind.EVENT]
    assert [(e.event_id, e.payment_id) for e in events if e.type == "refund"] == [
        ("refund:2:o5", "o5"),
        ("refund:3:o5", "o5"),
    ]
    assert (done.payments, done.others, done.survey.rejected) == (100, 2, 0)
    assert done.survey.skipped == {"refunds or chargebacks that name no payment of the file": 1}
    assert bring(here, file).payments == 0


@pytest.mark.parametrize("token", ["tok_9f2a", "9020000000000017"])
def test_a_card_by_its_token_joins_with_live_payments(token: str, tmp_path: Path, opened: Opened) -> None:
    tokens = [token] * 3 + [CARD_NUMBER] * 2 + [f"90200000000001{n:02d}" for n in range(55)]
    at = from_ms(T0_MS - 5 * DAY_MS).isoformat()
    rows = [(f"o{n}", at, "5.00", f"c{n}", one) for n, one in enumerate(tokens)]
    mapping = propose(write_csv(tmp_path / "f.csv", (*HEAD, "card_token"), rows)).mapping
    assert mapping is not None
    assert (mapping.hashed, mapping.hashed_cards) == ((), ("card_token",))
    here = opened()
    done = bring_in(here, "shop", tmp_path / "f.csv", mapping)
    assert (done.payments, done.survey.rejected) == (60, 0)
    shop = Shop(here, FakeClock())
    shop.decide("live", method={"kind": "card", "fingerprint": token})
    assert shop.features("live")["card__count__events__30d"] == 3.0
    assert CARD_NUMBER.encode() not in b"".join(record.core for _, record in here.log.read())


def test_what_is_no_ip_is_left_out_and_counted_and_its_payment_goes_in(tmp_path: Path, opened: Opened) -> None:
    ips = ["8.8.4.4", "abc", "", "2001:db8::1", "300.1.1.1", *["8.8.8.8"] * 95]
    rows = [(*row, ip) for row, ip in zip(shop_rows(0), ips, strict=True)]
    mapping = propose(write_csv(tmp_path / "f.csv", (*HEAD, "ip"), rows)).mapping
    assert mapping is not None
    done = bring_in(opened(), "shop", tmp_path / "f.csv", mapping)
    assert (mapping.fields["ip"], done.payments, done.survey.rejected) == ("ip", 100, 0)
    assert done.survey.dropped == {"ip: not an IP address": 2}


def test_rows_of_other_kinds_are_told_apart(tmp_path: Path, opened: Opened) -> None:
    payments = [(f"t{n}", f"2026-01-{n % 28 + 1:02d}", "payment", "5.00", f"c{n % 9}", "") for n in range(90)]
    others = [("t900", "2026-02-01", "refund", "5.00", "c7", "t7"), ("t901", "2026-02-01", "payout", "-445.00", "", "")]
    head = ("id", "date", "type", "amount", "client", "original_payment_id")
    file, here = write_csv(tmp_path / "f.csv", head, [*payments, *others]), opened()
    mapping = propose(file).mapping
    assert mapping is not None
    assert (mapping.row_type, mapping.refund_of, mapping.yes) == (
        "type", "original_payment_id", {"payment": ("payment",), "refund": ("refund",)})  # fmt: skip
    done = bring(here, file)
    assert (done.payments, done.others, done.survey.rejected, done.survey.skipped) == (90, 1, 0, {"payout": 1})
    assert [
        e.payment_id
        for _, r in here.log.read()
        if r.kind == RecordKind.EVENT and (e := decode_event_core(r.core)).type == "refund"
    ] == ["t7"]


def test_only_its_owner_reads_the_file_of_rejects(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "f.csv.rejects.csv").touch(0o644)
    file = write_csv(tmp_path / "f.csv", HEAD, shop_rows(2))
    bring_in(opened(), "shop", file, propose(write_csv(tmp_path / "sound", HEAD, shop_rows(0))).mapping)
    assert (tmp_path / "f.csv.rejects.csv").stat().st_mode & 0o777 == 0o600


def test_too_many_bad_rows_stop_it_before_anything_is_recorded(tmp_path: Path, opened: Opened) -> None:
    here, file = opened(), write_csv(tmp_path / "f.csv", HEAD, shop_rows(6))
    mapping = propose(write_csv(tmp_path / "sound", HEAD, shop_rows(0))).mapping
    with pytest.raises(BadInput, match="6 x amount: not an amount") as error:
        bring_in(here, "shop", file, mapping)
    assert (error.value.expected, error.value.got) == ("at most 5% rejected", "6.0%")
    assert logged(here) == []
    assert not (here.settings.data / "importing").exists()
    assert bring_in(here, "shop", file, mapping, max_rejects=0.1).payments == 94


def simulated(tmp_path: Path) -> Path:
    lines = [msgspec.json.encode(event) for event in history(World(seed=1, payments_per_day=200), 2.0)]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines))
    return tmp_path / "events.jsonl"


def shuffled(file: Path) -> Path:
    lines = file.read_bytes().splitlines()
    random.Random(1).shuffle(lines)
    file.write_bytes(b"\n".join(lines))
    return file


def test_our_own_events_go_in_as_they_are(tmp_path: Path, opened: Opened) -> None:
    file, here = simulated(tmp_path), opened()
    wanted = [msgspec.json.decode(line)["event_id"] for line in file.read_bytes().splitlines()]
    done = bring_in(here, "shop", file, None)
    assert done.payments + done.others == len(wanted)
    assert [decode_event_core(r.core).event_id for _, r in here.log.read() if r.kind == RecordKind.EVENT] == wanted


def test_shuffled_events_beyond_the_sort_buffer_go_in_in_order(tmp_path: Path, opened: Opened) -> None:
    file, here = shuffled(simulated(tmp_path)), opened()
    bring_in(here, "shop", file, None, run_rows=100)
    at_ms = {
        event.event_id: to_ms(event.received_at or event.occurred_at)
        for event in map(decode_event, file.read_bytes().splitlines())
    }
    found = [
        (decode_event_core(r.core).event_id, r.received_at_ms) for _, r in here.log.read() if r.kind == RecordKind.EVENT
    ]
    assert dict(found) == at_ms
    assert [ms for _, ms in found] == sorted(at_ms.values())


def test_rows_beyond_the_sort_buffer_go_in_as_from_memory(tmp_path: Path, opened: Opened) -> None:
    file, here = files.book_like(tmp_path / "file"), opened()
    bring(here, file)
    expected, here = logged(here), opened()
    bring(here, file, run_rows=64)
    assert logged(here) == expected


def test_events_that_do_not_fit_are_rejected(tmp_path: Path, opened: Opened) -> None:
    def line(n: int, **changes: Any) -> bytes:
        return msgspec.json.encode(payment_json(n, **changes))

    lines = [line(n) for n in range(40)]
    lines += [line(3), b"{", line(50, currency="XXX"), line(51, ip=CARD_NUMBER)]
    lines.append(
        msgspec.json.encode(
            {"type": "capture", "event_id": "c", "occurred_at": from_ms(T0_MS).isoformat(), "payment_id": "no"}
        )
    )
    (tmp_path / "e").write_bytes(b"\n".join(lines))
    done = bring_in(opened(), "shop", tmp_path / "e", None, max_rejects=0.2, until=from_ms(T0_MS + 1))
    assert (done.payments, done.survey.rejected) == (40, 5)
    assert CARD_NUMBER not in (tmp_path / "e.rejects.csv").read_text()


def test_a_time_in_the_gap_of_spring_is_an_hour_later_and_a_double_one_the_first(
    tmp_path: Path, opened: Opened
) -> None:
    days = ["2026-03-29 02:30:00", "2026-03-29 03:30:00", "2025-10-26 02:30:00"]
    file = write_csv(tmp_path / "f", ("id", "when", "amount"), [(n, day, 1.5) for n, day in enumerate(days)])
    mapping = propose(file, {"timezone": "Europe/Paris"}).mapping
    here = opened()
    bring_in(here, "shop", file, mapping)
    at = sorted({r.received_at_ms for _, r in here.log.read() if r.seq > 1})
    assert [from_ms(ms).isoformat() for ms in at] == ["2025-10-26T00:30:00+00:00", "2026-03-29T01:30:00+00:00"]


def test_what_was_not_known_yet_is_left_out(tmp_path: Path, opened: Opened) -> None:
    done = bring(opened(), files.book_like(tmp_path / "f"), until=from_ms(1_768_000_000_000))
    assert done.survey.left_out + done.payments == files.ROWS
    assert done.survey.left_out > 0
