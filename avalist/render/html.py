"""Blocks as one self-contained HTML page: no script, no network. An element tree escapes every text and attribute."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from avalist.render.blocks import (
    Bars,
    Block,
    Chart,
    Figures,
    Heading,
    Listing,
    Page,
    Pair,
    Table,
    Text,
)
from avalist.render.svg import bars, chart
from avalist.render.tree import Element, element

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6877;--grid:#dfe4ea;--back:#fff;--card:#f5f7f9;--c1:#1f6fb2;
--c2:#c2571a;--c3:#3d8b4f;--warn:#8a5a00}
@media (prefers-color-scheme:dark){:root{--ink:#e7ebf0;--soft:#9aa6b4;--grid:#323b46;--back:#14181d;--card:#1d232a;
--c1:#6db3ee;--c2:#f0955a;--c3:#7fcf92;--warn:#e8b85a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}h2{font-size:1.2rem;margin:2.4em 0 .5em;padding-top:.7em;
border-top:1px solid var(--grid)}
p{margin:.6em 0;max-width:46em}.subtitle,.small,figcaption,caption{color:var(--soft);font-size:.875rem}
.lead{font-size:1.12rem}.warning{border-left:4px solid var(--warn);padding-left:12px}
ul{padding-left:1.2em;max-width:46em}li{margin:.3em 0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin:1.2em 0}
.figure{background:var(--card);border-radius:8px;padding:12px 14px}
.figure b{display:block;font-size:1.4rem;line-height:1.3}
.figure span{display:block;font-size:.875rem;color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:8px 24px}
figure{margin:1em 0;max-width:580px}.pair figure{max-width:none}figure h3{font-size:.95rem;margin:0 0 .2em}
svg{display:block;width:100%;height:auto;overflow:visible}svg text{fill:var(--soft);font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:1em 0;font-variant-numeric:tabular-nums}
caption{text-align:left;caption-side:top;padding-bottom:.3em}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--grid);vertical-align:top;text-align:right}
td{white-space:nowrap}td.t{white-space:normal;min-width:7em}
th{color:var(--soft);font-weight:600}.t{text-align:left}
.g{stroke:var(--grid);stroke-width:1}.a{stroke:var(--soft);stroke-width:1}
.l{fill:none;stroke-width:2.2;stroke-linejoin:round}
.b{opacity:.17;stroke:none}.d{stroke-dasharray:5 4}.s{fill:var(--soft);opacity:.12}
svg .m{fill:var(--ink);font-weight:600}
.k1{stroke:var(--c1)}.k2{stroke:var(--c2)}.k3{stroke:var(--c3)}.n1{fill:var(--c1)}.n2{fill:var(--c2)}.n3{fill:var(--c3)}
svg text.n1{fill:var(--c1)}svg text.n2{fill:var(--c2)}svg text.n3{fill:var(--c3)}
@media print{:root{--ink:#000;--soft:#444;--grid:#ccc;--back:#fff;--card:#f4f4f4;--c1:#1f6fb2;--c2:#c2571a;--c3:#3d8b4f}
main{max-width:none;padding:0}
.pair{grid-template-columns:1fr 1fr}figure{max-width:420px}
h2{break-after:avoid}figure,tr,.figure{break-inside:avoid}.wide{overflow:visible}td{white-space:normal}
body{font-size:12px}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def page(page: Page) -> str:
    """Return the page as HTML."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", content=_POLICY, **{"http-equiv": "Content-Security-Policy"}),
        element("title", page.title),
        element("style", _STYLE),
    )
    top = element("header", element("h1", page.title), element("p", page.subtitle, cls="subtitle"))
    main = element("main", top, *(_block(block) for block in page.blocks))
    root = element("html", head, element("body", main), lang="en")
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!doctype html>\n{_CONTROL.sub('', text)}\n"


def _block(block: Block) -> Element:
    match block:
        case Heading():
            return element("h2", block.text)
        case Text():
            return element("p", block.text, cls=block.kind)
        case Listing():
            return element("ul", *(element("li", item) for item in block.items))
        case Figures():
            return element("div", *(_figure(f.label, f.value, f.detail) for f in block.figures), cls="figures")
        case Table():
            return _table(block)
        case Chart() | Bars():
            return _plot(block)
        case Pair():
            return element("div", _plot(block.left), _plot(block.right), cls="pair")


def _figure(label: str, value: str, detail: str) -> Element:
    parts = element("span", label), element("b", value), element("span", detail)
    return element("div", *parts, cls="figure")


def _plot(plot: Chart | Bars) -> Element:
    drawn = chart(plot) if isinstance(plot, Chart) else bars(plot)
    caption = (element("figcaption", plot.caption),) if plot.caption else ()
    return element("figure", element("h3", plot.title), drawn, *caption)


def _table(table: Table) -> Element:
    def row(tag: str, cells: tuple[str, ...]) -> Element:
        sides = ("t" if i < table.text_columns else None for i in range(len(cells)))
        return element("tr", *(element(tag, cell, cls=side) for cell, side in zip(cells, sides, strict=True)))

    caption = (element("caption", table.caption),) if table.caption else ()
    body = element("tbody", *(row("td", cells) for cells in table.rows))
    whole = element("table", *caption, element("thead", row("th", table.head)), body)
    return element("div", whole, cls="wide")
