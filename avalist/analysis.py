"""An installation for data scientists: ``with avalist.open(folder) as a: a.features("shop")``. It only reads."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from avalist.app.archive import Archive
from avalist.app.dataset import Dataset, collect
from avalist.app.matrix import Matrix, column_of
from avalist.app.merchant import added_in, created_in, plan_of
from avalist.bootstrap import extra, open_archive, open_blobs, open_derived, open_log
from avalist.config import Settings, settings_from
from avalist.domain.core import MerchantCreated
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.keys import is_twin
from avalist.domain.records import Record, RecordKind
from avalist.features.plan import Plan
from avalist.history.private import private

if TYPE_CHECKING:
    import polars as pl

    from avalist.cluster import Cluster

When = dt.datetime | dt.date | str
"""A time: text is ISO 8601, and what names no zone is UTC."""
Told = Callable[[int], None]

_ROWS: Final = 32_768
"""Payments of a batch: with 300 columns 40 MB."""


def open(folder: str | Path | None = None) -> Analysis:
    """Open a data folder to read, by default the one that the settings name; a service may run meanwhile.

    Over Kafka the past is read from the topic and the archive. Raises ``NotFound`` if there is no such folder.
    """
    return Analysis(settings_from(data=Path(folder) if folder is not None else None))


class Analysis:
    """An installation, opened to read. Close it, or use it as a context."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._stack = settings, ExitStack()
        self._pasts: dict[int, Archive] = {}
        self._cluster: Cluster | None = None
        if settings.log.startswith("kafka:"):
            with extra("kafka"):
                from avalist.cluster import open_cluster
            self._cluster = self._stack.enter_context(open_cluster(settings))
        elif not settings.data.is_dir():
            raise NotFound(f"no data folder {str(settings.data)!r}: name the one that 'avalist up' serves")
        else:
            self._past(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release it."""
        self._stack.close()

    def merchants(self) -> list[str]:
        """Return the merchants, without the twins of sandboxes."""
        there = self._past(0).merchants() if self._cluster is None else self._cluster.merchants()
        return [merchant for merchant in there if not is_twin(merchant)]

    def past(self, merchant: str) -> Archive:
        """Return the archive and the log that hold a merchant: over Kafka those of its partition."""
        return self._past(0 if self._cluster is None else self._cluster.partition_of(merchant))

    def _past(self, partition: int) -> Archive:
        if partition not in self._pasts:
            opening = _here(self._settings) if self._cluster is None else self._cluster.past(partition)
            self._pasts[partition] = self._stack.enter_context(opening)
        return self._pasts[partition]

    def records(self, merchant: str) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of a merchant, from the archive and from the log's tail."""
        return self.past(merchant).read(merchant=merchant)

    def created(self, merchant: str) -> MerchantCreated:
        """Return what created a merchant: its schema and features. Raises ``NotFound``."""
        return created_in(self.records(merchant), merchant)

    def plan(self, merchant: str) -> Plan:
        """Return the plan of a merchant: `columns` are its features' names. Raises ``NotFound``."""
        added = added_in(self.past(merchant).read(merchant=merchant, kind=RecordKind.CONTROL), merchant)
        return plan_of(self.created(merchant), added)

    def features(
        self,
        merchant: str,
        *,
        from_: When | None = None,
        to: When | None = None,
        known_at: When | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Return a merchant's payments with the features that their decisions saw: the log, replayed.

        Parameters
        ----------
        merchant
            Its id.
        from_, to
            Payments received from `from_` on, and before `to`.
        known_at
            Labels are those that were logged by then, and later payments are left out; now by default.
        columns
            Names of features; all of them by default.

        Returns
        -------
        polars.DataFrame
            ``payment_id``, ``seq``, ``received_at``, ``amount_minor`` (base currency), ``captured``, ``fraud`` (null
            where not captured), ``fraud_reported_at`` (null where its time was drawn), then float32 features, NaN
            where unknown.

        Raises
        ------
        NotFound
            If there is no such merchant.
        BadInput
            For a column or a time that is none.
        """
        import polars as pl  # here: it is slow to start

        self._check(merchant, from_, to, known_at, columns)
        with spilled() as spill:
            data = collect(partial(self.records, merchant), merchant, spill=spill)
            matrix = _matrix(data, from_, to, known_at, columns)
            table = pa.Table.from_batches(matrix.batches(_ROWS), matrix.schema)
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _check(
        self,
        merchant: str,
        from_: When | None,
        to: When | None,
        known_at: When | None,
        columns: Sequence[str] | None,
    ) -> None:
        """Refuse what is asked for amiss before the log is replayed, which takes long."""
        for name, when in (("from_", from_), ("to", to), ("known_at", known_at)):
            time_ms(when, name)
        plan = self.plan(merchant)
        for column in columns or ():
            column_of(plan, column)

    def export(
        self,
        merchant: str,
        file: str | Path,
        *,
        from_: When | None = None,
        to: When | None = None,
        known_at: When | None = None,
        columns: Sequence[str] | None = None,
        replayed: Told = lambda position: None,
        written: Told = lambda rows: None,
    ) -> int:
        """Write what :meth:`features` returns to a Parquet file, in bounded memory; return how many payments.

        The file is there when it is whole, and only its owner may read it. `replayed` is told the position in the log,
        `written` the payments written. Raises as :meth:`features`, and ``BadInput`` where the file has no place.
        """
        file = Path(file)
        if file.is_dir() or not file.parent.is_dir():
            raise BadInput(
                "there is no place for the file", field="file", expected="a file in a folder that exists", got=str(file)
            )
        self._check(merchant, from_, to, known_at, columns)
        with spilled(file.parent) as spill:
            data = collect(partial(self.records, merchant), merchant, replayed, spill)
            matrix = _matrix(data, from_, to, known_at, columns)
            _write(matrix, file, written)
        return len(matrix.rows)


@contextmanager
def _here(settings: Settings) -> Iterator[Archive]:
    with closing(open_log(settings, readonly=True)) as log:
        yield open_archive(open_derived(settings, open_blobs(settings)), log)


def spilled(folder: Path | None = None) -> IO[bytes]:
    """Return a file without a name to spill to, in a folder or where the system puts such files."""
    return tempfile.TemporaryFile(dir=folder)


def _matrix(
    data: Dataset, from_: When | None, to: When | None, known_at: When | None, columns: Sequence[str] | None
) -> Matrix:
    return Matrix(
        data,
        from_ms=time_ms(from_, "from_"),
        to_ms=time_ms(to, "to"),
        known_at_ms=time_ms(known_at, "known_at"),
        columns=columns,
    )


def _write(matrix: Matrix, file: Path, written: Told) -> None:
    """Write a matrix beside its place, then put it there."""
    part, rows = file.with_name(f".{file.name}.part"), 0
    try:
        with (
            os.fdopen(private(str(part), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as sink,
            pq.ParquetWriter(sink, matrix.schema, compression="zstd") as writer,
        ):
            for batch in matrix.batches(_ROWS):
                writer.write_batch(batch)
                rows += batch.num_rows
                written(rows)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def time_ms(when: When | None, field: str) -> int | None:
    """Return a time in ms since 1970. Raises ``BadInput``.

    >>> time_ms("1970-01-02", "to"), time_ms(None, "to")
    (86400000, None)
    """
    if when is None:
        return None
    if isinstance(when, str):
        when = _told(when, field)
    if not isinstance(when, dt.datetime):
        when = dt.datetime(when.year, when.month, when.day)
    when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return round(when.timestamp() * 1000)


def _told(text: str, field: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        expected = "a day or a time, ISO 8601: 2026-05-31"
        raise BadInput("not a time", field=field, expected=expected, got=text[:32]) from None
