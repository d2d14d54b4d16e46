"""The log in one partition of a Kafka topic; ADR 8 tells why it is made so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from queue import SimpleQueue

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from avalist.adapters.kafka.errors import mapped, translated
from avalist.adapters.kafka.outbox import BATCHING
from avalist.adapters.kafka.reading import CURSOR, PLACE, Client, Reading, offset_of
from avalist.domain.errors import AvalistError, LogFailed, NotFound, Unavailable
from avalist.domain.records import Record, decode_record, encode_record

_WRITING = {
    "enable.idempotence": True,
    "acks": "all",
    # What reaches the log is then a prefix of what was produced: a message that times out would leave a hole.
    "enable.gapless.guarantee": True,
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": 0,
}
Wrap = Callable[[bytes], bytes]
_POLL_S = 0.1
_RECENT_BYTES = 64 << 20
_LITTLE = 64


class Writers:
    """Producers for logs that will be opened, so many of them made beforehand: until brokers gave a new one its number,
    half a second may pass.
    """

    def __init__(self, client: Client, count: int) -> None:
        self._client = {**BATCHING, **client, **_WRITING}
        self._spare: SimpleQueue[Producer] = SimpleQueue()
        for _ in range(count):
            self._spare.put(self._new())

    def take(self) -> Producer:
        """Return one, and make another."""
        self._spare.put(self._new())
        return self._spare.get()

    def close(self) -> None:
        """Release those that no log took."""
        while not self._spare.empty():
            self._spare.get().close()

    def _new(self) -> Producer:
        with translated("log"):
            return Producer(self._client)


class KafkaLog(Reading):
    """A log in one partition; a position is an offset. Some offsets hold no record of ours.

    ``append`` hands records to the client library, whose own thread sends them; ``sync`` waits for the brokers to
    acknowledge (``acks=all``). How much a crash can take is the topic's matter: its replication and
    ``min.insync.replicas``.

    *One writer.* Opening writes a mark, and a record carries the offset that its writer meant it to have: the one after
    its last. A record that stands elsewhere does not count, for any reader, and its writer fails when it is told where
    it stands. So the mark of a new writer ends the turn of every other: what those append later is shifted by it, is
    never acknowledged and never read.

    *A broker that stands still* blocks ``sync`` up to `timeout_s`, then the log fails. What was on its way may still
    arrive: a prefix of what was appended.

    Parameters
    ----------
    client
        Settings of librdkafka that both producer and consumer share: ``bootstrap.servers``, security, logging.
    topic, partition
        Where the log lies; the topic exists, and is not compacted.
    timeout_s
        How long to wait for brokers: on opening, in ``sync``, and for each record read.
    producer
        One of :class:`Writers`; without it, a new one.
    wrap
        What encrypts sealed parts once more, for the topic keeps them for ever; readers get them as they stand there.

    Attributes
    ----------
    cursor
        The next input that is not in the log yet: all before it stand in the records so far, or made none. Whoever
        reads inputs sets it before it appends; it is written with every record. On opening: that of the last record.
    epoch
        The offset of this writer's mark: that of a later writer is higher.

    Raises
    ------
    NotFound
        On opening, if there is no such partition; on reading, for a position that retention deleted.
    LogCorrupt
        On reading, for a record that does not check out.
    LogFailed
        For every other error of Kafka, and from every method but ``close`` after a failed ``append`` or ``sync`` or
        when closed: memory is ahead of the log, and only a new opening helps.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        partition: int = 0,
        *,
        timeout_s: float = 60.0,
        producer: Producer | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        super().__init__(client, topic, partition, timeout_s)
        # Payloads by position: appended and not yet acknowledged; acknowledged, from a position on without a gap.
        self._unsynced: dict[int, bytes] = {}
        self._recent: dict[int, bytes] = {}
        self._recent_bytes = 0
        self._memory = threading.Lock()
        self._refusal = ""
        self._end = self._durable_end = 0
        self._wrap = wrap
        self._producer = producer or Writers(client, 0).take()
        try:
            self.check_partition_exists()
            self.epoch = self._take_over()
            self._end = self._durable_end = self._recent_from = self.epoch + 1
            self.cursor = self.cursor_before(self.epoch)
        except BaseException:
            self._release()
            raise

    @property
    def end(self) -> int:
        """Return the position after the last appended record."""
        return self._end

    @property
    def durable_end(self) -> int:
        """Return the position up to which the brokers acknowledged everything."""
        return self._durable_end

    @property
    def near(self) -> int:
        """Return the position from which on every record is at hand in memory."""
        return self._recent_from

    def append(self, records: Sequence[Record]) -> list[int]:
        """Append records in memory, from where they are sent, and return their positions."""
        try:
            payloads = [encode_record(self._wrapped(record)) for record in records]
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError, Unavailable) as error:
            raise self._fail(f"a record cannot be encoded: {error}") from error
        with self._memory:
            self._check_open()
            start = self._end
            try:
                for record, payload in zip(records, payloads, strict=True):
                    self._produce(record.merchant, payload, self._end)
            except AvalistError as error:
                raise self._fail(str(error)) from error
            return list(range(start, self._end))

    def sync(self) -> int:
        """Wait until everything appended before the call is acknowledged; return ``durable_end``."""
        self._check_open()
        target = self._end
        try:
            self._wait(lambda: self._durable_end >= target)
        except AvalistError as error:
            raise self._fail(str(error)) from error
        return self._durable_end

    def write_cursor(self) -> None:
        """Append the cursor by itself, which is no record: a new writer need not read again what made none since."""
        with self._memory:
            self._check_open()
            try:
                self._produce("", None, self._end)
            except AvalistError as error:
                raise self._fail(str(error)) from error

    def remember(self, count: int) -> None:
        """Read the newest records into memory, to be found there by those who ask again."""
        first, _ = self.bounds()
        start = max(self.epoch - count, first)
        newest = {offset_of(message): message.value() or b"" for message in self.counted(start, self.epoch)}
        with self._memory:
            self._recent, self._recent_from = {**newest, **self._recent}, start
            self._recent_bytes = sum(map(len, self._recent.values()))

    def settle(self, timeout_s: float = 0.0) -> int:
        """Take note of what the brokers acknowledged, after waiting so long for a word of theirs; return
        ``durable_end``. Raises as :meth:`sync`, but is patient with brokers that stand still.
        """
        with translated(self._name):
            self._producer.poll(timeout_s)
        self._check_open()
        return self._durable_end

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield ``(position, record)`` of the records in [`start`, `stop`).

        What was appended by the time of the call is read, whatever happens meanwhile.
        """
        with self._memory:
            self._check_open()
            stop = self._end if stop is None else min(stop, self._end)
            far = min(stop, self._durable_end if start < self._recent_from else start)
        return chain(self.records(start, far), self._at_hand(max(start, far), stop))

    def _at_hand(self, start: int, stop: int) -> Iterator[tuple[int, Record]]:
        """Yield what is in memory a little at a time: who looks for one record mostly wants the first two."""
        while start < stop:
            with self._memory:
                first, end = self._recent_from, min(start + _LITTLE, stop)
                held = [(at, self._recent.get(at) or self._unsynced.get(at)) for at in range(max(start, first), end)]
            yield from self.records(start, min(first, end))  # forgotten meanwhile, so brokers have it
            yield from ((at, decode_record(payload, at)) for at, payload in held if payload is not None)
            start = end

    def get(self, position: int) -> Record:
        """Return the record at `position`, synced or not: one round trip where it is. Raises ``NotFound``."""
        with self._memory:
            self._check_open()
            payload = self._unsynced.get(position) or self._recent.get(position)
            first = self._recent_from
        if payload is None:
            payload = self.payload(position) if 0 <= position < first else None
        if payload is None:
            raise NotFound(f"no record begins at position {position}")
        return decode_record(payload, position)

    def abandon(self) -> None:
        """Write nothing more, not even what was appended and not sent yet: the turn is another's."""
        self._fail("this writer gave up its turn")

    def close(self) -> None:
        """Sync, unless the log has failed, and release every resource. Closing twice is harmless."""
        if self._closed:
            return
        try:
            if not self._refusal:
                self.sync()
        finally:
            self._refusal = self._refusal or "the log is closed"
            self._release()

    # --- writing ---------------------------------------------------------------------------------------------------

    def _take_over(self) -> int:
        """Write this writer's mark, which carries no place and so is no record; return its offset."""
        reports: list[tuple[KafkaError | None, Message]] = []
        with translated(self._name):
            self._producer.produce(
                self._topic, partition=self._partition, on_delivery=lambda *report: reports.append(report)
            )
        self._wait(lambda: bool(reports))
        error, mark = reports[0]
        if error is not None:
            raise mapped(error, self._name)
        return offset_of(mark)

    def _wrapped(self, record: Record) -> Record:
        if self._wrap is None or not record.sealed:
            return record
        return msgspec.structs.replace(record, sealed=self._wrap(record.sealed))

    def _produce(self, merchant: str, payload: bytes | None, position: int) -> None:
        with translated(self._name):
            self._producer.produce(
                self._topic, payload, merchant, self._partition,
                headers=[(PLACE, _eight(position)), (CURSOR, _eight(self.cursor))],
                on_delivery=partial(self._delivered, position),
            )  # fmt: skip
        if payload is not None:
            self._unsynced[position] = payload
        self._end = position + 1

    def _delivered(self, position: int, error: KafkaError | None, message: Message) -> None:
        """Note where a record came to stand; called by the poll in ``sync``, in order."""
        if self._refusal:
            return
        if error is not None:
            self._fail(str(mapped(error, self._name)))
        elif offset_of(message) != position:
            self._fail(f"another writer took over {self._name}; this one must stop")
        else:
            with self._memory:
                self._durable_end = position + 1
                payload = self._unsynced.pop(position, None)
                if payload is not None:
                    self._remember(position, payload)

    def _remember(self, position: int, payload: bytes) -> None:
        """Keep the newest records at hand: retries and outcomes mostly ask for those."""
        self._recent[position] = payload
        self._recent_bytes += len(payload)
        while self._recent_bytes > _RECENT_BYTES:
            oldest = next(iter(self._recent))
            self._recent_bytes -= len(self._recent.pop(oldest))
            self._recent_from = oldest + 1

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + self._timeout_s
        while not reached():
            self._check_open()
            if time.monotonic() > until:
                raise LogFailed(f"{self._name}: no broker acknowledged in {self._timeout_s:g} s; start again")
            with translated(self._name):
                self._producer.poll(_POLL_S)

    def _fail(self, what: str) -> LogFailed:
        """Refuse all that comes later; what was not yet sent is dropped."""
        if not self._refusal:
            self._refusal = what
            self._producer.purge(blocking=False)
        return LogFailed(self._refusal)

    def _check_open(self) -> None:
        if self._refusal:
            raise LogFailed(self._refusal)

    def _release(self) -> None:
        with suppress(KafkaException):  # it says once more why it failed
            self._producer.purge()
            self._producer.close()
        self.close_reading()


def _eight(number: int) -> bytes:
    return number.to_bytes(8, "big")
