"""Pages hold together: links, reach, field tables, decisions on the design, the changelog, make targets."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import avalist
from tests.docs.fields import tables, updated
from tests.docs.pages import PAGES, ROOT, anchors, code, headings, links, read, rows, section

name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
WORDS_OF_ONE_MACHINE = (*(f"/{folder}/" for folder in ("work", "root", "home", "tmp")), "../shared")


def internal(page: Path) -> list[tuple[str, Path, str]]:
    targets = [link for link in links(page) if "://" not in link]
    split = [(link, *link.partition("#")[::2]) for link in targets]
    return [(link, (page.parent / file).resolve() if file else page, anchor) for link, file, anchor in split]


@name
def test_links_resolve(page: Path) -> None:
    for link, target, anchor in internal(page):
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the repository"
        assert not anchor or anchor in anchors(target.read_text()), f"{link}: no such heading"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [target for _, target, _ in internal(page)]
    assert {page for page in PAGES if page.name != "benchmarks.md"} <= reached


@name
def test_field_tables_are_fresh(page: Path) -> None:
    assert updated(page.read_text()) == page.read_text(), "stale: run .venv/bin/python -m tests.docs.fields"


@name
def test_every_field_has_a_meaning(page: Path) -> None:
    silent = [(kind, row[0]) for kind, fields in tables(page.read_text()).items() for row in fields if not row[-1]]
    assert not silent


@name
def test_no_path_of_one_machine(page: Path) -> None:
    assert not [word for word in WORDS_OF_ONE_MACHINE if word in page.read_text()]


@name
def test_files_of_the_code_exist(page: Path) -> None:
    paths = [c for c in code(page.read_text()) if re.fullmatch(r"(avalist|tests|bench|docs)/[\w./-]*", c)]
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_decisions_on_the_design_are_numbered_and_whole() -> None:
    pages = sorted((ROOT / "docs/adr").glob("0*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert headings(page.read_text())[1:] == ["Context", "Decision", "Consequences", "Alternatives"], page.name


def test_the_changelog_says_whether_decisions_changed() -> None:
    versions = [heading for heading in headings(read("CHANGELOG.md")) if heading[0].isdigit()]
    assert versions[0].split()[0] == avalist.__version__
    texts = {version: section(read("CHANGELOG.md"), version) for version in versions}
    assert not [version for version, text in texts.items() if "Decisions changed" not in text]
    assert f"engine {avalist.ENGINE}" in "".join(texts.values())


def test_make_targets_exist() -> None:
    # Inside 'make docs' the inner make must not take over the outer one's flags.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    listed = subprocess.run(["make", "help"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout
    named = {target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    steps = " ".join(re.findall(r"^step (.+)$", read(".ci/run"), re.MULTILINE)).split()
    ci = {word for word in steps if not word.startswith("-")}
    assert ci == {"setup", "check", "kernels", "servers", "test"}
    assert named | ci <= set(re.findall(r"^ *make (\w+)", listed, re.MULTILINE))


def test_the_rooms_are_those_that_are_checked() -> None:
    shown = {re.sub(r"\.py$", "", row[0].strip("`")).replace("/", ".") for row in rows(read("docs/concepts/rooms.md"))}
    assert shown == set(re.findall(r"avalist\.\w+", section_of_layers()))


def section_of_layers() -> str:
    text = read("pyproject.toml")
    return text[text.index("layers = [") :].partition("]")[0]
