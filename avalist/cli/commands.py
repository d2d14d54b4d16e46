"""The commands, each imported when it is wanted: most need numba or LightGBM, whose imports take a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS: Final = {
    "merchant": "merchants:app",
    "intel": "intel:app",
    "policy": "policy:app",
    "features": "features:app",
    "reviews": "reviews:app",
    "documents": "documents:app",
    "vault": "vault:app",
    "log": "log:app",
    "webhooks": "webhooks:app",
    "run": "run:run_app",
    "dead-letters": "run:dead_letters_app",
    "models": "take_away:app",
    "prior": "prior:app",
    "up": "serve:up",
    "follow": "serve:follow",
    "learn": "learn:learn",
    "status": "status:status",
    "fit": "fit:fit",
    "report": "fit:report",
    "backtest": "backtest:backtest_command",
    "import": "history:import_file",
    "generations": "generations:generations",
    "train": "models:train",
    "replay": "replay:replay",
    "waves": "waves:waves",
    "health": "health:health",
    "simulate": "history:simulate",
    "demo": "demo:demo",
}
"""Where each command is: a module beside this one, and a function or a Typer in it."""
_HIDDEN: Final = {"follow", "learn"}
"""Those that ``up`` starts."""


class Lazy(TyperGroup):
    """The group of all commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        read_alone: Any = _Commands()
        self.commands = read_alone

    def list_commands(self, ctx: object) -> list[str]:
        """Return the commands' names, without importing them."""
        return list(self.commands)


class _Commands(Mapping[str, Any]):
    """Commands by name."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = _imported(name, COMMANDS[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _imported(name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    found, alone = getattr(import_module(f"avalist.cli.{module}"), attribute), typer.Typer()
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name, hidden=name in _HIDDEN)(found)
    return get_group(alone).commands[name]
