"""Blocks as Markdown: the same words and numbers; a plot is a table of its points."""

from __future__ import annotations

import re
from typing import Final

from avalist.render.blocks import Bars, Block, Chart, Figures, Heading, Listing, Page, Pair, Table, Text
from avalist.render.numbers import shown

_MARKS: Final = re.compile(r"([\\`*_\[\]<>|#&!~])")
_SPACE: Final = re.compile(r"[\x00-\x1f\x7f]+")
_MOST_POINTS: Final = 14


def escape(text: str) -> str:
    r"""Return a text that Markdown shows as it is.

    >>> print(escape("a|b <i> [x](y)"))
    a\|b \<i\> \[x\](y)
    """
    return _MARKS.sub(r"\\\1", _SPACE.sub(" ", text))


def page(page: Page) -> str:
    """Return the page as Markdown."""
    parts = [f"# {escape(page.title)}", escape(page.subtitle), *(_block(block) for block in page.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {escape(block.text)}"
        case Text():
            text = escape(block.text)
            return f"**{text}**" if block.kind == "warning" else text
        case Listing():
            return "\n".join(f"- {escape(item)}" for item in block.items)
        case Figures():
            figures = tuple((f.label, f.value, f.detail) for f in block.figures)
            return _table(("figure", "value", ""), figures, 1)
        case Table():
            return _captioned(block.caption, _table(block.head, block.rows, block.text_columns))
        case Bars():
            bars = tuple((n, shown(v, block.format)) for n, v in zip(block.labels, block.values, strict=True))
            return _captioned(block.caption, _table((block.title, "value"), bars, 1))
        case Chart():
            return _chart(block)
        case Pair():
            return f"{_chart(block.left)}\n\n{_chart(block.right)}"


def _captioned(caption: str, table: str) -> str:
    return f"{escape(caption)}\n\n{table}" if caption else table


def _table(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...], text_columns: int) -> str:
    rule = ["---" if i < text_columns else "---:" for i in range(len(head))]
    lines = [[escape(cell) for cell in cells] for cells in (head, *rows)]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _chart(chart: Chart) -> str:
    xs = sorted({x for series in chart.series for x in series.x})
    every = 1 if chart.x_format == "date" else -(-len(xs) // _MOST_POINTS)  # a missing week reads as a gap
    names = dict(chart.x_ticks)
    found = [dict(zip(s.x, s.y, strict=True)) for s in chart.series]
    rows = []
    for x in xs[::every]:
        first = names.get(x) or shown(x, chart.x_format, chart.currency)
        values = (shown(points.get(x, float("nan")), chart.y_format, chart.currency) for points in found)
        rows.append((first, *values))
    head = (chart.x_label, *(series.name for series in chart.series))
    caption = f"{chart.title}: {chart.y_label}. {chart.caption}".strip()
    return _captioned(caption, _table(head, tuple(rows), 1))
