"""``import --rebuild`` of rows that overlap with what is there: the same is there already, other is refused."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from avalist.app.dataset import collect
from avalist.cli.bring_in import bring_in
from avalist.cli.rebuild import Rebuilt, rebuild
from avalist.domain.errors import BadInput, Conflict, DataFolderLocked, NotFound
from avalist.domain.events import from_ms
from avalist.history.mapping import Mapping
from avalist.history.understanding.propose import propose
from tests.files import is_fraud, times, write_csv
from tests.shop import T0_MS, FakeClock, opened, payment

HEAD = ("id", "time", "amount", "client", "chargeback_date")
ROWS = 200
Row = tuple[object, ...]


def rows(frauds: bool = True) -> list[Row]:
    reported = [f"{at:%Y-%m}-28" if frauds and is_fraud(n) and at.day < 28 else "" for n, at in enumerate(times(ROWS))]
    return [
        (f"o{n}", f"{at:%Y-%m-%d %H:%M:%S}", f"{n % 50 + 1}.50", f"c{n % 9}", reported[n])
        for n, at in enumerate(times(ROWS))
    ]


def mapping(folder: Path) -> Mapping:
    found = propose(write_csv(folder / "whole.csv", HEAD, rows())).ready().mapping
    assert found is not None
    return found


class Book:
    """A data folder that has some rows, and to which more come."""

    def __init__(self, folder: Path, some: Sequence[Row]) -> None:
        self.folder, self.data, self.mapping = folder, folder / "data", mapping(folder)
        with opened(self.data) as shop:
            file = write_csv(folder / "some.csv", HEAD, some)
            bring_in(shop.installation, "shop", file, self.mapping)

    def merge(self, more: Sequence[Row], **options: Any) -> Rebuilt:
        with opened(self.data, FakeClock(T0_MS + 10**9)) as shop:
            return rebuild(
                shop.installation, "shop", write_csv(self.folder / "more.csv", HEAD, more), self.mapping, **options
            )

    def rejects(self) -> list[dict[str, str]]:
        file = self.folder / "more.csv.rejects.csv"
        return list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []

    def state(self) -> tuple[str, list[list[int]]]:
        """Return the state's digest, and what became of payments: those of one instant in no order."""
        with opened(self.data) as shop:
            changes = collect(shop.installation.log.read, "shop").changes.tolist()
            return shop.writer.merchant("shop").features.digest(), sorted(changes)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path, rows()[::2])


def test_a_file_with_old_rows_and_new_ones_adds_the_new_ones(book: Book, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    shutil.copytree(book.data / "secrets", tmp_path / "once" / "data" / "secrets")
    done = book.merge(rows())
    assert (done.merged.payments, done.merged.refused) == (ROWS // 2, 0)
    first_model = 2  # the network prior was staged and activated
    assert done.merged.there == done.merged.carried - first_model > ROWS // 2
    assert book.state() == Book(tmp_path / "once", rows()).state()


def test_reports_that_came_later_join_payments_that_are_there(tmp_path: Path) -> None:
    book = Book(tmp_path, rows(frauds=False))
    done = book.merge(rows())
    frauds = sum(row[-1] != "" for row in rows())
    assert (done.merged.payments, done.merged.added, done.merged.there) == (0, frauds, ROWS)
    assert sum(change[2] for change in book.state()[1]) == frauds > 5


def test_a_file_that_tells_nothing_new_changes_nothing(book: Book) -> None:
    before = book.state()
    done = book.merge(rows()[::2])
    assert (done.generation, done.merged.added, book.rejects()) == (None, 0, [])
    assert book.state() == before
    assert not list(book.data.glob("generation-*"))


def test_rows_that_say_something_else_are_rejected_with_their_line(book: Book) -> None:
    more = rows()
    more[0] = (*more[0][:2], "99.00", *more[0][3:])
    more[2] = (more[2][0], "2025-12-24 10:00:00", *more[2][2:])
    more[4] = (*more[4][:3], "c77", *more[4][4:])
    done = book.merge(more)
    assert (done.merged.payments, done.merged.refused) == (ROWS // 2, 3)
    assert {(r["line"], r["column"], r["value"]) for r in book.rejects()} == {
        ("2", "amount_minor", "150 minor units"),
        ("4", "occurred_at", "2026-01-01"),
        ("6", "event_id", ""),
    }


def test_what_a_refused_row_says_of_its_payment_is_refused_with_it(book: Book) -> None:
    fraud = next(n for n, row in enumerate(rows()) if n % 2 == 0 and row[-1])
    changed = [(*row[:2], "99.00", row[3], "2026-02-01") if n == fraud else row for n, row in enumerate(rows())]
    done = book.merge(changed)
    assert (done.merged.refused, len(book.rejects())) == (1, 1)
    assert sum(change[2] for change in book.state()[1]) == sum(row[-1] != "" for row in rows())


def test_too_many_that_say_something_else_stop_it_and_nothing_has_changed(book: Book) -> None:
    before = book.state()
    with pytest.raises(BadInput, match="of another amount"):
        book.merge([(*row[:2], "99.00", *row[3:]) for row in rows()])
    assert len(book.rejects()) == ROWS // 2
    assert book.state() == before
    assert not list(book.data.glob("generation-*"))


def test_payments_that_were_decided_are_there_already_and_get_their_reports(tmp_path: Path) -> None:
    book = Book(tmp_path, rows()[:50])
    with opened(book.data, FakeClock(T0_MS)) as shop:
        shop.writer.decide("shop", payment(1, amount_minor=350), T0_MS)
        shop.writer.decide("shop", payment(2, amount_minor=350), T0_MS)
    at, reported = from_ms(T0_MS + 3_600_000), from_ms(T0_MS + 5 * 86_400_000)
    acquirer = [("p1", f"{at:%Y-%m-%d %H:%M:%S}", "3.50", "c1", f"{reported:%Y-%m-%d}"),
                ("p2", f"{at:%Y-%m-%d %H:%M:%S}", "4.50", "c1", "")]  # fmt: skip
    done = book.merge(acquirer, max_rejects=0.6)
    assert (done.merged.there, done.merged.added, done.merged.refused) == (1, 1, 1)
    with opened(book.data) as shop:
        data = collect(shop.installation.log.read, "shop")
        assert data.background.payment_ids[-2:] == ["p1", "p2"]
        assert data.known_at(data.cut_ms)[1][-2:].tolist() == [True, False]


def test_rows_without_ids_cannot_be_told_from_those_that_are_there(tmp_path: Path) -> None:
    some = [row[1:] for row in rows()]
    found = propose(file := write_csv(tmp_path / "f.csv", HEAD[1:], some), {"id": "none"}).ready().mapping
    with opened(tmp_path / "data") as shop:
        bring_in(shop.installation, "shop", file, found)
        with pytest.raises(BadInput, match="name the column with --id"):
            rebuild(shop.installation, "shop", file, found)


def test_another_schema_is_a_conflict(book: Book) -> None:
    fewer = write_csv(book.folder / "fewer.csv", HEAD[:3], [row[:3] for row in rows()])
    with opened(book.data) as shop, pytest.raises(Conflict, match="--mapping"):
        rebuild(shop.installation, "shop", fewer, propose(fewer, {"label": "none"}).mapping)


def test_a_merchant_that_is_not_there_has_nothing_to_rebuild(book: Book) -> None:
    with opened(book.data) as shop, pytest.raises(NotFound, match="no merchant 'shopp'"):
        rebuild(shop.installation, "shopp", book.folder / "some.csv", book.mapping)


def test_while_a_service_has_the_folder_nothing_is_rebuilt(book: Book) -> None:
    with opened(book.data), pytest.raises(DataFolderLocked, match="stop it and try again"):
        book.merge(rows())


def test_a_log_in_memory_has_no_generations(tmp_path: Path) -> None:
    with opened(tmp_path / "data", log="memory:") as shop:
        file, found = write_csv(tmp_path / "f.csv", HEAD, rows()), mapping(tmp_path)
        bring_in(shop.installation, "shop", file, found)
        with pytest.raises(BadInput, match="only a log in files"):
            rebuild(shop.installation, "shop", file, found)
