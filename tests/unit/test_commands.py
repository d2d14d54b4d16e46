"""Commands are imported when they are wanted."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from avalist.cli import app
from avalist.cli.commands import COMMANDS


def test_help_names_every_command_but_those_of_up() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    shown = {name for name in COMMANDS if f"│ {name} " in said}
    assert set(COMMANDS) - shown == {"follow", "learn"}


def test_a_misspelt_command_is_told_what_it_may_be() -> None:
    ran = CliRunner().invoke(app, ["polcy"])
    assert ran.exit_code == 2
    assert "'policy'" in ran.output


def test_a_command_does_not_import_the_others() -> None:
    program = "import sys; from avalist.cli import app; print({'numba', 'lightgbm', 'polars'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"
