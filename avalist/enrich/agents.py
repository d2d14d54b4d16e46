"""What a user agent says of itself: the kind of program, its family, its system. A few words, not a database."""

from __future__ import annotations

import functools
from typing import NamedTuple

_Words = tuple[tuple[str, tuple[str, ...]], ...]

# The first that fits counts: Edge says it is Chrome, and Chrome says it is Safari.
_KINDS: _Words = (
    ("automation", ("headless", "phantomjs", "selenium", "webdriver", "puppeteer", "playwright", "cypress")),
    ("bot", ("bot", "crawl", "spider", "slurp", "facebookexternalhit", "bingpreview", "mediapartners", "lighthouse")),
    (
        "library",
        (
            "curl/", "wget/", "python", "go-http-client", "java/", "axios", "node", "postman", "insomnia", "libwww",
            "httpie", "ruby", "php", "guzzle", "apache-httpclient", "scrapy", "aiohttp", "undici", "reqwest",
        ),
    ),
    ("webview", ("; wv)", "fban/", "fbav/", "instagram", "micromessenger", "tiktok", "musical_ly", "line/", "gsa/")),
    ("app", ("okhttp", "cfnetwork", "dalvik", "alamofire")),
    ("browser", ("mozilla/", "opera/")),
)  # fmt: skip
_FAMILIES: _Words = (
    ("edge", ("edg/", "edga/", "edgios/", "edge/")),
    ("opera", ("opr/", "opera", "opx/", "opt/")),
    ("samsung", ("samsungbrowser/",)),
    ("yandex", ("yabrowser/",)),
    ("uc", ("ucbrowser/", "ubrowser/")),
    ("vivaldi", ("vivaldi/",)),
    ("duckduckgo", ("duckduckgo/", "ddg/")),
    ("huawei", ("huaweibrowser/",)),
    ("miui", ("miuibrowser/",)),
    ("firefox", ("firefox/", "fxios/")),
    ("chrome", ("chrome/", "crios/", "chromium/")),
    ("ie", ("msie ", "trident/")),
    ("safari", ("safari/",)),
)
_SYSTEMS: _Words = (
    ("ios", ("iphone", "ipad", "ipod", "ios/")),
    ("harmonyos", ("harmonyos", "openharmony")),
    ("android", ("android", "dalvik", "okhttp")),
    ("windows", ("windows",)),
    ("chromeos", ("cros ",)),
    ("macos", ("macintosh", "mac os", "darwin")),
    ("linux", ("linux", "x11")),
)


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
    >>> agent_of("python-requests/2.32").kind
    'library'
    """
    text = user_agent.lower()
    return Agent(_first(_KINDS, text) or "other", _first(_FAMILIES, text), _first(_SYSTEMS, text)) if text else Agent()


def _first(words: _Words, text: str) -> str:
    for name, signs in words:
        for sign in signs:
            if sign in text:
                return name
    return ""
