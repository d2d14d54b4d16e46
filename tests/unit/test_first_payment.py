"""The example that ``avalist fit`` prints: as rich as the history was."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from avalist.cli.first_payment import curl, first_payment
from avalist.domain.events import decode_payment, from_ms
from avalist.domain.schema import DIGITAL_GOODS, Schema
from avalist.enrich.intake import Intake
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.understanding.propose import propose
from tests import files
from tests.shop import T0_MS

MAPPINGS = Path(__file__).parents[2] / "docs/mappings"


def missing(mapping: Mapping | None, schema: Schema) -> tuple[str, ...]:
    """Return what the example lacks of a schema, having been sent."""
    command = curl("http://127.0.0.1:1", "shop", "data", first_payment(mapping, schema, from_ms(T0_MS)))
    event = decode_payment(shlex.split(command)[-1].encode())
    return Intake(schema, b"s" * 32).payment(event)[1].missing


@pytest.mark.parametrize("make", [files.european, files.american, files.epochs, files.anonymous, files.nested,
                                  files.generator_like, files.book_like, files.transfers])  # fmt: skip
def test_the_example_has_what_the_file_had(make: Callable[[Path], Path], tmp_path: Path) -> None:
    mapping = propose(make(tmp_path / "file")).mapping
    assert mapping is not None
    assert missing(mapping, mapping.merchant_schema()) == ()


@pytest.mark.parametrize("name", ["handbook", "sparkov"])
def test_the_example_has_what_a_mapping_names(name: str) -> None:
    mapping = decode_mapping((MAPPINGS / f"{name}.toml").read_text())
    assert missing(mapping, mapping.merchant_schema()) == ()


def test_the_example_of_a_file_of_events_has_the_usual_fields() -> None:
    assert missing(None, DIGITAL_GOODS) == ()


def test_a_wallet_and_a_time_are_examples_of_their_kind() -> None:
    text = (MAPPINGS / "handbook.toml").read_text()
    fields = '[fields]\n"method.kind" = "=wallet"\n"method.provider" = "=pay"\n"method.account" = "a"\n'
    mapping = decode_mapping(text.replace("[fields]\n", f'{fields}"customer.created_at" = "c"\n"cart.sku" = "s"\n'))
    payment = first_payment(mapping, mapping.merchant_schema(), from_ms(T0_MS))
    assert payment["method"] == {"kind": "wallet", "provider": "pay", "account": "example"}
    assert decode_payment(msgspec.json.encode(payment)).cart[0].sku == "gc-50"
