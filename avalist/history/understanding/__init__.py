"""What the columns of a file mean, told from their names and their cells, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping as Map

from avalist.history.mapping import Mapping
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import Draft
from avalist.history.understanding.entities import take_entities, take_rest
from avalist.history.understanding.money import take_amount, take_currency, take_payment_id, take_row_type, take_units
from avalist.history.understanding.outcomes import ignore_told_afterwards, take_outcomes
from avalist.history.understanding.profile import Sample
from avalist.history.understanding.times import take_time

_CARDS = 0.5
"""A column of fewer card numbers may hold tokens, of which some look like one: a tenth of random digits do."""
_STEPS = (
    take_time, take_amount, take_row_type, take_payment_id, take_currency, take_units, take_outcomes,
    ignore_told_afterwards, take_entities, take_rest,
)  # fmt: skip


def understand(sample: Sample, answers: Map[str, str]) -> tuple[Draft, Mapping | None]:
    """Return what was told of a sample, and the mapping: None while a needed question is open. Raises ``BadInput``."""
    draft = Draft(sample, answers)
    _empty(draft)
    _card_numbers(draft)
    for step in _STEPS:
        step(draft)
    open_still = any(question.needed for question in draft.questions)
    return draft, None if open_still else draft.mapping()


def _empty(d: Draft) -> None:
    for p in d.left():
        if not p.distinct:
            d.ignore(p.name, "it is empty")


def _card_numbers(d: Draft) -> None:
    for p in d.left():
        if not p.card:
            continue
        if (p.spaces > 0.5 and p.longest > 23) or (p.card < _CARDS and p.token < _CARDS):
            d.ignore(p.name, "card numbers stand in its text")
        else:
            tokens = d.called(p, lex.TOKEN) and p.card < _CARDS
            (d.hashed_cards if tokens else d.hashed).append(p.name)
