"""The page: self-contained, well-formed, deaf to hostile names, the same figures in HTML and Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import numpy as np
import pytest

from avalist.app.report import FitReport, evaluate, report
from avalist.app.spent import ledger
from avalist.render import html_page, markdown_page, story
from avalist.render.blocks import Block, Chart, Figures, Heading, Listing, Page, Pair, Series, Table, Text
from avalist.render.html import page as html
from avalist.render.markdown import escape
from avalist.render.markdown import page as markdown
from avalist.render.story import headline
from avalist.render.svg import ticks
from tests.judged import SMALL, dataset

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>|`x` [a](http://evil.example) \x00\"'&<!--"
VOID = {"meta"}


@pytest.fixture(scope="module")
def made() -> FitReport:
    return report(dataset(refused=0.1), "shop", SMALL)


class Reader(HTMLParser):
    """Reads a page as a browser would: which tags, attributes and texts it holds, and whether they nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile(made: FitReport) -> FitReport:
    """Return the report with a stranger's text wherever a file's names or values can stand."""
    census = msgspec.structs.replace(
        made.census,
        entities=tuple(msgspec.structs.replace(e, name=HOSTILE, source=HOSTILE) for e in made.census.entities),
        categories=tuple(msgspec.structs.replace(e, name=HOSTILE, source=HOSTILE) for e in made.census.categories),
        outcomes={HOSTILE: 3},
        money=tuple(msgspec.structs.replace(m, currency=HOSTILE) for m in made.census.money),
    )
    return msgspec.structs.replace(
        made,
        merchant=HOSTILE,
        file=HOSTILE,
        assumed=(HOSTILE,),
        census=census,
        families=tuple(msgspec.structs.replace(f, name=HOSTILE) for f in made.families),
        columns=tuple(msgspec.structs.replace(c, words=HOSTILE) for c in made.columns),
    )


@pytest.mark.parametrize("change", [lambda made: made, hostile], ids=["usual", "hostile"])
def test_the_page_is_self_contained_and_runs_nothing(made: FitReport, change: Any) -> None:
    page = html_page(story(change(made)))
    read = Reader(page)
    assert not read.tags & {"script", "img", "link", "iframe", "object", "a", "form", "base", "image", "use"}
    assert not [n for n, _ in read.attributes if n.startswith("on") or n in ("src", "href", "style", "xlink:href")]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page
    assert "\x00" not in page


def test_hostile_names_are_shown_as_they_are(made: FitReport) -> None:
    shown = "".join(Reader(html_page(story(hostile(made)))).texts)
    assert shown.count(HOSTILE.replace("\x00", "")) > 5


def test_a_zone_that_was_told_is_not_contradicted(made: FitReport) -> None:
    told = msgspec.structs.replace(made, assumed=("times that name no zone are taken as America/Chicago",))
    text = markdown_page(story(told))
    assert "America/Chicago" in text
    assert "UTC" not in text.partition("What was assumed")[2].partition("##")[0]


def test_hostile_names_are_no_markdown(made: FitReport) -> None:
    text = markdown_page(story(hostile(made)))
    bare = re.sub(r"\\.", "", text)
    assert not re.search(r"<\w|\]\(|`", bare)
    for line in bare.splitlines():  # no cell was added to a table
        assert not line.startswith("|") or line.endswith(" |")


def test_every_row_of_a_markdown_table_is_as_wide_as_its_head(made: FitReport) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", re.sub(r"\\.", "", markdown_page(story(hostile(made)))), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def cells(blocks: tuple[Block, ...]) -> list[str]:
    found: list[str] = []
    for block in blocks:
        match block:
            case Table(rows=rows):
                found += [cell for row in rows for cell in row]
            case Figures(figures=figures):
                found += [text for f in figures for text in (f.label, f.value, f.detail)]
            case Text(text=text) | Heading(text=text):
                found.append(text)
            case Listing(items=items):
                found += items
            case _:
                pass
    return found


def test_html_and_markdown_say_the_same(made: FitReport) -> None:
    page = story(made)
    texts, text = set(Reader(html_page(page)).texts), markdown_page(page)
    wanted = [cell for cell in cells(page.blocks) if cell]
    assert len(wanted) > 200
    assert not [cell for cell in wanted if cell not in texts]
    assert not [cell for cell in wanted if escape(cell) not in text]


def test_the_first_screen_says_what_the_figures_say(made: FitReport) -> None:
    first, second, third = headline(made)
    before = made.as_before
    assert before is not None
    assert f"{made.quality.metrics.rows:,} payments" in first  # type: ignore[union-attr]
    assert f"{before.stopped.value:.0%}".replace("%", " %") in second
    assert "nobody knows their labels" in second
    assert "if the margins and costs assumed below are yours" in third


def test_without_a_gain_none_is_claimed(made: FitReport) -> None:
    assert made.economic is not None
    none = msgspec.structs.replace(made.economic.gain_minor, low=-1.0)
    unsure = msgspec.structs.replace(made, economic=msgspec.structs.replace(made.economic, gain_minor=none))
    assert "not clearly a gain" in headline(unsure)[2]


def test_a_clear_loss_is_called_one(made: FitReport) -> None:
    assert made.economic is not None
    loss = msgspec.structs.replace(made.economic.gain_minor, value=-50_000.0, low=-60_000.0, high=-40_000.0)
    lost = headline(msgspec.structs.replace(made, economic=msgspec.structs.replace(made.economic, gain_minor=loss)))[2]
    assert "earned 500.00 EUR less than approving all of them" in lost


@pytest.mark.parametrize("few", [("by_decile",), ("by_age",), ("by_decile", "by_age")])
def test_levels_of_too_little_fraud_are_not_drawn(made: FitReport, few: tuple[str, ...]) -> None:
    assert made.quality is not None
    little = {
        name: tuple(msgspec.structs.replace(level, expected=0.5) for level in getattr(made.quality, name))
        for name in few
    }
    scarce = story(msgspec.structs.replace(made, quality=msgspec.structs.replace(made.quality, **little)))
    wanted = ["by_decile" not in few, "by_age" not in few]
    for page in (html_page(scarce), markdown_page(scarce)):
        assert [title in page for title in ("By risk: tenths", "By age when")] == wanted


def test_what_was_spent_has_a_section_where_there_is_a_model(made: FitReport) -> None:
    data = dataset()
    model = evaluate(data, SMALL, lambda done, wanted: None).folds[-1].model
    page = markdown_page(story(msgspec.structs.replace(made, spent=ledger(data, model))))
    assert "What decisions have spent" in page
    assert re.search(r"visa .*VAMP, excessive merchant .*1,500.*150\.0.*below", page)
    assert "What decisions have spent" not in markdown_page(story(made))


def test_simulated_data_are_called_so_first(made: FitReport) -> None:
    page = story(msgspec.structs.replace(made, simulated=True))
    assert isinstance(page.blocks[0], Text)
    assert "simulated" in page.blocks[0].text


def test_too_few_frauds_say_how_many_are_needed() -> None:
    page = markdown_page(story(report(dataset(frauds=0.003), "shop", SMALL)))
    assert "a model needs 40 at least" in page
    assert "Fraud over time" in page
    assert "Approval, chargebacks" not in page


def test_immature_weeks_are_marked(made: FitReport) -> None:
    data = dataset()
    cut = int(data.t_ms[-1])
    young = replace(data, cut_ms=cut, changes=data.changes[data.changes[:, 3] <= cut])
    assert "(immature)" in markdown_page(story(report(young, "shop", SMALL)))
    assert "(immature)" not in markdown_page(story(msgspec.structs.replace(made, census=old(made))))


def old(made: FitReport) -> Any:
    buckets = tuple(msgspec.structs.replace(b, reported=1.0) for b in made.census.buckets)
    return msgspec.structs.replace(made.census, buckets=buckets)


# --- plots -----------------------------------------------------------------------------------------------------


def plot(**changes: Any) -> str:
    xs = tuple(float(x) for x in range(10))
    usual: dict[str, Any] = {
        "title": "t", "x_label": "x", "y_label": "y", "series": (Series(name="s", x=xs, y=xs),),
    }  # fmt: skip
    return html(Page("p", "q", (Chart(**{**usual, **changes}),)))


def coordinates(page: str) -> list[float]:
    points = " ".join(re.findall(r'points="([^"]*)"', page)).replace(",", " ").split()
    return [float(p) for p in points + re.findall(r' (?:x|y|cx|cy|x1|x2|y1|y2)="([^"]*)"', page)]


@pytest.mark.parametrize(
    "ys",
    [(0.0,) * 10, (float("nan"),) * 10, (1e-9,) * 10, tuple(np.linspace(-1e9, 1e12, 10)), (float("nan"), *[3.0] * 9)],
    ids=["zero", "unknown", "tiny", "huge", "gap"],
)
def test_a_plot_stays_in_its_frame(ys: tuple[float, ...]) -> None:
    page = plot(series=(Series(name="s", x=tuple(float(x) for x in range(10)), y=ys, low=ys, high=ys),))
    assert all(-1.0 <= value <= 481.0 for value in coordinates(page))
    assert "nan" not in page[page.index("<svg") :]


def test_a_plot_of_one_point() -> None:
    assert "<svg" in plot(series=(Series(name="s", x=(5.0,), y=(1.0,), style="points"),), x_format="date")


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0.0, 0.0123), (-5.0, 1e6), (0.97, 1.0)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7
        assert low <= found[0] <= found[-1] <= high


@pytest.mark.parametrize(("format", "rows"), [("date", 60), ("percent", 12)])
def test_in_markdown_every_period_is_shown_and_a_curve_is_thinned(format: Any, rows: int) -> None:
    xs = tuple(n * 7 * 86_400_000.0 for n in range(60))
    one = Chart(title="a", x_label="x", y_label="y", series=(Series(name="s", x=xs, y=xs),), x_format=format)
    assert len(re.findall(r"^\| (?!x|---)", markdown(Page("p", "q", (one,))), re.MULTILINE)) == rows


def test_a_pair_becomes_two_tables_in_markdown() -> None:
    one = Chart(title="a", x_label="x", y_label="y", series=(Series(name="s", x=(1.0,), y=(2.0,)),))
    assert markdown(Page("p", "q", (Pair(one, one),))).count("| x | s |") == 2
