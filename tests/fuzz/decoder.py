"""The atheris target: ``make fuzz-decoder MINUTES=10`` (Linux; needs ``pip install -e .[fuzz]``).

What it finds is written to ``tests/fuzz/out``; ``python -m tests.fuzz.decoder FILE`` runs one input again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports():  # what numba compiles cannot be instrumented, so that comes after
    import avalist.domain.duplicates
    import avalist.enrich.intake  # noqa: F401

from tests.fuzz.decoders import check, corpus

OUT = Path(__file__).parent / "out"


def main() -> None:
    """Fuzz until stopped; the arguments are libFuzzer's."""
    seeds = OUT / "corpus"
    seeds.mkdir(parents=True, exist_ok=True)
    for place, data in enumerate(corpus()):
        (seeds / f"seed-{place}").write_bytes(data)
    files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    where = [] if files else [str(seeds), f"-artifact_prefix={OUT}/"]
    atheris.Setup([*sys.argv, *where], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
