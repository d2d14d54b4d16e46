"""Client of Avalist: decisions on payments with a deadline, safe retries and a local fallback.

>>> client = Avalist(key="avk_live_...", fallback=Fallback(approve_up_to_minor={"EUR": 2_000}))
>>> client
Avalist(url='http://127.0.0.1:8321')
"""

from avalist_client import types
from avalist_client.asynchronous import AsyncAvalist
from avalist_client.errors import (
    AvalistError,
    BadInput,
    CardNumberRefused,
    ClockWentBack,
    Conflict,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Problem,
    RateLimited,
    TryLater,
    Unavailable,
    UnknownCurrency,
    UnknownVersion,
    Unreachable,
)
from avalist_client.fallback import Decision, Fallback
from avalist_client.sync import Avalist
from avalist_client.version import CONTRACT, VERSION

__all__ = [
    "CONTRACT",
    "VERSION",
    "AsyncAvalist",
    "Avalist",
    "AvalistError",
    "BadInput",
    "CardNumberRefused",
    "ClockWentBack",
    "Conflict",
    "Decision",
    "Fallback",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Problem",
    "RateLimited",
    "TryLater",
    "Unavailable",
    "UnknownCurrency",
    "UnknownVersion",
    "Unreachable",
    "types",
]
