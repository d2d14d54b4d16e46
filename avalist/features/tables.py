"""Lays a plan's parts out as the tables that the kernel interprets (:mod:`avalist.features.layout`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Any, Final, NamedTuple

import numpy as np

from avalist.features.declare import ALL, RUN_GAP
from avalist.features.layout import (
    BASE,
    CACHE,
    CONSTANT,
    COUNT_CACHE,
    ENTITY_CELLS,
    HEADER,
    I64,
    LIST_CELLS,
    OPERANDS,
    OWN_CELLS,
    PAIR,
    READ_CELLS,
    RECORDED,
    SCANNED_CACHE,
    WIDTHS,
)  # fmt: skip

Ref = tuple[str, int, int]
"""An operand before the cells are laid out: a kind of part, the part's index, and which of its cells."""
UNKNOWN: Final[Ref] = ("unknown", 0, 0)
"""A cell that always holds NaN."""


@dataclass(frozen=True)
class Node:
    """What a column computes; `level` is above those of the columns that it reads."""

    op: int
    a: Ref
    b: Ref = UNKNOWN
    params: tuple[float, float] = (0.0, 0.0)
    level: int = 0


class Ring(NamedTuple):
    """What is linked: the places of the keys in a row, in order; and the words told of it, as (place, which key)."""

    links: tuple[int, ...]
    told: tuple[tuple[int, int], ...]


@dataclass
class Parts:
    """What a plan needs: each part once, in the order in which columns asked for it.

    Streams are (entity, labels, kinds, value, step), reads (stream, clock), distinct sets [entity, of, kinds, window],
    counts (distinct set, window, step). Reads are `scanned` for a maximum or a run, `owned` with the own event in them.
    Lists are (entity, kinds, value, clock, length), variances three (kind of part, read): of x and its squares' limbs.
    `told` are places in a row that columns read, `composites` where the keys of entities of three fields and more are.
    """

    base: list[str]
    values: int
    entities: list[str] = field(default_factory=list)
    clocks: list[tuple[int, int, int]] = field(default_factory=list)
    streams: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    distincts: list[list[int]] = field(default_factory=list)
    counts: list[tuple[int, int, int]] = field(default_factory=list)
    lists: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    variances: list[tuple[tuple[str, int], ...]] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    composites: dict[str, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    scanned: set[int] = field(default_factory=set)
    owned: set[int] = field(default_factory=set)


def lay_out(parts: Parts) -> dict[str, Any]:
    """Return the tables, each sorted by entity, and `params` and `cells`: how many there are."""
    return _Layout(parts).tables()


def pack(head: Sequence[int], tables: dict[str, Any]) -> I64:
    """Return one array of `head`, then each table's offset and rows, then the tables: a call passes one array."""
    named = [tables[name] for name in WIDTHS]
    begin = len(head) + 2 * len(named)
    offsets = accumulate((table.size for table in named), initial=begin)
    directory = [word for offset, table in zip(offsets, named, strict=False) for word in (offset, len(table))]
    return np.concatenate([np.array([*head, *directory], dtype=np.int64), *(table.ravel() for table in named)])


class _Layout:
    """Orders of the parts, and where their cells stand."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.streams = sorted(range(len(parts.streams)), key=parts.streams.__getitem__)
        self.reads = sorted(range(len(parts.reads)), key=self._read_order)
        self.distincts = sorted(range(len(parts.distincts)), key=lambda i: parts.distincts[i][0])
        self.counts = sorted(range(len(parts.counts)), key=lambda i: self.distincts.index(parts.counts[i][0]))
        self.records = [self._recorded(e) for e in range(len(parts.entities))]
        self.clocks = self._clocks()
        self.variances = sorted(range(len(parts.variances)), key=lambda i: self._entity_of_part("variance", i))
        self.cell = dict(self._cells())
        self.stages = sorted(range(len(parts.entities)), key=lambda e: (parts.entities[e] != ALL, e))
        self.of_node: list[int] = []
        for node in parts.nodes:
            self.of_node.append(max(self._stage_of(ref) for ref in (node.a, node.b)))
        self.nodes = self._nodes()
        self.kept: list[int] = []
        self.handed: list[tuple[int, int]] = []

    def _read_order(self, read: int) -> tuple[int, int]:
        stream, clock = self.parts.reads[read]
        return self.streams.index(stream), sum(self.parts.clocks[clock][1:])

    def _nodes(self) -> list[tuple[int, int, int, int]]:
        """Return (stage, level, op, node) in the order in which they are computed: by stage, then all as one."""
        whole = 1 + len(self.stages)
        ops = [(node.level, node.op, n) for n, node in enumerate(self.parts.nodes)]
        return sorted((stage, level, op, n) for level, op, n in ops for stage in (self.of_node[n], whole))

    def _clocks(self) -> list[tuple[int, int]]:
        """Return (entity, clock): each clock once as that of −1, then those of each entity."""
        found = {(self.parts.streams[stream][0], clock) for stream, clock in self.parts.reads}
        found |= {(e, clock) for e, _, _, clock, _ in self.parts.lists}
        return sorted(found | {(-1, clock) for _, clock in found}, key=self._clock_order)

    def _clock_at(self, clock: int) -> int:
        return self.clocks.index((-1, clock))

    def _clock(self, clock: int) -> tuple[int, ...]:
        step, window, lag = self.parts.clocks[clock]
        return step, window, lag, -1 if window % step else window // step, self._clock_at(clock)

    def _clock_order(self, owned: tuple[int, int]) -> tuple[int, ...]:
        step, window, lag = self.parts.clocks[owned[1]]
        return owned[0], step, lag, window

    def _entity_of_part(self, kind: str, part: int) -> int:
        """Return the entity that a part is read of, or −1."""
        parts = self.parts
        if kind in ("read", "own"):
            return self._entity_of(part)
        if kind == "count":
            return parts.distincts[parts.counts[part][0]][0]
        if kind == "variance":
            return self._entity_of_part(*parts.variances[part][0])
        if kind == "list":
            return parts.lists[part][0]
        return part if kind == "entity" else -1

    def _stage_of(self, ref: Ref) -> int:
        """Return the stage after which an operand is known: 0 after the row, then one after each entity."""
        kind, part, _ = ref
        if kind == "column":
            return self.of_node[part]
        e = self._entity_of_part(kind, part)
        return 0 if e < 0 else 1 + self.stages.index(e)

    def _stage(self, stage: int) -> tuple[int, ...]:
        """Return a stage's row, and hand over the cells that it takes and keeps."""
        e = self.stages[stage - 1] if stage else -1
        taken = self._hand(lambda made, used: made < used == stage)
        kept = self._hand(lambda made, used: made == stage < used)
        variances = [self._entity_of_part("variance", i) for i in self.variances]
        clocks = _span([of for of, _ in self.clocks], e)
        mine = [n for n, of in enumerate(self.of_node) if of == stage]
        columns = (min(mine), max(mine) + 1) if mine else (0, 0)
        return (e, *clocks, *self._computed(stage), *taken, *kept, *_span(variances, e), *columns)

    def _whole(self) -> tuple[int, ...]:
        """Return the row of all as one stage, which hands nothing over."""
        clocks, computed = _span([of for of, _ in self.clocks], -1), self._computed(1 + len(self.stages))
        return (-1, *clocks, *computed, 0, 0, 0, 0, 0, len(self.variances), 0, len(self.of_node))

    def _computed(self, stage: int) -> tuple[int, ...]:
        """Return the ranges of a stage's runs and nodes."""
        runs = [of for (of, _, _), _ in groupby(self.nodes, key=_run_of)]
        return *_span(runs, stage), *_span([of for of, *_ in self.nodes], stage)

    def _hand(self, asked: Callable[[int, int], bool]) -> tuple[int, int]:
        """Hand over operands by the stage where they are made and the one where they are used; return their range."""
        first = len(self.handed)
        cells = {
            self._at(ref) + i
            for node, used in zip(self.parts.nodes, self.of_node, strict=True)
            for ref in (node.a, node.b)
            for i in range(OPERANDS.get(node.op, 1))
            if ref != UNKNOWN and asked(self._stage_of(ref), used)
        }
        self.kept += sorted(cells - set(self.kept))
        self.handed += [(cell, self.kept.index(cell)) for cell in sorted(cells)]
        return first, len(self.handed)

    def _cells(self) -> Iterator[tuple[tuple[str, int], int]]:
        """Yield where each part's cells begin: the columns come first."""
        parts = self.parts
        widths = [
            *((("column", i), 1) for i in range(len(parts.nodes))),
            *((("value", i), 1) for i in range(parts.values)),
            (("hour", 0), 1), (("weekday", 0), 1), (UNKNOWN[:2], 1),
            *((("entity", i), ENTITY_CELLS) for i in range(len(parts.entities))),
            *((("read", i), READ_CELLS) for i in self.reads),
            *((("own", i), OWN_CELLS) for i in self.reads if i in parts.owned),
            *((("count", i), 1) for i in self.counts),
            *((("list", i), LIST_CELLS) for i in range(len(parts.lists))),
            *((("variance", i), 1) for i in range(len(parts.variances))),
            *((("told", i), 1) for i in range(len(parts.told))),
        ]  # fmt: skip
        yield from zip((part for part, _ in widths), accumulate((w for _, w in widths), initial=0), strict=False)
        yield ("end", 0), sum(width for _, width in widths)

    def _at(self, ref: Ref) -> int:
        return self.cell[ref[:2]] + ref[2]

    def tables(self) -> dict[str, Any]:
        parts = self.parts
        nodes = [(n, parts.nodes[n]) for *_, n in self.nodes]
        found = {
            "entities": [self._entity(e) for e in range(len(parts.entities))],
            "clocks": [self._clock(clock) for _, clock in self.clocks],
            "feeds": [row for e in range(len(parts.entities)) for row in self._feeds(e)],
            "streams": [self._stream(i) for i in self.streams],
            "reads": [self._read(i) for i in self.reads],
            "distincts": [self._distinct(i) for i in self.distincts],
            "counts": [self._count(i) for i in self.counts],
            "records": [record for kept in self.records for record in kept],
            "nodes": [(i, self._at(node.a), self._at(node.b)) for i, node in nodes],
            "runs": list(_runs(self.nodes)),
            "lists": [self._list(i) for i in range(len(parts.lists))],
            "variances": [self._variance(i) for i in self.variances],
            "stages": [*map(self._stage, range(1 + len(self.stages))), self._whole()],
            "handed": self.handed,
            "told": [(place, self.cell["told", i]) for i, place in enumerate(parts.told)],
        }
        return {
            **{name: np.array(rows, dtype=np.int64).reshape(-1, WIDTHS[name]) for name, rows in found.items()},
            "entity_names": tuple(parts.entities),
            "canonical": np.array([self.streams.index(i) for i in self._asked_for()], dtype=np.int64),
            "params": np.array([node.params for _, node in nodes], dtype=np.float64).reshape(-1, 2),
            "cells": self.cell["end", 0],
            "kept": len(self.kept),
        }

    def _asked_for(self) -> list[int]:
        """Return the streams of each entity in the order in which columns asked for them: digests go by it."""
        return sorted(range(len(self.streams)), key=lambda i: self.parts.streams[i][0])

    def _recorded(self, e: int) -> list[tuple[int, int]]:
        """Return what a kept event of an entity holds: (0, value), then (1, entity of the key)."""
        of_entity = [(labels, value) for of, labels, _, value, _ in self.parts.streams if of == e]
        values = {0 if labels else value for labels, value in of_entity if labels or value >= 0}
        values |= {value for of, _, value, *_ in self.parts.lists if of == e and value >= 0}
        elements = {of for entity, of, *_ in self.parts.distincts if entity == e}
        return [*((0, v) for v in sorted(values)), *((1, of) for of in sorted(elements))]

    def _place(self, e: int, labels: int, value: int) -> int:
        """Return where an event that is kept holds what a stream adds up, or −1."""
        return RECORDED + self.records[e].index((0, 0 if labels else value)) if labels or value >= 0 else -1

    def _reads_of(self, streams: Sequence[int]) -> tuple[int, int]:
        """Return the range of the reads of neighbouring streams."""
        of = [n for n, read in enumerate(self.reads) if self.parts.reads[read][0] in streams]
        return of[0], of[-1] + 1

    def _stream(self, stream: int) -> tuple[int, ...]:
        entity, labels, kinds, value, _ = self.parts.streams[stream]
        clocks = [clock for of, clock in self.parts.reads if of == stream]
        deepest = max(clocks, key=lambda c: sum(self.parts.clocks[c][1:]))
        reads = self._reads_of([stream])
        return entity, kinds, value, self._clock_at(deepest), labels, *reads, self._place(entity, labels, value)

    def _feed_of(self, stream: int) -> tuple[int, ...]:
        return self.parts.streams[stream][:4]

    def _feeds(self, e: int) -> Iterator[tuple[int, ...]]:
        of_entity = [i for i in self.streams if self.parts.streams[i][0] == e]
        for (_, labels, kinds, value), found in groupby(of_entity, key=self._feed_of):
            streams = list(found)
            first = self.streams.index(streams[0])
            ranges = first, first + len(streams), *self._reads_of(streams)
            yield kinds, value, labels, self._place(e, labels, value), *ranges

    def _entity_of(self, read: int) -> int:
        return self.parts.streams[self.parts.reads[read][0]][0]

    def _cache_words(self, read: int) -> int:
        labels = self.parts.streams[self.parts.reads[read][0]][1]
        return SCANNED_CACHE if labels and read in self.parts.scanned else CACHE

    def _cache(self, read: int | None, e: int) -> int:
        """Return where a busy header of `e` keeps a read's cache; of no read, where the header ends."""
        of_entity = [i for i in self.reads if self._entity_of(i) == e]
        before = of_entity if read is None else of_entity[: of_entity.index(read)]
        streams, distincts = ([row[0] for row in rows].count(e) for rows in (self.parts.streams, self.parts.distincts))
        return HEADER + streams + distincts + sum(map(self._cache_words, before))

    def _count(self, count: int) -> tuple[int, ...]:
        """Return a row of a window of a distinct set: the caches stand behind those of the reads."""
        distinct, window, step = self.parts.counts[count]
        e = self.parts.distincts[distinct][0]
        cache = self._cache(None, e) + COUNT_CACHE * self._counts_of(e).index(count)
        return window, step, self.cell["count", count], cache

    def _counts_of(self, e: int) -> list[int]:
        return [i for i in self.counts if self.parts.distincts[self.parts.counts[i][0]][0] == e]

    def _read(self, read: int) -> tuple[int, ...]:
        stream, clock = self.parts.reads[read]
        step, window, _ = self.parts.clocks[clock]
        return (
            self.streams.index(stream), self._clock_at(clock), read in self.parts.scanned,
            self._cache(read, self._entity_of(read)),
            self.cell["read", read], self.cell.get(("own", read), -1), step, window // (RUN_GAP * step),
        )  # fmt: skip

    def _distinct(self, distinct: int) -> tuple[int, ...]:
        entity, of, kinds, window = self.parts.distincts[distinct]
        counts = [n for n, count in enumerate(self.counts) if self.parts.counts[count][0] == distinct]
        place = RECORDED + self.records[entity].index((1, of))
        return entity, of, kinds, window, place, counts[0], counts[-1] + 1

    def _lists_at(self, e: int, before: int) -> int:
        """Return where a busy header of `e` ends that keeps its lists before one, behind all else."""
        lengths = [length for of, _, _, _, length in self.parts.lists[:before] if of == e]
        return self._cache(None, e) + COUNT_CACHE * len(self._counts_of(e)) + sum(1 + 2 * n for n in lengths)

    def _list(self, i: int) -> tuple[int, ...]:
        e, kinds, value, clock, length = self.parts.lists[i]
        place = self._place(e, 0, value)
        return e, kinds, value, place, self._clock_at(clock), length, self.cell["list", i], self._lists_at(e, i)

    def _variance(self, i: int) -> tuple[int, ...]:
        return self.cell["variance", i], *(self.cell[part] for part in self.parts.variances[i])

    def _entity(self, e: int) -> tuple[int, ...]:
        parts, name = self.parts, self.parts.entities[e]
        form, a, b = CONSTANT, 0, 0
        if name != ALL:
            of = [parts.base.index(p) for p in name.split("+")]
            form, a, b = (PAIR, of[0], of[1]) if len(of) == 2 else (BASE, parts.composites.get(name, of[0]), 0)
        salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
        streams = _span([parts.streams[i][0] for i in self.streams], e)
        distincts = _span([parts.distincts[i][0] for i in self.distincts], e)
        feeds = _span([key[0] for key, _ in groupby(self.streams, key=self._feed_of)], e)
        records = _span([of for of, kept in enumerate(self.records) for _ in kept], e)
        event = RECORDED + len(self.records[e])
        busy = self._lists_at(e, len(parts.lists))
        ends = self._depth_ms(e), *feeds, busy, self.cell["entity", e]
        return form, a, b, salt, *streams, *distincts, *records, event, *ends

    def _depth_ms(self, e: int) -> int:
        """Return the age beyond which no window of the entity sees an event."""
        ages = [sum(self.parts.clocks[c]) for s, c in self.parts.reads if self.parts.streams[s][0] == e]
        ages += [sum(self.parts.clocks[clock]) for of, _, _, clock, _ in self.parts.lists if of == e]
        return max((*ages, *(d[3] for d in self.parts.distincts if d[0] == e)), default=0)


def _span(owners: Sequence[int], e: int) -> tuple[int, int]:
    """Return the range of the rows of `e`; owners ascend."""
    first = sum(owner < e for owner in owners)
    return first, first + owners.count(e)


def _run_of(node: tuple[int, int, int, int]) -> tuple[int, int, int]:
    return node[:3]


def _runs(nodes: Sequence[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (op, first, end) of each run of nodes of one stage, level and op."""
    first = 0
    for (_, _, op), run in groupby(nodes, key=_run_of):
        end = first + len(list(run))
        yield op, first, end
        first = end
