"""A server that speaks MongoDB's protocol: FerretDB 1 (Apache-2.0) over SQLite. It is not mongod.

It has neither transactions nor TTL nor validators. Two of its faults are mended (``mended.py``).
``TEST_MONGODB_URL`` names a real one for the tests to use instead.
"""

from __future__ import annotations

from pathlib import Path

from tests.live import free_port
from tests.services.server import Server, program


def start(folder: Path) -> Server:
    """Start a server whose data lies in `folder`. Raises ``Unobtainable``."""
    address = f"127.0.0.1:{free_port()}"
    return Server([str(program("ferretdb")), address, str(folder)], address, folder)
