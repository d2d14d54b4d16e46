"""Fetches packages by name and version through the user's own package tools: npm and pip, as they are set up here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from avalist.domain.errors import Unavailable
from avalist.enrich.packages import Source

_TIMEOUT_S = 600
_SHOWN = 300
_SUFFIX = {"npm": ".tgz", "pypi": ".whl"}


def fetch(source: Source, version: str | None) -> tuple[str, bytes]:
    """Download a package and return its version and its archive; no version is the newest. The tool checks its sum.

    Raises ``Unavailable`` if the tool is not there, or fails.
    """
    with TemporaryDirectory(prefix="avalist-intel-") as folder:
        done = _run(_command(source, version, folder), folder)
        found = archive_in(Path(folder), source)
        if done.returncode or found is None:
            said = (done.stderr or done.stdout).strip()[-_SHOWN:]
            raise Unavailable(f"{_tool(source)} could not fetch {source.name}: {said or 'it says nothing'}")
        return version_in(found, source), found.read_bytes()


def archive_in(folder: Path, source: Source) -> Path | None:
    """Return the archive of a package in a folder, as the tools name it; the last by name if there are several."""
    stem = _stem(source)
    found = sorted(p for p in folder.glob(f"{stem}-*{_SUFFIX[source.registry]}") if p.name[len(stem) + 1].isdigit())
    return found[-1] if found else None


def version_in(archive: Path, source: Source) -> str:
    """Return the version that an archive's name tells.

    >>> from avalist.enrich.packages import SOURCES
    >>> version_in(Path("ip-location-db-asn-2.3.1.tgz"), SOURCES[1])
    '2.3.1'
    """
    rest = archive.name[len(_stem(source)) + 1 : -len(_SUFFIX[source.registry])]
    return rest if source.registry == "npm" else rest.partition("-")[0]


def _stem(source: Source) -> str:
    if source.registry == "npm":
        return source.name.removeprefix("@").replace("/", "-")
    return source.name.replace("-", "_")


def _tool(source: Source) -> str:
    return "npm" if source.registry == "npm" else "pip"


def _command(source: Source, version: str | None, folder: str) -> list[str]:
    if source.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(f"npm is not here, and {source.name} comes by it: install npm, or give --from a folder")
        return [npm, "pack", f"{source.name}@{version or 'latest'}", "--silent", "--ignore-scripts"]
    wanted = f"{source.name}=={version}" if version else source.name
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", folder]
    return [*_pip(), "download", *options, wanted]


def _pip() -> list[str]:
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        raise Unavailable("pip is not here: install it, give --from a folder, or use --offline")
    return [pip]


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took more than {_TIMEOUT_S} s: try again later") from None
