"""Raw samples of a bench, kept so that its figures can be computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parent / "out"


def keep(name: str, raw: object) -> None:
    """Write what a bench measured to ``bench/out/NAME.json``."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(raw, indent=1))
