"""Options that answer what only a person can say of a file; ``avalist fit`` and ``avalist import`` share them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path,
    typer.Argument(
        help="CSV, Parquet or JSON lines, plain or packed (gzip, zstd, bzip2, zip)", exists=True, dir_okay=False
    ),
]
MappingFile = Annotated[
    Path | None, typer.Option(help="Which columns mean what (TOML) [default: told from names and values]", exists=True)
]
Time = Annotated[str | None, typer.Option(help="The column that says when a payment was made")]
Amount = Annotated[str | None, typer.Option(help="The column of amounts")]
Label = Annotated[str | None, typer.Option(help="The column that says which were fraud, or none")]
Id = Annotated[str | None, typer.Option(help="The column of the payment's id, or none")]
Currency = Annotated[str | None, typer.Option(help="The currency of all amounts, or its column")]
Timezone = Annotated[str | None, typer.Option(help="The zone of times that name none, such as Europe/Paris")]
DateOrder = Annotated[str | None, typer.Option(help="dmy or mdy, where dates may be read either way")]

TimeUnit = Annotated[str | None, typer.Option(help="What a column that counts time counts: s, min, h, d, w or month")]
FraudValue = Annotated[
    str | None, typer.Option(help="The value of the column of labels that means fraud, or several by commas")
]
NegativeAmounts = Annotated[
    str | None, typer.Option(help="refund, flip or reject: what negative amounts are, where most or many are")
]
Units = Annotated[
    str | None, typer.Option(help="major or minor: whether whole amounts are units of money, or such as cents")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Take what is proposed where a question need not be answered")]


def answers(**said: str | None) -> dict[str, str]:
    """Return what was said, by the key of the question.

    >>> answers(time="when", label=None)
    {'time': 'when'}
    """
    return {about: answer for about, answer in said.items() if answer is not None}
