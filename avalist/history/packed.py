"""Files that are packed are unpacked while they are read: gzip, zstd, bzip2, and a zip archive of one file.

A spreadsheet is such an archive too; see ``sheets``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import pyarrow as pa

from avalist.domain.errors import BadInput
from avalist.history.sheets import opened_sheet

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_BYTES: Final = 1 << 20
_LARGEST_RATIO: Final = 200
"""Tables are packed to a tenth or so; what is made to harm, to a thousandth."""
_BROKEN: Final = (EOFError, OSError, zlib.error, zipfile.BadZipFile, NotImplementedError)
_SHEETS: Final = ("[Content_Types].xml", "mimetype")
"""What archives hold that are spreadsheets."""


def is_packed(file: Path) -> bool:
    """Tell whether a file is packed in a way that :func:`opened` unpacks."""
    return _unpacker(file) is not None


def opened(file: Path) -> BinaryIO:
    """Open a file, and unpack it if it is packed.

    Reading raises ``BadInput`` where what is packed is damaged or ends too early, or unpacks to far too much.
    """
    unpack = _unpacker(file)
    return file.open("rb") if unpack is None else io.BufferedReader(_Unpacked(file, unpack), _CHUNK_BYTES)


def _unpacker(file: Path) -> Callable[[Path], Any] | None:
    with file.open("rb") as raw:
        head = raw.read(4)
    return next((unpack for magic, unpack in _UNPACKERS.items() if head.startswith(magic)), None)


class _Unpacked(io.RawIOBase):
    """The content of a packed file; it can be read again from its beginning."""

    def __init__(self, file: Path, unpack: Callable[[Path], Any]) -> None:
        self._file, self._unpack = file, unpack
        self._most = _LARGEST_RATIO * file.stat().st_size + _CHUNK_BYTES
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        try:
            self._stream = self._unpack(self._file)
        except _BROKEN as error:
            raise self._damaged(error) from None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: of its beginning."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read some of it."""
        room = memoryview(buffer)
        try:
            some = self._stream.read(len(room))
        except _BROKEN as error:
            raise self._damaged(error) from None
        self._at += len(some)
        if self._at > self._most:
            expected = f"at most {_LARGEST_RATIO} times its size: unpack it first if it is right"
            raise BadInput("it unpacks to far too much", field=self._file.name, expected=expected, got="more")
        room[: len(some)] = some
        return len(some)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to the beginning, or tell where it is."""
        if (offset, whence) == (0, io.SEEK_SET):
            self._stream.close()
            self._begin()
        elif (offset, whence) != (0, io.SEEK_CUR):
            raise io.UnsupportedOperation("a packed file is read from its beginning")
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    def _damaged(self, error: Exception) -> BadInput:
        expected = "a whole file: copy or download it again"
        return BadInput("it cannot be unpacked", field=self._file.name, expected=expected, got=str(error)[:100])


def _zstd(file: Path) -> Any:
    return pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")


def _zip(file: Path) -> Any:
    """Open the one file of an archive, or the sheet of a workbook. Raises ``BadInput`` for several, or a locked one."""
    with zipfile.ZipFile(file) as archive:
        inside = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
        if inside and any(one.filename in _SHEETS for one in inside):
            if sum(one.file_size for one in inside) > _LARGEST_RATIO * file.stat().st_size:
                raise BadInput("it unpacks to far too much", field=file.name)
            return opened_sheet(file)
        if len(inside) != 1 or inside[0].flag_bits & 1:
            got = f"{len(inside)} files" if len(inside) != 1 else "a password"
            expected = "a zip archive of one file, without a password"
            raise BadInput("unpack it first", field=file.name, expected=expected, got=got)
        return archive.open(inside[0])


_UNPACKERS: Final[dict[bytes, Callable[[Path], Any]]] = {
    b"\x1f\x8b": gzip.open, b"\x28\xb5\x2f\xfd": _zstd, b"BZh": bz2.open, b"PK\x03\x04": _zip,
}  # fmt: skip
"""By the first bytes of a file."""
