"""Shapes: what a value looks like rather than what it says, so that a wave collides with itself."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket

from avalist.domain.events import is_address

_CLASSES = (
    ("bot", ("bot", "crawl", "spider", "headless", "curl/", "python-")),
    ("tablet", ("ipad", "tablet")),
    ("mobile", ("iphone", "android", "mobile")),
    ("desktop", ("windows", "macintosh", "x11", "linux", "cros")),
)


def email_domain(email: str) -> str:
    """Return the part after the last @, lower-case; empty if there is none.

    >>> email_domain("Ann@Example.COM")
    'example.com'
    """
    return email.rpartition("@")[2].lower() if "@" in email else ""


def email_shape(email: str) -> str:
    """Return the local part with letter runs as ``a``, digit runs as ``0`` and their lengths banded, and the domain.

    >>> email_shape("john.smith77@gmail.com"), email_shape("x9k2q@gmail.com")
    ('a4.a4 02@gmail.com', 'a1 01 a1 01 a1@gmail.com')
    """
    local, _, domain = email.lower().rpartition("@")
    return f"{_local_shape(local)}@{domain}" if domain else ""


@functools.lru_cache(maxsize=65_536)
def email_parts(email: str) -> tuple[str, str, str]:
    """Return an address's domain and shape, both empty if there is none, and the address as its provider sees it."""
    return email_domain(email), email_shape(email), normal_email(email)


def _local_shape(local: str) -> str:
    parts = re.findall(r"[a-z]+|[0-9]+|[^a-z0-9]+", local)[:12]
    out = ""
    for part in parts:
        token = f"a{_band(len(part))}" if "a" <= part[0] <= "z" else f"0{_band(len(part))}" if part[0].isdigit() else ""
        out += (" " if token and out and out[-1].isdigit() else "") + (token or part[0])
    return out


def _band(length: int) -> int:
    return length if length < 4 else 4 if length < 8 else 8


def normal_email(email: str) -> str:
    """Return the address as its provider sees it: lower-case, without dots and tags where Gmail ignores them.

    >>> normal_email("J.Doe+shop@Gmail.com")
    'jdoe@gmail.com'
    """
    local, _, domain = email.strip().lower().rpartition("@")
    local = local.partition("+")[0]
    if domain in ("gmail.com", "googlemail.com"):
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"


@functools.lru_cache(maxsize=8192)
def device_class(user_agent: str) -> str:
    """Return ``bot``, ``tablet``, ``mobile``, ``desktop`` or ``other``.

    >>> device_class("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)")
    'mobile'
    """
    text = user_agent.lower()
    for name, signs in _CLASSES:
        if any(sign in text for sign in signs):
            return name
    return "other"


@functools.lru_cache(maxsize=65_536)
def network_of(ip: str) -> str:
    """Return the /24 (IPv4) or /48 (IPv6) of an address; empty if it is none.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1"), network_of("nonsense")
    ('192.0.2.0/24', '2001:db8::/48', '')
    """
    head, _, _ = ip.rpartition(".")
    if head and is_address(socket.AF_INET, ip):
        return f"{head}.0/24"
    if not is_address(socket.AF_INET6, ip):
        return ""
    return str(ipaddress.ip_network((ip, 48), strict=False))
