"""The archive: each merchant's records without their sealed parts, as Parquet in its blobs, with their positions.

Batches of the log follow one another without a gap. A batch counts once its mark is there, which names its files; so a
death while it is written leaves nothing half. Files are named by their content too: who stood still while another went
on writes over none of them.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from avalist.app.parts import named_by, proof_of
from avalist.domain.errors import LogCorrupt, NotFound, Superseded
from avalist.domain.keys import HOUSE
from avalist.domain.records import Record
from avalist.ports.blobs import Blobs
from avalist.ports.log import Log

_PREFIX: Final = "archive/"
_SCHEMA: Final = pa.schema(
    [
        ("position", pa.int64()),
        ("seq", pa.int64()),
        ("kind", pa.int8()),
        ("received_at", pa.timestamp("ms", "UTC")),
        ("core", pa.binary()),
    ]
)

Stream = Iterator[tuple[int, Record]]


class _File(msgspec.Struct, frozen=True):
    """A merchant's records of one batch, by the hash of the blob."""

    merchant: str
    name: str
    proof: bytes


class Mark(msgspec.Struct, frozen=True):
    """A batch: the records of [`start`, `stop`). `last` is the position and the proof of its last record."""

    start: int
    stop: int
    last: tuple[int, bytes]
    files: tuple[_File, ...]


class Placed(NamedTuple):
    """A record and its position."""

    position: int
    record: Record


class Archive:
    """Writes and reads the archive of one log.

    Raises
    ------
    LogCorrupt
        If batches are missing or damaged, or belong to another log; nothing is written over them.
    """

    def __init__(self, blobs: Blobs, log: Log) -> None:
        self._blobs = blobs
        self._log = log
        self._marks = [self._mark(name) for name in blobs.names(HOUSE, _PREFIX)]
        for before, after in zip([None, *self._marks], self._marks, strict=False):
            if after.start != (before.stop if before is not None else 0):
                raise LogCorrupt(f"the archive lacks the records before position {after.start}: restore its blobs")
        if self._marks:
            self._check_log(self._marks[-1])

    @property
    def end(self) -> int:
        """Return the position up to which everything is archived."""
        return self._marks[-1].stop if self._marks else 0

    @property
    def log_end(self) -> int:
        """Return the position after the last record of the log: up to there it can be read."""
        return self._log.end

    @property
    def last(self) -> int:
        """Return the position of the last record that is archived: by it a log is known as the archive's own."""
        return self._marks[-1].last[0] if self._marks else 0

    def get(self, position: int) -> Record:
        """Return one archived record; some ten milliseconds, as a file is read for it. Raises ``NotFound``."""
        for mark in self._marks[bisect_right(self._marks, position, key=lambda mark: mark.stop) :][:1]:
            for file in mark.files:
                for _, record in self._records(file, ("position", position)):
                    return record
        raise NotFound(f"no record begins at position {position}")

    def merchants(self) -> list[str]:
        """Return the merchants of the archive and of the log's tail, sorted."""
        archived = {file.merchant for mark in self._marks for file in mark.files}
        return sorted(archived | {record.merchant for _, record in self._log.read(self.end)})

    def write(self, records: Sequence[Placed], stop: int, last_proof: bytes) -> None:
        """Archive the records of [`end`, `stop`), all of them and in order, less their sealed parts.

        `last_proof` is that of the last record as it stands in the log. Raises ``Superseded`` if another process wrote
        meanwhile.
        """
        merchants: dict[str, list[Placed]] = {}
        for placed in records:
            merchants.setdefault(placed.record.merchant, []).append(placed)
        files = []
        for merchant, mine in merchants.items():
            data = _parquet(mine)
            proof = hashlib.sha256(data).digest()
            name = f"{named_by(f'{_PREFIX}{mine[0].position:020d}', proof)}.parquet"
            self._blobs.put(merchant, name, data)
            files.append(_File(merchant, name, proof))
        if len([*self._blobs.names(HOUSE, _PREFIX)]) != len(self._marks):
            raise Superseded("the archive is no longer as this process left it: another one went on")
        mark = Mark(self.end, stop, (records[-1].position, last_proof), tuple(files))
        self._blobs.put(HOUSE, f"{_PREFIX}{stop:020d}", msgspec.msgpack.encode(mark))
        self._marks.append(mark)

    def read(
        self, start: int = 0, stop: int | None = None, merchant: str | None = None, kind: int | None = None
    ) -> Stream:
        """Yield ``(position, record)`` of one merchant, or of all, in order: from the archive, then from the log.

        With a `kind` only records of it: those of the archive are found without decoding the others.

        `start` may be any position: a reading goes on after the last record it got. Those from the archive have no
        sealed part.
        """
        stop = self._log.end if stop is None else stop
        for mark in self._marks:
            if start < mark.stop and mark.start < stop:
                files = [file for file in mark.files if merchant in (None, file.merchant)]
                streams = [self._records(file, None if kind is None else ("kind", kind)) for file in files]
                for position, record in heapq.merge(*streams, key=lambda placed: placed[0]):
                    if start <= position < stop:
                        yield position, record
        if self.end < stop:
            for position, record in self._log.read(self.end, stop):
                if position >= start and merchant in (None, record.merchant) and kind in (None, record.kind):
                    yield position, record

    def _records(self, file: _File, only: tuple[str, int] | None) -> Stream:
        """Yield a file's records, or only those with a value in a column."""
        data = self._blobs.get(file.merchant, file.name)
        if hashlib.sha256(data).digest() != file.proof:
            raise LogCorrupt(
                f"the archive's file {file.name} of merchant {file.merchant} is damaged: restore its blobs"
            )
        whole = pq.ParquetFile(BytesIO(data)).iter_batches() if only is None else _with(data, *only)
        for batch in whole:
            columns: list[list[Any]] = [batch.column(n).to_pylist() for n in (0, 1, 2, 4)]
            ats = batch.column(3).cast(pa.int64()).to_pylist()
            for position, seq, kind, core, at_ms in zip(*columns, ats, strict=True):
                yield position, Record(file.merchant, seq, kind, at_ms, core)

    def _mark(self, name: str) -> Mark:
        try:
            return msgspec.msgpack.decode(self._blobs.get(HOUSE, name), type=Mark)
        except msgspec.MsgspecError as error:
            raise LogCorrupt(f"the archive's mark {name} is damaged ({error}): restore its blobs") from None

    def _check_log(self, mark: Mark) -> None:
        at, proof = mark.last
        try:
            known = mark.stop <= self._log.end and proof_of(self._log.get(at)) == proof
        except NotFound:
            known = False
        if not known:
            raise LogCorrupt(
                f"the archive holds another log than this one, up to position {mark.stop}: move the blobs 'archive/' "
                "away, or restore the log they were made from"
            )


def _with(data: bytes, column: str, value: int) -> Iterator[pa.RecordBatch]:
    yield from pq.read_table(BytesIO(data), filters=[(column, "=", value)]).to_batches()


def _parquet(records: Sequence[Placed]) -> bytes:
    columns = [
        [placed.position for placed in records],
        [placed.record.seq for placed in records],
        [placed.record.kind for placed in records],
        [placed.record.received_at_ms for placed in records],
        [placed.record.core for placed in records],
    ]
    arrays = [pa.array(column, type=kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)]
    sink = BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), sink, compression="zstd", row_group_size=1 << 16)
    return sink.getvalue()
