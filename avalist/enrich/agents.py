"""What a user agent says of itself: the kind of program, its family, its system. A few words, not a database."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

# The first that fits counts: Edge says it is Chrome, and Chrome says it is Safari.
_KINDS: Final = (
    ("automation", "phantomjs selenium webdriver puppeteer playwright cypress"),
    ("bot", "slurp facebookexternalhit bingpreview mediapartners lighthouse"),
    (
        "library",
        "curl wget python requests urllib httpx aiohttp scrapy java axios node undici postmanruntime insomnia httpie "
        "libwww ruby faraday php guzzle guzzlehttp httpclient reqwest go",
    ),
    ("webview", "wv fban fbav instagram micromessenger tiktok bytelocale gsa"),
    ("app", "okhttp cfnetwork dalvik alamofire"),
    ("browser", "mozilla opera"),
)
_FAMILIES: Final = (
    ("edge", "edg edga edgios"),
    ("opera", "opr opera opx opt"),
    ("samsung", "samsungbrowser"),
    ("yandex", "yabrowser"),
    ("uc", "ucbrowser ubrowser"),
    ("vivaldi", "vivaldi"),
    ("duckduckgo", "duckduckgo ddg"),
    ("huawei", "huaweibrowser"),
    ("miui", "miuibrowser"),
    ("firefox", "firefox fxios"),
    ("chrome", "chrome crios chromium headlesschrome"),
    ("ie", "msie trident"),
    ("safari", "safari"),
)
_SYSTEMS: Final = (
    ("ios", "iphone ipad ipod ios"),
    ("harmonyos", "harmonyos openharmony"),
    ("android", "android dalvik okhttp"),
    ("windows", "windows"),
    ("chromeos", "cros"),
    ("macos", "macintosh mac macos darwin"),
    ("linux", "linux"),
)
_AXES: Final = (_KINDS, _FAMILIES, _SYSTEMS)
_WORD = re.compile("[a-z]+")


def _ranks() -> dict[str, list[tuple[int, int]]]:
    """Return what each word says: (axis, rank), the lower rank counts."""
    ranks: dict[str, list[tuple[int, int]]] = {}
    for axis, names in enumerate(_AXES):
        for rank, (_, words) in enumerate(names):
            for word in words.split():
                ranks.setdefault(word, []).append((axis, rank))
    return ranks


_RANKS: Final = _ranks()


class Agent(NamedTuple):
    """A user agent's kind, browser family and operating system; empty is unknown."""

    kind: str = ""
    browser: str = ""
    os: str = ""


@functools.lru_cache(maxsize=8192)
def agent_of(user_agent: str) -> Agent:
    """Return what a user agent says of itself.

    >>> agent_of("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0")
    Agent(kind='browser', browser='edge', os='windows')
    >>> agent_of("python-requests/2.32").kind, agent_of("Mozilla/5.0 (compatible; Googlebot/2.1)").kind
    ('library', 'bot')
    """
    text = user_agent.lower()
    best = [len(names) for names in _AXES]
    for word in _WORD.findall(text):
        for axis, rank in _RANKS.get(word, ()):
            if rank < best[axis]:
                best[axis] = rank
    said = [names[rank][0] if rank < len(names) else "" for names, rank in zip(_AXES, best, strict=True)]
    if "headless" in text:
        said[0] = "automation"
    elif said[0] == "library" and text.startswith("mozilla/"):  # a phone may be called Go
        said[0] = "browser"
    if best[0] > 0 and said[0] != "automation" and ("bot" in text or "crawl" in text or "spider" in text):
        said[0] = "bot"
    return Agent(said[0] or "other", said[1], said[2])
