"""Avalist: real-time payment-fraud prevention with a model of the merchant's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avalist.analysis import Analysis

__version__ = "0.1.0"

ENGINE = 2
"""Raised whenever the outputs of ``decide()`` may change for the same log; see CHANGELOG.md."""


def open(folder: str | Path | None = None) -> Analysis:
    """Open a data folder to read its features, as :mod:`avalist.analysis` says; a service may run meanwhile.

    Raises ``NotFound`` if there is no such folder.
    """
    from avalist.analysis import open as opened  # here: 'import avalist' stays light

    return opened(folder)
