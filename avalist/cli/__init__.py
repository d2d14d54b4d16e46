"""The command line: ``avalist --help`` teaches it."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from avalist.cli.commands import Lazy
from avalist.domain.errors import AvalistError, BadInput

app = typer.Typer(name="avalist", cls=Lazy, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def avalist() -> None:
    """Real-time payment-fraud prevention with a model of the merchant's own. Start with 'avalist demo'."""


def main() -> None:
    """Run the command line; our errors print one clear line and exit with 1."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # training on a busy machine: threads that spin slow it down
    try:
        app()
    except AvalistError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        if isinstance(error, BadInput):
            for name, value in (("field", error.field), ("expected", error.expected), ("got", error.got)):
                if value:
                    console.print(f"  {name}: {value}", highlight=False, markup=False)
        sys.exit(1)
