"""A mapping in the making: what is known of each column, what each was taken for, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from typing import Any

from avalist.domain.errors import BadInput
from avalist.domain.money import EXPONENT
from avalist.history.mapping import Mapping, Outcomes, SchemaTable
from avalist.history.rejects import masked
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.profile import Profile, Sample, decimal_mark_of, profile
from avalist.history.understanding.proposal import IGNORED, Question, Reason

ASSUMED_CURRENCY = "EUR"
_NAME = re.compile(r"[^a-z0-9]+")
_RESERVED = frozenset({"amount", "hour", "weekday", "merchant"})
SURE = 0.98
ORDERS, UNITS = ("dmy", "mdy"), ("major", "minor")
SIGNS = ("refund", "flip", "reject")
TIME_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks", "month": "months"}
_CHOICES = {"date_order": ORDERS, "units": UNITS, "time_unit": (*TIME_UNITS,), "negative_amounts": SIGNS}
_PERSONAL = frozenset({"fields.customer.id", "fields.customer.email", "fields.ip", "fields.billing.postcode"})
EVERYBODY = "everybody"
_FIRST = ("account", "card", "device", "ip", "email", "payee", "ip24")
_ASCII = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", **dict(zip("éèáàíóúñç", "eeaaiounc", strict=True))})


class Draft:
    """One file's columns while they are understood: each step takes what it recognises from those that are left."""

    def __init__(self, sample: Sample, answers: Map[str, str]) -> None:
        self.frame, self.lines, self.answers = sample.frame, sample.lines, answers
        self.paid = sample.frame  # without refunds and what else is no payment, once that is told
        self.mark = decimal_mark_of(sample.frame)
        columns = sample.frame.iter_columns()
        self.profiles = {c.name: profile(c, sample.lines, self.mark) for c in columns}
        self.names = {name: lex.split(p.words) for name, p in self.profiles.items()}
        self.reasons: dict[str, Reason] = {}
        self.questions: list[Question] = []
        self.notes: list[str] = []
        self.parts: dict[str, Any] = {}
        self.fields: dict[str, str] = {}
        self.hashed: list[str] = []
        self.hashed_cards: list[str] = []
        self.formats: dict[str, str] = {}
        self.yes: dict[str, tuple[str, ...]] = {}
        self.outcomes: dict[str, str] = {}
        self.entities: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.categories: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self._check_answers()

    def mapping(self) -> Mapping:
        """Return the mapping, with one entity for all where none was found."""
        if not self.entities:
            self.entities, self.fields[f"custom.{EVERYBODY}"] = {EVERYBODY: f"custom.{EVERYBODY}"}, f"={EVERYBODY}"
            self.notes.append(
                "no column tells who pays or with what: one entity stands for all payments together; "
                "add one to [schema.entities] if there is"
            )
        self.entities = dict(sorted(self.entities.items(), key=lambda e: _FIRST.index(e[0]) if e[0] in _FIRST else 99))
        base = self.parts.pop("base_currency")
        schema = SchemaTable(base, self.entities, self.numbers, self.categories, self.settings)
        return Mapping(
            schema=schema, **self.parts, fields=self.fields, hashed=tuple(self.hashed),
            hashed_cards=tuple(c for c in self.hashed_cards if self.reasons[c].role != IGNORED), formats=self.formats,
            yes=self.yes, decimal_mark="," if self.mark == "," else ".", outcomes=Outcomes(**self.outcomes),
        )  # fmt: skip

    def _check_answers(self) -> None:
        for about in ("amount", "time", "label", "id"):
            given = self.answers.get(about, "none")
            if given != "none" and given not in self.profiles:
                expected = ", ".join(list(self.profiles)[:40])
                raise BadInput("the file has no such column", field=f"--{about}", expected=expected, got=given)
        for about, known in _CHOICES.items():
            if self.answers.get(about, known[0]) not in known:
                option, expected = f"--{about.replace('_', '-')}", " or ".join(known)
                raise BadInput("no such choice", field=option, expected=expected, got=self.answers[about])
        currency = self.answers.get("currency", ASSUMED_CURRENCY)
        if currency not in self.profiles and currency not in EXPONENT:
            raise BadInput(
                "no such currency", field="--currency", expected="a code such as EUR, or a column", got=currency
            )

    def left(self) -> Iterator[Profile]:
        """Yield the columns that nothing has taken yet."""
        return (p for name, p in self.profiles.items() if name not in self.reasons)

    def take(self, column: str, role: str, why: str) -> None:
        """Take a column for a key of the mapping."""
        p = self.profiles[column]
        personal = role in _PERSONAL or self.called(p, lex.PERSONAL)
        samples = map(masked, p.samples) if personal else p.samples
        sample = "(not shown)" if column in self.hashed else ", ".join(samples)
        self.reasons[column] = Reason(column, role, why, sample)

    def ignore(self, column: str, why: str) -> None:
        """Leave a column out."""
        self.take(column, IGNORED, why)

    def called(self, p: Profile, *words: Iterable[str]) -> bool:
        """Tell whether a column's name has one of the words."""
        return any(self.names[p.name] & frozenset(some) for some in words)

    def unread(self, words: Iterable[str]) -> str:
        """Return what to say of a column that is called so and does not hold it; nothing where there is none."""
        some = (p for p in self.left() if self.called(p, words) and not p.numeric and not p.time and p.samples)
        return next((f" ({p.name}, such as {p.odd or p.samples[0]!r}, is none that can be read)" for p in some), "")

    def ask(
        self, about: str, text: str, choices: Iterable[str] = (), *, needed: bool = True, proposed: str = ""
    ) -> None:
        """Ask what the file does not say; what is `proposed` need not be answered."""
        self.questions.append(Question(about, text, tuple(choices), needed, proposed))

    def name(self, p: Profile) -> str:
        """Return a name for the schema that is not in use."""
        words = [w for w in p.words if w not in ("id", "tx", "nr", "no", "num")] or list(p.words)
        plain = _NAME.sub("_", "_".join(words).translate(_ASCII)).strip("_")[:28]
        plain = plain if plain[:1].isalpha() else f"c_{plain}".strip("_")
        used = {*self.entities, *self.numbers, *self.categories, *_RESERVED}
        used |= {path.partition(".")[2] for path in self.fields if path.startswith("custom.")}
        return next(name for name in (plain, *(f"{plain}_{n}" for n in range(2, 999))) if name not in used)


def counted(d: Draft, p: Profile) -> str:
    """Return the format of a count from a start that is known: since 1970, or the days of spreadsheets; else nothing.

    Counts since 1970 lie in this century or the last years of the other; days are of 1990 to 2050, in a column that is
    called a time.
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if p.numeric > SURE and 6e8 * scale < p.low <= p.high < 4.1e9 * scale:
            return f"{unit} since 1970-01-01"
    if p.numeric > SURE and 32_874 <= p.low < p.high < 54_789 and d.called(p, lex.TIME) and not d.called(p, lex.AMOUNT):
        return "d since 1899-12-30"
    return ""
