"""Calls to addresses that others chose: resolved once, checked, and connected to just that."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from avalist.domain.errors import Unavailable

_TIMEOUT_S: Final = 10.0
_MOST_READ: Final = 65_536
_PORTS: Final = {"https": 443, "http": 80}
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is given out of the public internet, of IPv6."""


class Calls:
    """Posts to webhooks. Redirects are not followed; proxies of the environment are not used.

    Unless `private`, a host any of whose addresses is not public is not called: loopback, private, link-local and
    reserved ones. The connection goes to the very address that was checked, so that a name that is resolved anew
    leads nowhere else. Certificates are checked against the name, by `context` or the system's authorities.

    From the connection to the end of the answer, of which 64 KiB are read, a call takes `timeout_s` at most, however
    slowly a receiver drips.

    Raises
    ------
    Unavailable
        If nothing takes the call, or the address may not be called.
    """

    def __init__(
        self, *, private: bool = False, context: ssl.SSLContext | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._private = private
        self._timeout_s = timeout_s
        self._context = context or ssl.create_default_context()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post and return the status."""
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
            address = self._resolved(host, port)
            context = self._context if parts.scheme == "https" else None
            connection = _Pinned(host, port, address, context, self._timeout_s)
            with connection.ended_in_time():
                path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
                connection.request("POST", path, body, dict(headers))
                answer = connection.getresponse()
                answer.read(_MOST_READ)
                return answer.status
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise Unavailable(f"no answer: {error or type(error).__name__}") from error

    def _resolved(self, host: str, port: int) -> str:
        """Return the address to call; all of a host's addresses have to be public."""
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        hidden = [address for address in found if not is_public(address)]
        if hidden and not self._private:
            raise Unavailable(f"{host} leads to {hidden[0]}, which is not public: AVALIST_WEBHOOK_PRIVATE allows it")
        return found[0]


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet; of one that wraps another, that counts.

    >>> [is_public(a) for a in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1")]
    [True, False, False, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1] or _nat64(ip)
        if wrapped is None and ip not in _UNICAST:  # what else there is leads to machines or networks nearby
            return False
        ip = wrapped or ip
    return ip.is_global and not ip.is_multicast


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    inside = ip in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if inside else None


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, in the name of a host."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address, self._context, self._timeout_s = address, context, timeout_s
        self._late = False
        if context is not None:
            self.default_port = _PORTS["https"]

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self._timeout_s)
        if self._context is not None:
            self.sock = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )  # so that a handshake is cut off too
            self.sock.do_handshake()

    @contextmanager
    def ended_in_time(self) -> Iterator[None]:
        """Close the connection at the end, and cut it off when its time is over. Raises ``TimeoutError``."""
        clock = threading.Timer(self._timeout_s, self._cut)
        clock.daemon = True
        clock.start()
        try:
            yield
        except TimeoutError:  # one wait alone took all the time
            self._late = True
        except (OSError, http.client.HTTPException, ValueError):
            if not self._late:
                raise
        finally:
            clock.cancel()
            self.close()
        if self._late:
            raise TimeoutError(f"it took longer than {self._timeout_s:g} s")

    def _cut(self) -> None:
        self._late = True
        with suppress(OSError, AttributeError):  # there is none yet, or no more
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # of TLS too: its own would race with the reader
