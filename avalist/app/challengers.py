"""What became of a merchant's challengers: the life of its models in figures, for a report."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from avalist.app.lineage import Step, What
from avalist.domain.core import By, Cause, Evidence, ModelActivated


class Challenger(msgspec.Struct, frozen=True, kw_only=True):
    """A step in the life of a merchant's models: what became of a `version`, and the evidence if there was any.

    `cause` made its training due; None where it was activated without the gate. `by` is who let it in or took its
    successor back, None where it was not let in.
    """

    at_ms: int
    version: str
    what: What
    cause: Cause | None = None
    by: By | None = None
    evidence: Evidence | None = None

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the names of the checks that failed."""
        return tuple(check.name for check in self.evidence.checks if not check.passed) if self.evidence else ()

    @property
    def judged(self) -> bool:
        """Tell whether a gate put it in money beside the model that decided."""
        return self.what != "rolled back" and self.evidence is not None and self.evidence.judged > 0


def challengers(steps: Sequence[Step]) -> tuple[Challenger, ...]:
    """Return the steps in order; a model that was staged and let in at once is one of them.

    >>> from avalist.domain.core import ModelStaged
    >>> steps = [
    ...     Step(7, 0, "staged", "a1", ModelStaged("a1", "p", "schedule")),
    ...     Step(8, 0, "activated", "a1", ModelActivated("a1", "gate")),
    ... ]
    >>> [(one.what, one.cause, one.by) for one in challengers(steps)]
    [('activated', 'schedule', 'gate')]
    """
    found: list[Challenger] = []
    for step in steps:
        told = step.told
        one = Challenger(at_ms=step.at_ms, version=step.version, what=step.what, evidence=told.evidence)
        if not isinstance(told, ModelActivated):
            found.append(msgspec.structs.replace(one, cause=told.cause))
            continue
        one = msgspec.structs.replace(one, by=told.by)
        last = found[-1] if found else None
        if last is not None and (last.version, last.at_ms, last.what) == (one.version, one.at_ms, "staged"):
            one = msgspec.structs.replace(one, cause=last.cause if told.by == "gate" else None)
            found.pop()
        found.append(one)
    return tuple(found)
