"""Rows that cannot be imported go to a file beside it: line, column, reason and the value, shortened."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

import polars as pl

from avalist.domain.errors import BadInput
from avalist.history.columns import with_card_number
from avalist.history.private import private

COMMONEST = 3
_NUMBER = re.compile(r"[+-][\d.,' ]+")


class Reject(NamedTuple):
    """A row that cannot be imported; `value` is shortened and never a card number."""

    line: int
    column: str
    reason: str
    value: str = ""


def shown(value: str) -> str:
    """Return a cell as it may be shown: short, and never a card number."""
    if with_card_number(pl.Series([value]))[0]:
        return "(a card number)"
    plain = printable(value)
    return plain if len(plain) <= 24 else plain[:21] + "..."


def masked(value: str) -> str:
    """Return a cell of which a stranger may see the beginning alone.

    >>> masked("ann@example.com")
    'a***'
    """
    return f"{value[:1]}***"


def printable(text: str) -> str:
    r"""Return text with its control characters written out: a terminal would obey them.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = printable(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(text) else text


class Rejects:
    """Writes rejects to a CSV file of its owner, made with the first one; counts them by column and reason."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.count = 0
        self.unread = 0
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._stream: TextIO | None = None
        file.unlink(missing_ok=True)

    def add(self, rejects: Sequence[Reject]) -> None:
        """Write some more."""
        if not rejects:
            return
        if self._stream is None:
            descriptor = private(str(self.file), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            self._stream = os.fdopen(descriptor, "w", newline="", encoding="utf-8")
            csv.writer(self._stream).writerow(Reject._fields)
        csv.writer(self._stream).writerows([_cell(value) for value in reject] for reject in rejects)
        self.count += len(rejects)
        self._reasons.update((reject.column, reject.reason) for reject in rejects)

    def commonest(self) -> list[str]:
        """Return the commonest reasons, with how often each came."""
        named = [(f"{column}: {reason}" if column else reason, n) for (column, reason), n in self._reasons.items()]
        return [f"{n:,} x {reason}" for reason, n in sorted(named, key=lambda r: -r[1])[:COMMONEST]]

    def stop_if_many(self, read: int, most: float) -> None:
        """Raise ``BadInput`` if more than the share `most` of the rows read were rejected, or all of them."""
        if self._stream is not None:
            self._stream.flush()
        if read and (self.count > most * read or self.count == read):
            raise BadInput(
                f"{self.count:,} of {read:,} rows cannot be imported, so nothing was recorded: "
                f"{'; '.join(self.commonest())}. "
                f"Every one stands in {self.file.name}; mend the mapping, or allow more with --max-rejects",
                field="rows",
                expected=f"at most {most:.0%} rejected",
                got=f"{self.count / read:.1%}",
            )

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
