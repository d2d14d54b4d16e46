r"""From a file nobody prepared to a mapping: what each column is taken for, why, and what only a person can say.

>>> import tempfile; file = Path(tempfile.mkdtemp()) / "payments.csv"
>>> _ = file.write_text("id,when,total,client\na,2026-01-01,5.00,c1\nb,2026-01-02,6.50,c1\nc,2026-01-03,7.00,c2\n")
>>> proposal = propose(file)
>>> proposal.mapping.payment_id, proposal.mapping.occurred_at, proposal.mapping.amount, proposal.mapping.fields
('id', 'when', 'total', {'customer.id': 'client'})
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from pathlib import Path

from avalist.domain.errors import BadInput
from avalist.history.table import Table
from avalist.history.understanding import understand
from avalist.history.understanding.profile import draw
from avalist.history.understanding.proposal import Proposal, Question, Reason

__all__ = ["Proposal", "Question", "Reason", "propose"]


def propose(file: Path, answers: Map[str, str] | None = None) -> Proposal:
    """Look at a file and propose what its columns mean.

    Parameters
    ----------
    file
        CSV, Parquet or JSON lines, plain or packed.
    answers
        What a person said, by :attr:`Question.about`: ``amount``, ``time``, ``label``, ``id`` (a column, or ``none``),
        ``currency``, ``timezone``, ``date_order`` (``dmy`` or ``mdy``), ``units`` (``major`` or ``minor``).

    Raises
    ------
    BadInput
        For a file of another kind, an empty one, or an answer that does not fit.
    """
    table = Table(file)
    if table.kind == "events":
        note = "the file holds events as this product takes them: they go in as they are"
        return Proposal(file=file.name, kind="events", mapping=None, notes=(note,))
    if len(table.names) == 1 and re.search(r"\W", table.names[0]):
        expected = "cells between commas, semicolons, tabs, |, ~ or ^; a time and an amount at least"
        raise BadInput("every line is one cell", field=file.name, expected=expected, got=table.names[0][:60])
    sample = draw(table)
    if not sample.rows:
        raise BadInput("the file has no rows", field=file.name, expected="one payment a row")
    draft, mapping = understand(sample, answers or {})
    return Proposal(
        file=file.name,
        kind=table.kind,
        mapping=mapping,
        reasons=tuple(draft.reasons[name] for name in table.names if name in draft.reasons),
        questions=tuple(draft.questions),
        notes=tuple(draft.notes),
        rows=sample.rows,
    )
