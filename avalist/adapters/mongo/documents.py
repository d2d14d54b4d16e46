"""Documents in MongoDB; ADR 21 tells why they are laid out so."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec
from bson import Int64
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from avalist.adapters.mongo.layout import ENTRIES, MARKS, PLACES, prepare
from avalist.domain.errors import BadInput, Superseded, Unavailable

T = TypeVar("T")
_Json = dict[str, Any]
_Session = AsyncClientSession | None
_Batch = dict[str, list[UpdateOne]]

_OPTIONS: Final = {"appname": "avalist", "serverselectiontimeoutms": 5_000, "timeoutms": 20_000}
_DATABASE: Final = "avalist"
_HIGHEST: Final = 2**63 - 1
_AT_ONCE: Final = 200
"""So many writes of one command have the client's time limit together: a slow store must get on all the same."""
_CLOSE_S: Final = 2.0
_CLOSED: Final = "documents in MongoDB: the store is closed"
_MAJORITY: Final = WriteConcern("majority")
_SNAPSHOT: Final = ReadConcern("snapshot")


class MongoDocuments:
    """Keep documents in one MongoDB database, each collection in one of its name, with its entries beside it.

    On a replica set or a sharded cluster a batch is one transaction. Elsewhere its mark is written last: what a crash
    leaves of a batch is written again by a fold that goes on from the mark, with the same documents; and a process that
    stands still between looking at the mark and writing may write an old batch. Usable from several threads and
    processes; what is acknowledged is on a majority of the servers. Closing it ends what other threads wait for.

    Raises
    ------
    BadInput
        For a URL that is none of MongoDB's.
    Superseded
        From ``put_many``, if the mark is not where it was expected.
    Unavailable
        From every method, for any other error of the client library, and once it is closed.
    """

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mongodb", daemon=True)
        self._thread.start()
        self._closed = False
        self._waiting: set[Future[Any]] = set()
        self._closing = threading.Lock()
        self._ready: set[str] = set()
        self._selection_s: float | None = None
        try:
            self._run(self._open(url))
            self._run(self._greet())
        except BaseException:
            self.close()
            raise

    async def _open(self, url: str) -> None:
        try:
            given = parse_uri(url)
        except (PyMongoError, ValueError) as error:
            raise BadInput(
                f"not a URL of MongoDB: {error}", field="documents", expected="mongodb://host:port/database"
            ) from None
        told = {name.lower() for name in given["options"]}
        options: _Json = {name: value for name, value in _OPTIONS.items() if name not in told}
        self._client: AsyncMongoClient[_Json] = AsyncMongoClient(url, **options)
        self._database: AsyncDatabase[_Json] = self._client.get_database(
            given["database"] or _DATABASE, read_concern=ReadConcern("majority"), write_concern=_MAJORITY
        )
        self._selection_s = self._client.options.server_selection_timeout

    async def _greet(self) -> None:
        said = await self._client.admin.command("hello")
        self._transactions = "setName" in said or said.get("msg") == "isdbgrid"

    # --- writing -------------------------------------------------------------------------------------------------

    def put_many(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        *,
        keys: Iterable[tuple[str, str, str, int, str]] = (),
        ends: Iterable[tuple[str, str, str, int]] = (),
        mark: tuple[str, int] | None = None,
        after: int | None = None,
    ) -> None:
        """Store rows, entries, ends and the mark: in one transaction where there are any, else in this order."""
        due = {(merchant, collection, id): at for merchant, collection, id, at in ends}
        batch = _entries(keys, due)
        documents = list(rows)
        self._run(self._put(documents, due, batch, mark, after))

    async def _put(
        self,
        rows: Sequence[tuple[str, str, str, bytes]],
        due: dict[tuple[str, str, str], int],
        entries: _Batch,
        mark: tuple[str, int] | None,
        after: int | None,
    ) -> None:
        documents = _documents(rows, due, await self._places(len(rows)) if rows else 0)
        for collection in {*documents, *(name.removesuffix(ENTRIES) for name in entries)} - self._ready:
            await prepare(self._database, collection)
            self._ready.add(collection)

        async def write(session: _Session) -> None:
            if mark is not None and after is not None:
                await self._check_mark(mark[0], after, session)
            for name, writes in [*documents.items(), *entries.items()]:
                for start in range(0, len(writes), _AT_ONCE):
                    some = writes[start : start + _AT_ONCE]
                    await self._database[name].bulk_write(some, ordered=True, session=session)
            if mark is not None:
                await self._put_mark(*mark, after, session)

        await self._together(write)

    async def _check_mark(self, name: str, after: int, session: _Session) -> None:
        found = await self._database[MARKS].find_one({"_id": name}, session=session)
        if after != (0 if found is None else int(found["position"])):
            raise _superseded(name, after)

    async def _put_mark(self, name: str, position: int, after: int | None, session: _Session) -> None:
        """Move a mark; one that is expected elsewhere than at the beginning must be there."""
        where: _Json = {"_id": name} if after is None else {"_id": name, "position": Int64(after)}
        put = {"$set": {"position": Int64(position)}}
        try:
            done = await self._database[MARKS].update_one(where, put, upsert=not after, session=session)
        except DuplicateKeyError:
            raise _superseded(name, after) from None
        if after and not done.matched_count:
            raise _superseded(name, after)

    async def _places(self, count: int) -> int:
        """Return the first of so many places that nobody else gets: they order a collection's documents."""
        found = await self._database[PLACES].find_one_and_update(
            {"_id": "documents"}, {"$inc": {"next": Int64(count)}}, upsert=True
        )
        return int(found["next"]) if found is not None else 0

    async def _together(self, write: Callable[[_Session], Awaitable[T]]) -> T:
        """Write in one transaction, where the server has any."""
        if not self._transactions:
            return await write(None)
        async with self._client.start_session() as session:
            return await session.with_transaction(write, read_concern=_SNAPSHOT, write_concern=_MAJORITY)

    def delete(self, merchant: str, collection: str, ids: Iterable[str]) -> int:
        """Delete documents with their entries."""
        return self._run(self._delete(merchant, collection, list(ids)))

    async def _delete(self, merchant: str, collection: str, ids: Sequence[str]) -> int:
        async def write(session: _Session) -> int:
            gone = 0
            for start in range(0, len(ids), _AT_ONCE):
                wanted = {"merchant": merchant, "id": {"$in": [*ids[start : start + _AT_ONCE]]}}
                await self._database[collection + ENTRIES].delete_many(wanted, session=session)
                gone += (await self._database[collection].delete_many(wanted, session=session)).deleted_count
            return gone

        return await self._together(write)

    def sweep(self, now_ms: int) -> int:
        """Delete every document whose end has come; a server with TTL indexes does so by itself, within a minute."""
        return self._run(self._sweep(_date(now_ms)))

    async def _sweep(self, now: dt.datetime) -> int:
        swept = 0
        for name in await self._database.list_collection_names():
            done = await self._database[name].delete_many({"ends": {"$lte": now}})
            swept += 0 if name.endswith(ENTRIES) else done.deleted_count
        return swept

    def clear(self, merchant: str, collection: str) -> None:
        """Delete one collection of one merchant. The documents go first: entries without one are never shown."""
        self._run(self._clear(merchant, collection))

    async def _clear(self, merchant: str, collection: str) -> None:
        for name in (collection, collection + ENTRIES):
            await self._database[name].delete_many({"merchant": merchant})

    # --- reading -------------------------------------------------------------------------------------------------

    def get(self, merchant: str, collection: str, id: str) -> bytes | None:
        """Return one document's JSON, or None."""
        found = self._run(self._database[collection].find_one({"_id": _id(merchant, id)}))
        return None if found is None else bytes(found["json"])

    def find(self, merchant: str, collection: str, *, limit: int = 100) -> Iterator[tuple[str, bytes]]:
        """Yield ``(id, json)``, newest first; all are read at once."""
        if limit <= 0:
            return iter(())
        newest = self._database[collection].find({"merchant": merchant}).sort("place", -1).limit(limit)
        return iter([(one["id"], bytes(one["json"])) for one in self._run(newest.to_list())])

    def find_by(
        self, merchant: str, collection: str, key: str, *, before: int | None = None, limit: int = 100
    ) -> Iterator[tuple[int, bytes]]:
        """Yield ``(at, json)`` of the documents under a key, the highest `at` first; all are read at once."""
        if limit <= 0:
            return iter(())
        wanted = {"merchant": merchant, "key": key, "at": {"$lt": Int64(_HIGHEST if before is None else before)}}
        return iter(self._run(self._find_by(merchant, collection, wanted, limit)))

    async def _find_by(self, merchant: str, collection: str, wanted: _Json, limit: int) -> list[tuple[int, bytes]]:
        entries = self._database[collection + ENTRIES].find(wanted).sort([("at", -1), ("id", -1)])
        found: list[tuple[int, bytes]] = []
        while len(found) < limit and (some := await entries.to_list(limit)):
            ids = [_id(merchant, entry["id"]) for entry in some]
            held = await self._database[collection].find({"_id": {"$in": ids}}).to_list()
            bodies = {one["_id"]: bytes(one["json"]) for one in held}
            found += [(int(one["at"]), bodies[id]) for one, id in zip(some, ids, strict=True) if id in bodies]
        await entries.close()
        return found[:limit]

    def mark(self, name: str) -> int:
        """Return the position stored under `name`; 0 if none."""
        found = self._run(self._database[MARKS].find_one({"_id": name}))
        return 0 if found is None else int(found["position"])

    # --- the event loop ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections and end the thread; what others wait for raises. Closing twice is harmless."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        for waiting in tuple(self._waiting):
            waiting.cancel()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        if hasattr(self, "_client"):
            await self._client.close()
        cut_off = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*cut_off, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        waiting = self._begin(work)
        try:
            with _mapped():
                return waiting.result()
        except CancelledError:
            raise Unavailable(_CLOSED) from None
        finally:
            self._waiting.discard(waiting)

    async def _served(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work, unless no server is there: where operations have a time limit (``timeoutMS``), the library
        waits so long for a server too, whatever ``serverSelectionTimeoutMS`` says.
        """
        doing = asyncio.ensure_future(work)
        try:
            while True:
                await asyncio.wait((doing,), timeout=self._selection_s)
                if doing.done():
                    return doing.result()
                if not self._client.topology_description.has_writable_server():
                    raise ServerSelectionTimeoutError(f"no server that takes writes in {self._selection_s:g} s")
        finally:
            doing.cancel()

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._closing:
            if self._closed:
                work.close()
                raise Unavailable(_CLOSED)
            waiting = asyncio.run_coroutine_threadsafe(self._served(work), self._loop)
            self._waiting.add(waiting)
            return waiting


def _documents(rows: Sequence[tuple[str, str, str, bytes]], due: dict[tuple[str, str, str], int], place: int) -> _Batch:
    """Return the writes of documents, by collection. What is put again keeps its place."""
    writes: _Batch = defaultdict(list)
    for n, (merchant, collection, id, json) in enumerate(rows, place):
        values: _Json = {"merchant": merchant, "id": id, "json": json, **_end(due, merchant, collection, id)}
        update = {"$set": values, "$setOnInsert": {"place": Int64(n)}}
        writes[collection].append(UpdateOne({"_id": _id(merchant, id)}, update, upsert=True))
    return writes


def _entries(keys: Iterable[tuple[str, str, str, int, str]], due: dict[tuple[str, str, str], int]) -> _Batch:
    """Return the writes of entries, by collection."""
    writes: _Batch = defaultdict(list)
    for merchant, collection, key, at, id in keys:
        values: _Json = {"merchant": merchant, "key": key, "at": Int64(at), "id": id}
        update = {"$set": {**values, **_end(due, merchant, collection, id)}}
        name = blake2b(msgspec.msgpack.encode((merchant, key, at, id)), digest_size=16).digest()
        writes[collection + ENTRIES].append(UpdateOne({"_id": name}, update, upsert=True))
    return writes


def _end(due: dict[tuple[str, str, str], int], merchant: str, collection: str, id: str) -> _Json:
    at = due.get((merchant, collection, id))
    return {} if at is None else {"ends": _date(at)}


def _superseded(name: str, after: int | None) -> Superseded:
    return Superseded(f"{name} is no longer at {after}: another process went on")


def _date(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)


def _id(merchant: str, id: str) -> str:
    """Return a document's ``_id``: no merchant's name holds a slash."""
    return f"{merchant}/{id}"


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise BadInput(f"MongoDB: {error}", field="documents", expected="mongodb://host:port/database") from error
    except (PyMongoError, OSError) as error:
        raise Unavailable(f"documents in MongoDB: {error}; check that the server runs and lets us in") from error
