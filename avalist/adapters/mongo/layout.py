"""How documents lie in MongoDB: collections, what the server checks of them, and indexes.

::

    <collection>           {_id: "merchant/id", merchant, id, place, json, ends?}
    <collection>.entries   {_id: hash, merchant, key, at, id, ends?}
    marks                  {_id: name, position}
    places                 {_id: "documents", next}
"""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, OperationFailure

ENTRIES: Final = ".entries"
MARKS: Final = "marks"
PLACES: Final = "places"

_NOT_IMPLEMENTED: Final = 238
_EXISTS: Final = 48

_DOCUMENT: Final = {"_id": "string", "merchant": "string", "id": "string", "place": "long", "json": "binData"}
_ENTRY: Final = {"_id": "binData", "merchant": "string", "key": "string", "at": "long", "id": "string"}

_DOCUMENT_INDEXES: Final = (
    [("merchant", ASCENDING), ("place", DESCENDING)],
    [("merchant", ASCENDING), ("id", ASCENDING)],
)
_ENTRY_INDEXES: Final = (
    [("merchant", ASCENDING), ("key", ASCENDING), ("at", DESCENDING), ("id", DESCENDING)],
    [("merchant", ASCENDING), ("id", ASCENDING)],
)


async def prepare(database: AsyncDatabase[dict[str, Any]], collection: str) -> None:
    """Make a collection and that of its entries, with their rules and indexes, unless they are there.

    A server that knows no rules, or no TTL, goes without: rules only guard against other writers, and documents that
    are due are swept by us too.
    """
    for name, fields, indexes in (
        (collection, _DOCUMENT, _DOCUMENT_INDEXES),
        (collection + ENTRIES, _ENTRY, _ENTRY_INDEXES),
    ):
        await _create(database, name, _rules(fields))
        there = await database[name].index_information()
        for index in indexes:
            if "_".join(f"{field}_{order}" for field, order in index) not in there:
                await database[name].create_index(index)
        if "ends_1" not in there:
            await _expire(database[name])


async def _expire(collection: AsyncCollection[dict[str, Any]]) -> None:
    try:
        await collection.create_index("ends", expireAfterSeconds=0)
    except OperationFailure as error:
        if error.code != _NOT_IMPLEMENTED:
            raise
        await collection.create_index("ends")


def _rules(fields: dict[str, str]) -> dict[str, Any]:
    """Return a validator: these fields, all required, and an end; nothing else."""
    types = {name: {"bsonType": kind} for name, kind in {**fields, "ends": "date"}.items()}
    schema = {"bsonType": "object", "required": [*fields], "properties": types, "additionalProperties": False}
    return {"$jsonSchema": schema}


async def _create(database: AsyncDatabase[dict[str, Any]], name: str, rules: dict[str, Any]) -> None:
    attempts: tuple[dict[str, Any], ...] = ({"validator": rules}, {})
    for options in attempts:
        try:
            await database.create_collection(name, **options)
        except CollectionInvalid:
            return
        except OperationFailure as error:
            if error.code == _EXISTS:  # another process was first
                return
            if error.code != _NOT_IMPLEMENTED:
                raise
        else:
            return
