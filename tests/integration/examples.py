"""Examples of the pages, made ready to run against a live service."""

from __future__ import annotations

import re

from tests.docs.pages import Block

_ADDRESS = "http://127.0.0.1:8321"
PATIENT_PYTHON = ", timeout_ms=120_000, service_deadline_ms=10_000"
PATIENT_TYPESCRIPT = ", timeoutMs: 120_000, serviceDeadlineMs: 10_000"


def told(block: Block, url: str, patience: str) -> str:
    """Return an example for a service elsewhere, with patience for a busy machine."""
    text = re.sub(r", timeout_ms=1_000|, timeoutMs: 500", "", block.text)
    return text.replace(f'"{_ADDRESS}"', f'"{url}"{patience}')


def check(block: Block, printed: str) -> None:
    """Compare with what the page says that the example prints."""
    said = re.match(r"It prints `([^`]+)`", block.after)
    assert printed.startswith(said[1] if said else ""), printed
