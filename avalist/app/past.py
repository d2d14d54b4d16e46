"""A period of a merchant's log: what each payment was decided by, what was done, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.domain.core import EventCore
from avalist.domain.events import from_ms as at
from avalist.domain.facts import Facts
from avalist.domain.schema import Schema
from avalist.models.trees import F64, I64
from avalist.policy.choose import Desk, Sold, sold_of
from avalist.policy.economics import Policy

UNDECIDED: Final = ""
"""In place of the action, where no decision was in force."""
Bools = npt.NDArray[np.bool_]


class Period(NamedTuple):
    """Payments that arrived in [`from_ms`, `to_ms`)."""

    from_ms: int = 0
    to_ms: int = 2**62

    def words(self) -> str:
        """Return the period in words.

        >>> Period(86_400_000).words()
        '1970-01-02 00:00 to now'
        """
        end = "now" if self.to_ms == 2**62 else f"{at(self.to_ms):%Y-%m-%d %H:%M}"
        return f"{at(self.from_ms):%Y-%m-%d %H:%M} to {end}"


ALWAYS: Final = Period()


class Seen(NamedTuple):
    """A payment at its first checkpoint: event, `seq`, the policy of the time with what was solved for it.

    `action` is the answer that was in force, ``UNDECIDED`` if none was, and `propensity` its own; `p_fraud` what was
    logged, NaN if nothing was.
    """

    core: EventCore
    seq: int
    desk: Desk
    action: str = UNDECIDED
    propensity: float = 1.0
    p_fraud: float = np.nan


@dataclass(frozen=True, eq=False)
class Past:
    """Payments of a period in order of arrival, and what became of each by `cut_ms`, the end of the log; arrays [n].

    `p` is the probability to decide by: the named model's, or what was logged. `issuer_declined` tells those that
    failed at the issuer. `charged_back` has 1 where a fraud chargeback stands, and is None where the log has none,
    but maybe other reports. `policy` and `model` stand at the end of the log; `replayed` says that features were
    computed anew.
    """

    schema: Schema
    payments: list[Seen]
    p: F64
    t_ms: I64
    amount_minor: F64
    captured: Bools
    fraud: Bools
    issuer_declined: Bools
    cut_ms: int
    policy: Policy
    model: str
    replayed: bool
    charged_back: F64 | None = None

    @cached_property
    def sold(self) -> list[Sold]:
        """Return what a policy asks of each payment besides its amount."""
        facts = [seen.core.facts or _NOTHING for seen in self.payments]
        return [sold_of(one) for one in facts]

    @cached_property
    def groups(self) -> dict[str, tuple[list[str], I64]]:
        """Return by what payments can be told apart: the names of the groups, and each payment's place among them."""
        found = {}
        for by, of in _GROUPS.items():
            names: dict[str, int] = {}
            place = [names.setdefault(of(seen.core.facts or _NOTHING), len(names)) for seen in self.payments]
            found[by] = list(names), np.array(place)
        return found


def age(age_s: float | None) -> str:
    """Return the band of an account's age.

    >>> age(3600), age(10**9), age(None)
    ('younger than a day', '30 days or older', 'unknown')
    """
    if age_s is None:
        return "unknown"
    return next((name for limit, name in _NEW_S if age_s < limit), "30 days or older")


_NEW_S: Final = ((86_400, "younger than a day"), (30 * 86_400, "younger than 30 days"))
_NOTHING: Final = Facts()
_GROUPS: Final[dict[str, Callable[[Facts], str]]] = {
    "product": lambda facts: facts.product or facts.item_kind or "unknown",
    "country": lambda facts: facts.issuer_country or facts.billing_country or "unknown",
    "age of the account": lambda facts: age(facts.account_age_s),
}
