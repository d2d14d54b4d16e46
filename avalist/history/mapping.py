"""A mapping says which of a file's columns means what; it is TOML that a person can read and edit."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import bad_body
from avalist.domain.schema import Schema


class SchemaTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``[schema]`` table: entities, numbers, categories as ``name = "source"``; other fields under ``settings``."""

    base_currency: str
    entities: dict[str, str]
    numbers: dict[str, str] = {}
    categories: dict[str, str] = {}
    settings: dict[str, Any] = {}


class Outcomes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns that say what became of a payment. Every one is optional; times are of when it was learnt."""

    fraud: str = ""
    fraud_reported_at: str = ""
    early_warning_at: str = ""
    captured: str = ""
    auth_approved: str = ""
    issuer_code: str = ""
    old_decision: str = ""


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file's columns become payments.

    `payment_id` names the column, or the columns that make an id together; where there is none, the line number is the
    id. `occurred_at` names the column of the time, or those of date and time of day. `fields` maps paths of the payment
    event (``customer.id``, ``custom.terminal``, ``cart.sku``) to columns; a value that begins with ``=`` is a constant.
    `amount` is a decimal column, `amount_minor` one in minor units. `hashed` columns are hashed before anything reads
    them; of `hashed_cards` only the cells that hold a card number, so that the others join with what comes live.
    `row_type` names the column that says what a row is, where not every row is a payment: ``yes.payment``,
    ``yes.refund`` and ``yes.chargeback`` list its values, and other rows are skipped. `refund_of` names the column of
    the payment that a refund or a chargeback is of, where it is not `payment_id`. `formats` gives the format of a
    column of times, `yes` the values that mean yes of an outcome that is told in words.
    """

    schema: SchemaTable
    occurred_at: str | tuple[str, ...]
    currency: str
    payment_id: str | tuple[str, ...] = ""
    amount: str = ""
    amount_minor: str = ""
    timezone: str = "UTC"
    decimal_mark: Literal[".", ","] = "."
    negative_amounts: Literal["refund", "reject", "flip"] = "refund"
    row_type: str = ""
    refund_of: str = ""
    fields: dict[str, str] = {}
    hashed: tuple[str, ...] = ()
    hashed_cards: tuple[str, ...] = ()
    formats: dict[str, str] = {}
    yes: dict[str, tuple[str, ...]] = {}
    outcomes: Outcomes = Outcomes()

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Return the columns that make the payment's id; none where the line number is the id."""
        return _several(self.payment_id)

    @property
    def time_columns(self) -> tuple[str, ...]:
        """Return the column of the time, or those of date and time of day."""
        return _several(self.occurred_at)

    def columns(self) -> dict[str, str]:
        """Return the columns that the mapping reads, each with the key that names it."""
        amount = {self.amount: "amount"} if self.amount else {self.amount_minor: "amount_minor"}
        outcomes = {column: f"outcomes.{name}" for name, column in msgspec.structs.asdict(self.outcomes).items()}
        named = {
            **{column: f"fields.{path}" for path, column in self.fields.items()},
            **outcomes,
            **dict.fromkeys(self.hashed_cards, "hashed_cards"),
            **dict.fromkeys(self.hashed, "hashed"),
            self.row_type: "row_type",
            self.refund_of: "refund_of",
            self.currency: "currency",
            **amount,
            **dict.fromkeys(self.id_columns, "payment_id"),
            **dict.fromkeys(self.time_columns, "occurred_at"),
        }
        return {column: key for column, key in named.items() if column and not column.startswith("=")}

    def merchant_schema(self) -> Schema:
        """Return the schema that the mapping declares. Raises ``BadInput``."""
        table = self.schema
        given = {
            "base_currency": table.base_currency,
            "entities": [{"name": n, "source": s} for n, s in table.entities.items()],
            "numbers": [{"name": n, **number_source(s)} for n, s in table.numbers.items()],
            "categories": [{"name": n, "source": s} for n, s in table.categories.items()],
            **table.settings,
        }
        try:
            return msgspec.convert(given, Schema).check()
        except msgspec.ValidationError as error:
            raise bad_body(error, kind=Schema) from None


def _several(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return columns if isinstance(columns, tuple) else (columns,) if columns else ()


def number_source(source: str) -> dict[str, object]:
    """Split ``custom.lat:3`` into the source and its decimals. Raises ``BadInput``."""
    path, _, decimals = source.partition(":")
    if decimals and not decimals.isdecimal():
        raise BadInput("not a number of decimals", field="schema.numbers", expected="source:decimals", got=source[:64])
    return {"source": path, "decimals": int(decimals or 0)}


def decode_mapping(text: str) -> Mapping:
    """Decode a mapping from TOML. Raises ``BadInput`` naming the field."""
    try:
        return msgspec.toml.decode(text, type=Mapping)
    except msgspec.DecodeError as error:
        raise bad_body(error, kind=Mapping) from None
