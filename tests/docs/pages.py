"""The documentation as data: pages, headings, links, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sdk/*/*.md")])
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced code block, and the paragraph after it."""

    page: str
    line: int
    language: str
    text: str
    after: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(name: str) -> str:
    """Return a page's text by its path from the root."""
    return (ROOT / name).read_text()


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", text)


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks of all pages in these languages."""
    return [block for page in PAGES for block in _blocks(page) if block.language in languages]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _FENCE.finditer(text):
        indent = match.group(1)
        body = re.sub(f"^{indent}", "", match.group(3), flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 1
        after = text[match.end() :].lstrip().partition("\n\n")[0]
        yield Block(str(page.relative_to(ROOT)), line, match.group(2), body, after)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page.read_text()))


def headings(text: str) -> list[str]:
    """Return the headings of a page, without their marks."""
    return [match.group(1).strip() for match in re.finditer(r"^#+ (.+)$", prose(text), re.MULTILINE)]


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings make, as GitHub names them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings(text))
    return {heading.replace(" ", "-") for heading in plain}


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of its level or higher."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"no heading {heading!r}"
    level = len(found.group(1))
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table rows in `text`, headers and rules left out."""
    lines = [line.strip() for line in text.splitlines()]
    table = [line for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in table]
    rules = {i for i, row in enumerate(cells) if all(set(cell) <= set("-: ") and cell for cell in row)}
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def code(text: str) -> list[str]:
    """Return the inline code of a text."""
    return re.findall(r"`([^`\n]+)`", text)
