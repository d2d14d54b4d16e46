"""Calls go to the very address that was checked, and to no hidden one."""

from __future__ import annotations

import gc
import http.server
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from avalist.adapters.calls import Calls, is_public
from avalist.domain.errors import Unavailable
from tests.live import free_port

HIDDEN = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "224.0.0.1",
    "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "fc00::1", "fe80::1%eth0",
    "ff02::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::10.0.0.1", "fec0::1",
]  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, self.headers["host"], body))  # type: ignore[attr-defined]
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.got = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a refused handshake leaves the accepted socket to be found
        gc.collect()


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name lead to these addresses; return the names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host in addresses:  # the connection to what was resolved
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("avalist.adapters.calls.socket.getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", HIDDEN)
def test_no_hidden_address_is_called(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert not is_public(address)
    resolve(monkeypatch, "8.8.8.8", address)
    with pytest.raises(Unavailable, match="not public"):
        Calls().post("https://shop.example/", {}, b"")


@pytest.mark.sockets
def test_a_name_is_resolved_once_and_called_by_its_address(
    monkeypatch: pytest.MonkeyPatch, server: http.server.HTTPServer
) -> None:
    asked = resolve(monkeypatch, "127.0.0.1")
    status = Calls(private=True).post(f"http://shop.example:{server.server_port}/a?b=c", {"x": "y"}, b"{}")
    assert (status, asked) == (200, ["shop.example"])
    assert server.got == [("/a?b=c", f"shop.example:{server.server_port}", b"{}")]  # type: ignore[attr-defined]


@pytest.mark.sockets
def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch, server: http.server.HTTPServer) -> None:
    monkeypatch.setattr(Handler, "status", 302)
    assert Calls(private=True).post(f"http://127.0.0.1:{server.server_port}/", {}, b"") == 302


@pytest.mark.sockets
def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no answer"):
        Calls(private=True).post(f"http://127.0.0.1:{free_port()}/", {}, b"")


@pytest.mark.sockets
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_is_cut_off(head: bytes, scheme: str) -> None:
    """Over TLS it drips through the handshake."""

    def drip() -> None:
        taken, _ = listener.accept()
        with taken, suppress(OSError):
            taken.sendall(head if scheme == "http" else b"\x16\x03\x03\x40\x00")  # a record that is yet to come
            while not over.wait(0.03):
                taken.sendall(b"x")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(Unavailable, match=r"longer than 0.2 s"):
            Calls(private=True, timeout_s=0.2).post(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", {}, b"{}")
        over.set()
        thread.join()


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, names = datetime.now(UTC), x509.SubjectAlternativeName([x509.DNSName(name)])
    draft = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    draft = draft.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    made = draft.add_extension(names, critical=False).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "both.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.sockets
@pytest.mark.parametrize(("name", "taken"), [("shop.example", True), ("other.example", False)])
def test_the_certificate_is_checked_against_the_name(
    monkeypatch: pytest.MonkeyPatch, server: http.server.HTTPServer, tmp_path: Path, name: str, taken: bool
) -> None:
    pem = certificate(tmp_path, "shop.example")
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(pem)
    server.socket = there.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr("http.server.HTTPServer.handle_error", lambda *_: None)
    resolve(monkeypatch, "127.0.0.1")
    calls, url = (
        Calls(private=True, context=ssl.create_default_context(cafile=str(pem))),
        f"https://{name}:{server.server_port}/",
    )
    if taken:
        assert calls.post(url, {}, b"") == 200
    else:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            calls.post(url, {}, b"")
