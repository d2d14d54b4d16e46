"""What is changed in a server's sources as it is built, where its faults would hide ours.

FerretDB 1 over SQLite cannot be asked for much otherwise: it waits for ever for a connection of its own once a command
rewrites a hundred documents, and reads a whole collection for each document that it looks up.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Mend(NamedTuple):
    """A change of one of a module's sources."""

    module: str
    file: str
    old: str
    new: str


_FERRETDB: Final = "github.com/FerretDB/FerretDB"
_UPDATE: Final = "internal/handler/msg_update.go"
_CALL: Final = '(ctx, c, "update", iter, &u)\n'

MENDS: Final[dict[str, tuple[Mend, ...]]] = {
    "ferretdb": (
        # Each write of a command held one of 100 connections until the command ended.
        Mend(_FERRETDB, _UPDATE, "\t\tdefer closer.Close()\n", ""),
        Mend(_FERRETDB, _UPDATE, _CALL, f"{_CALL}\t\tcloser.Close()\n"),
        # The index by _id is written so; no query used it. And none looked for a binary one there.
        Mend(_FERRETDB, "internal/backends/sqlite/metadata/metadata.go", "->'$._id'", "->'_id'"),
        Mend(
            _FERRETDB, "internal/backends/sqlite/collection.go", "types.ObjectID:", "types.ObjectID, types.Binary:"
        ),
    )
}  # fmt: skip
