"""A server that speaks S3 and checks signatures: Versity S3 Gateway (Apache-2.0) over a folder."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live import free_port
from tests.services.server import Server, program

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
BUCKET = "avalist"


def start(folder: Path) -> Server:
    """Start a server with one bucket in `folder`. Raises ``Unobtainable``."""
    data, meta, address = folder / "data", folder / "meta", f"127.0.0.1:{free_port()}"
    command = [str(program("versitygw")), "--port", address, "--quiet", "posix", "--sidecar", str(meta), str(data)]
    (data / BUCKET).mkdir(parents=True)
    meta.mkdir()
    root = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    return Server(command, address, folder, **root)


def url_of(server: Server, prefix: str) -> str:
    """Return the URL of blobs in the server's bucket; the keys are set in this process."""
    os.environ.update(KEYS)
    return f"s3://{BUCKET}/{prefix}?endpoint=http://{server.address}"
