"""What a file does not say is asked at a terminal, a real one: a pseudo-terminal stands in for the standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avalist.cli.bring_in import understand
from avalist.domain.errors import BadInput
from avalist.history.mapping import Mapping
from tests.files import write_csv

ROWS = [(f"o{n}", n // 10, n % 50 + 0.99, n % 9 == 0, n % 7 == 0) for n in range(400)]
HEAD = ("id", "step", "amount", "is_fraud", "[red]chargeback")
Types = Callable[[str], int]
"""What is typed at the terminal that the process reads from."""


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Iterator[Types]:
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal) as stdin, os.fdopen(keyboard, "w", buffering=1) as keys:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keys.write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "f.csv", HEAD, ROWS)


def mapped(file: Path, **answers: str) -> Mapping:
    mapping = understand(file, answers).mapping
    assert mapping is not None
    return mapping


def test_enter_takes_what_is_proposed(file: Path, types: Types) -> None:
    types("\nis_fraud\n")
    mapping = mapped(file)
    assert (mapping.formats, mapping.outcomes.fraud) == ({"step": "d since 2020-01-01"}, "is_fraud")


def test_what_is_no_answer_is_asked_again(file: Path, types: Types, capsys: pytest.CaptureFixture[str]) -> None:
    types("years\nh\n\n[red]chargeback\n")  # no unit; hours; nothing, where an answer is needed
    assert mapped(file).outcomes.fraud == "[red]chargeback"
    said = capsys.readouterr().out
    assert said.count("what does it count?") == 2
    assert said.count("which one is it?") == 2


def test_an_answer_may_bring_the_next_question(tmp_path: Path, types: Types) -> None:
    rows = [(n, f"2026-01-{n % 28 + 1:02d}", n % 3, n + 0.5, n + 0.25) for n in range(90)]
    file = write_csv(tmp_path / "f.csv", ("id", "date", "kind", "x", "y"), rows)
    types("y\nkind\n2\n")
    mapping = mapped(file)
    assert (mapping.amount, mapping.outcomes.fraud, mapping.yes["fraud"]) == ("y", "kind", ("2",))


def test_what_nobody_can_answer_is_not_asked(tmp_path: Path, types: Types) -> None:
    file = write_csv(tmp_path / "f.csv", ("amount",), [(f"{n}.5",) for n in range(90)])
    with pytest.raises(BadInput, match="no column can be a time"):
        understand(file, {})
