"""What a file was understood to be: a mapping, the reasons for it, and the questions that are open."""

from __future__ import annotations

import msgspec

from avalist.domain.errors import BadInput
from avalist.history.mapping import Mapping
from avalist.history.sniff import Kind

IGNORED = "ignored"
ROUGH_RATES = {
    "EUR": 1.0, "USD": 0.87, "GBP": 1.15, "CHF": 1.07, "JPY": 0.0057, "CAD": 0.62, "AUD": 0.57, "NZD": 0.5, "SEK":
    0.091, "NOK": 0.085, "DKK": 0.134, "PLN": 0.235, "CZK": 0.041, "HUF": 0.0026, "RON": 0.197, "BGN": 0.511, "TRY":
    0.021, "CNY": 0.122, "HKD": 0.112, "SGD": 0.67, "INR": 0.0098, "KRW": 0.0006, "BRL": 0.16, "MXN": 0.047, "ZAR":
    0.05, "ILS": 0.26, "AED": 0.237, "SAR": 0.232, "THB": 0.027, "IDR": 0.000053, "MYR": 0.21, "PHP": 0.0149, "TWD":
    0.028, "UAH": 0.0206, "RUB": 0.0107, "ARS": 0.0006, "CLP": 0.00092, "COP": 0.00023, "PEN": 0.257, "VND":
    0.000033,
}  # fmt: skip
"""Euros per unit, roughly, of late 2025: a start where a file has several currencies, for a person to correct."""


class Reason(msgspec.Struct, frozen=True):
    """What one column is taken for. `role` is a key of the mapping, or ``ignored``; `sample` shows cells."""

    column: str
    role: str
    why: str
    sample: str = ""


class Question(msgspec.Struct, frozen=True):
    """What the file does not say. `about` is the key of the answer; where none is `needed`, something is `proposed`."""

    about: str
    text: str
    choices: tuple[str, ...] = ()
    needed: bool = True
    proposed: str = ""

    @property
    def option(self) -> str:
        """Return the command's option that answers it."""
        return f"--{self.about.replace('_', '-')}"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was understood to be.

    `kind` ``events`` means our own events as JSON lines: they need no mapping. `mapping` is None then, and while a
    needed question is open. `notes` holds what is assumed of the file as a whole.
    """

    file: str
    kind: Kind
    mapping: Mapping | None
    reasons: tuple[Reason, ...] = ()
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = ()
    rows: int = 0

    def ready(self, *, assume: bool = False) -> Proposal:
        """Return self. Raises ``BadInput`` naming the option that answers the first open question.

        To `assume` takes what is proposed where a question is not needed.
        """
        question = self.open(assume=assume)
        if question:
            choices = " or ".join(question.choices[:20])
            hint = "" if question.needed else " (--yes takes what is proposed)"
            raise BadInput(f"{question.text}{hint}", field=question.option, expected=choices)
        return self

    def open(self, *, assume: bool = False) -> Question | None:
        """Return the first question that is open; to `assume` leaves only those that are needed."""
        return next((question for question in self.questions if question.needed or not assume), None)

    def toml(self) -> str:
        """Return the mapping as TOML to edit, its reasons as comments. Raises as :meth:`ready`."""
        mapping = self.ready(assume=True).mapping
        if mapping is None:
            raise BadInput("events need no mapping", field=self.file)
        why = {reason.role: reason.why for reason in self.reasons}
        lines = [f"# How {self.file} was understood. Edit it, and import again with --mapping."]
        lines += [f"# {note}" for note in self.notes]
        given: dict[str, object] = msgspec.to_builtins(mapping)
        tables = {name: value for name, value in given.items() if isinstance(value, dict)}
        plain = msgspec.structs.fields(Mapping)
        for field in plain:
            value = given[field.name]
            if field.name not in tables and (field.required or value != field.default):
                lines.append(_line(field.name, value, why.get(field.name, "")))
        for name in ("fields", "formats", "yes", "outcomes", "schema"):
            lines += _table(name, {k: v for k, v in tables[name].items() if v not in ("", {})}, why)
        ignored = [reason for reason in self.reasons if reason.role == IGNORED]
        lines += ["", "# Ignored:"] * bool(ignored) + [f"#   {_text(r.column)}: {r.why}" for r in ignored]
        return "\n".join(lines) + "\n"


def _table(name: str, table: dict[str, object], why: dict[str, str]) -> list[str]:
    if not table:
        return []
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = ["", f"[{name}]", *(_line(key, value, why.get(f"{name}.{key}", "")) for key, value in plain.items())]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table(f"{name}.{key}", value, why)
    return lines


def _line(key: str, value: object, why: str) -> str:
    bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return f"{key if bare else _text(key)} = {_value(value)}" + (f"   # {why}" if why else "")


def _value(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(k))} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(value: str) -> str:
    """Return a string as TOML writes it, which is as JSON does but for DEL."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007F")
