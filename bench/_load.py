"""A bounded HTTP load from one thread over keep-alive connections on loopback: closed loop, or open at a given rate.

In the open loop a latency counts from the moment the request was *meant* to be sent, so a server that stalls cannot
hide it by slowing the sender down.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_GIVE_UP_S = 20.0
_TRIES = 3


class Target(NamedTuple):
    """Where requests go: loopback only."""

    port: int
    path: str
    key: str = ""

    def request(self, body: bytes) -> bytes:
        """Return the bytes of one POST."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Sample(NamedTuple):
    """What a load saw: latencies in ms, how long it ran, how many answers were not 200 and how many degraded."""

    latency_ms: npt.NDArray[np.float64]
    seconds: float
    bad: int
    degraded: int

    @property
    def per_s(self) -> float:
        """Return the answers per second."""
        return len(self.latency_ms) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """Return a quantile of the latencies."""
        return float(np.quantile(self.latency_ms, q))


class _Connection:
    """A server closes a connection that was idle for too long, perhaps just when it is used again: then the request is
    sent once more on another, and its latency counts from the first time.
    """

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port, self._selector = port, selector
        self.meant_s = 0.0
        self._request = self._buffer = b""
        self._tries = 0
        self._open()

    def send(self, request: bytes, meant_s: float) -> None:
        self.meant_s = meant_s
        self._request, self._tries = request, 0
        self._try()

    def receive(self) -> tuple[bool, bytes]:
        """Return whether the answer is whole, and it."""
        try:
            received = self._socket.recv(65_536)
        except ConnectionError:
            received = b""
        if not received:
            self._again()
            return False, b""
        self._buffer += received
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return False, b""
        at = self._buffer.find(b"content-length: ", 0, head_end) + 16
        length = int(self._buffer[at : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < head_end + 4 + length:
            return False, b""
        answer, self._buffer, self._request = self._buffer, b"", b""
        return True, answer

    def close(self) -> None:
        self._selector.unregister(self._socket)
        self._socket.close()

    def _open(self) -> None:
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=_GIVE_UP_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self)

    def _try(self) -> None:
        try:
            self._socket.sendall(self._request)
        except ConnectionError:
            self._again()

    def _again(self) -> None:
        if self._buffer or self._tries == _TRIES:
            raise ConnectionError("the server closed a connection under load")
        self.close()
        self._open()
        if self._request:
            self._tries += 1
            self._try()


class Load:
    """Connections to one target."""

    def __init__(self, target: Target, connections: int) -> None:
        self._target = target
        self._selector = selectors.EpollSelector()
        self._all = [_Connection(target.port, self._selector) for _ in range(connections)]
        self._latencies: list[float] = []
        self._bad = self._degraded = 0

    def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            connection.close()
        self._selector.close()

    def closed(self, bodies: Iterator[bytes], seconds: float) -> Sample:
        """Keep every connection busy for `seconds`, or while there are bodies."""
        clock, request = time.perf_counter, self._target.request
        start = clock()
        busy = 0
        for connection in self._all:
            connection.send(request(next(bodies)), clock())
            busy += 1
        while busy:
            for connection in self._answered():
                busy -= 1
                body = next(bodies, None) if clock() - start < seconds else None
                if body is not None:
                    connection.send(request(body), clock())
                    busy += 1
        return self._sample(clock() - start)

    def open(self, bodies: Iterator[bytes], per_s: float, seconds: float, seed: int = 1) -> Sample:
        """Send at random moments (a Poisson process) for `seconds`; late connections make requests wait their turn."""
        gaps = np.random.default_rng(seed).exponential(1.0 / per_s, int(per_s * seconds))
        clock, request = time.perf_counter, self._target.request
        start = clock()
        due: list[float] = (start + np.cumsum(gaps)).tolist()
        free, sent, answered = deque(self._all), 0, 0
        while answered < len(due):
            while sent < len(due) and free and due[sent] <= clock():
                free.popleft().send(request(next(bodies)), due[sent])
                sent += 1
            wait = max(due[sent] - clock(), 0.0) if sent < len(due) and free else _GIVE_UP_S
            for connection in self._answered(wait if wait > 0.0005 else 0.0):
                free.append(connection)
                answered += 1
        return self._sample(clock() - start)

    def _answered(self, timeout_s: float = _GIVE_UP_S) -> Iterator[_Connection]:
        ready = self._selector.select(timeout_s)
        if not ready and timeout_s == _GIVE_UP_S:
            raise TimeoutError(f"no answer in {_GIVE_UP_S} s")
        for key, _ in ready:
            connection: _Connection = key.data
            whole, answer = connection.receive()
            if whole:
                self._latencies.append(time.perf_counter() - connection.meant_s)
                self._bad += not answer.startswith(b"HTTP/1.1 200")
                self._degraded += b'"degraded":true' in answer
                yield connection

    def _sample(self, seconds: float) -> Sample:
        sample = Sample(np.array(self._latencies) * 1e3, seconds, self._bad, self._degraded)
        self._latencies, self._bad, self._degraded = [], 0, 0
        return sample
