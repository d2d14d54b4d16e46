"""Batch work over many merchants: one function, one call for each (architecture §2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from avalist.domain.errors import AvalistError

R = TypeVar("R")


class Batch(Protocol):
    """Calls a function for merchants, in other processes, here or elsewhere.

    Contract: `fn` stands at the top level of a module, or is a ``partial`` of such a function: it is sent by name, its
    arguments and results by value. It is called once for each merchant, at any time and place. Results come in the
    order of the merchants. In place of a result stands an error of ours: the one that it raised, or ``Unavailable``
    where its worker died; the other merchants are worked on all the same. Any other error is a defect, and is raised.
    """

    def map(self, fn: Callable[[str], R], merchants: Sequence[str]) -> Iterator[R | AvalistError]:
        """Yield what `fn` returns for each merchant."""
        ...
