"""What a mapping and a schema make of each column of a file."""

from __future__ import annotations

from typing import NamedTuple

from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput
from avalist.domain.schema import Schema
from avalist.history.mapping import Mapping, number_source
from avalist.history.paths import CUSTOM, IP, Part, Rule, part_of, rule_of
from avalist.history.table import Table


class Field(NamedTuple):
    """A column on its way to a path of the event."""

    path: str
    column: str
    rule: Rule


class Plan:
    """What a mapping and a schema make of each column. Raises ``BadInput`` if they do not hold together."""

    def __init__(self, mapping: Mapping, schema: Schema) -> None:
        self.mapping, self.schema = mapping, schema
        self.explicit = schema.capture == "explicit"
        scaled = {
            str(source["source"]): int(str(source["decimals"]))
            for source in map(number_source, mapping.schema.numbers.values())
        }
        self.decimals = {**scaled, **{d.source: d.decimals for d in schema.numbers}}
        self.kinds = {name: self._constant(f"{name}.kind") for name in ("method", "cart")}
        self.parts: dict[str, Part] = {}
        self.fields = [
            self._field(path, column)
            for path, column in mapping.fields.items()
            if path not in ("method.kind", "cart.kind")
        ]
        if not mapping.amount and not mapping.amount_minor:
            raise BadInput("no column of amounts", field="amount", expected="a column, or a constant such as =5.00")
        if mapping.row_type and not mapping.yes.get("payment"):
            raise BadInput("list the values that are payments", field="yes.payment", expected='such as ["payment"]')
        for part in self.parts.values():
            missing = [f for f in part.needed if f"{part.name}.{f}" not in mapping.fields]
            if missing:
                raise BadInput(
                    f"map {part.name}.{missing[0]} too: a payment's {part.name} needs it", field=f"fields.{part.name}"
                )

    def _constant(self, path: str) -> str:
        value = self.mapping.fields.get(path, "")
        if value and not value.startswith("="):
            raise BadInput(
                "the kind is the same for all rows", field=f"fields.{path}", expected="such as =card", got=value
            )
        return value[1:]

    def _field(self, path: str, column: str) -> Field:
        head, _, tail = path.partition(".")
        if path == "ip":
            return Field(path, column, IP)
        if head == "custom":
            if not 1 <= len(tail) <= 64 or holds_card_number(tail):
                raise BadInput(
                    "not a name", field="fields", expected="custom.name of at most 64 letters", got=path[:32]
                )
            return Field(path, column, Rule("number") if path in self.decimals else CUSTOM)
        part = self.parts.setdefault(head, part_of(head, self.kinds.get(head, "")))
        return Field(path, column, rule_of(part, tail))

    def check_columns(self, table: Table) -> None:
        """Raise ``BadInput`` if the mapping names a column that the file lacks."""
        for column, key in self.mapping.columns().items():
            if column not in table.names:
                expected = ", ".join(table.names[:40])
                raise BadInput("the file has no such column", field=key, expected=expected, got=column)
