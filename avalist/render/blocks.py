"""What a page is made of. Every text is plain: whoever shows it escapes it, for names come from strangers' files."""

from __future__ import annotations

from typing import Literal

import msgspec

Format = Literal["percent", "money", "date", "number"]
Style = Literal["line", "points", "dashed"]


class Heading(msgspec.Struct, frozen=True):
    """A section begins."""

    text: str


class Text(msgspec.Struct, frozen=True):
    """A paragraph; `lead` is read first, `small` last, `warning` is not to be missed."""

    text: str
    kind: Literal["plain", "lead", "small", "warning"] = "plain"


class Listing(msgspec.Struct, frozen=True):
    """Short points."""

    items: tuple[str, ...]


class Table(msgspec.Struct, frozen=True):
    """Rows of texts; the first column is text, the others stand right unless `text_columns` names more."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    text_columns: int = 1


class Figure(msgspec.Struct, frozen=True):
    """One figure that matters: its value and what it says."""

    label: str
    value: str
    detail: str


class Figures(msgspec.Struct, frozen=True):
    """Figures side by side."""

    figures: tuple[Figure, ...]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Points of one thing; `low` and `high` are its interval where given."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    style: Style = "line"
    colour: int = 1


class Mark(msgspec.Struct, frozen=True):
    """A point with a label."""

    x: float
    y: float
    label: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A plot over x: `shade` marks a stretch of x, `level` a horizontal line, both with their label."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_format: Format = "number"
    y_format: Format = "number"
    currency: str = ""
    marks: tuple[Mark, ...] = ()
    shade: tuple[float, float, str] | None = None
    level: tuple[float, str] | None = None
    zero: bool = True
    caption: str = ""
    x_ticks: tuple[tuple[float, str], ...] = ()


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Named values side by side, longest first."""

    title: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    format: Format = "percent"
    caption: str = ""


class Pair(msgspec.Struct, frozen=True):
    """Two plots beside each other, one below the other on a phone."""

    left: Chart
    right: Chart


Block = Heading | Text | Listing | Table | Figures | Chart | Bars | Pair


class Page(msgspec.Struct, frozen=True):
    """A title, the line below it, and blocks in order."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]
