"""The command line: ``avalist --help`` teaches it."""

from __future__ import annotations

import errno
import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from avalist.cli.commands import Lazy
from avalist.domain.errors import AvalistError, BadInput

app = typer.Typer(name="avalist", cls=Lazy, no_args_is_help=True, pretty_exceptions_enable=False)

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@app.callback()
def avalist() -> None:
    """Real-time payment-fraud prevention with a model of the merchant's own. Start with 'avalist demo'."""


def main() -> None:
    """Run the command line; our errors, and those of files, print one clear line and exit with 1."""
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
    except OSError as error:  # of a file or a disk; of anything else it is a defect, and shows where
        if error.filename is None and error.errno not in _DISK:
            raise
        what = f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(what))}", highlight=False)
        sys.exit(1)
