"""A receiver of webhooks that may hold what it is sent, as one that hangs does."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec


class Holding(http.server.ThreadingHTTPServer):
    """Keeps the messages that come; answers them while `open` is set, and lets them wait else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        self.open = threading.Event()
        self.open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks"

    def ids(self) -> list[str]:
        """Return the ids of all that came, each as often as it did."""
        return [message["id"] for message in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Holding

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(msgspec.json.decode(body))
        self.server.open.wait()
        with suppress(OSError):  # who sent it may be dead by now
            self.send_response(204)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def receiving() -> Iterator[Holding]:
    """Run a receiver."""
    receiver = Holding()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        receiver.shutdown()
        thread.join()
        receiver.server_close()
