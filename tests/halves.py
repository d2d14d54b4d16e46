"""Every test, in two halves side by side: contracts and integration, which wait for servers, and all the others.

``python -m tests.halves``: the first half is seen as it runs, the second one when both are over.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Final

SERVED: Final = ("tests/contract", "tests/integration")
_REST: Final = (
    "tests",
    "avalist",
    "sdk/python",
    "sdk/generate.py",
    *(f"--ignore={folder}" for folder in SERVED),
    "-p",
    "no:cacheprovider",
)
_PYTEST: Final = (sys.executable, "-m", "pytest")


def main() -> int:
    """Run both; return 1 where one of them fails."""
    with tempfile.TemporaryFile() as said:
        rest = subprocess.Popen((*_PYTEST, *_REST), stdout=said, stderr=subprocess.STDOUT)
        served = subprocess.run((*_PYTEST, *SERVED), check=False).returncode
        codes = served, rest.wait()
        said.seek(0)
        print(f"\n--- the other half\n{said.read().decode()}", flush=True)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
