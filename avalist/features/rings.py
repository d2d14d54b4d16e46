"""Rings: how many keys hang together, by links that are declared strong, such as account, card and device.

An event links the keys that it names, each with the next one. Components are kept by union-find, by size and without
path compression, so a look-up changes nothing and takes log₂ LARGEST_RING steps at most. It cannot forget, so there are
two *generations*: each begins empty and lives for two periods; events go into both, the older one is read. So links of
the last one to two periods count.

A component never grows beyond LARGEST_RING: a link that would make it larger is ignored. A key that has joined
BLOCKED_LINKS components is no identity but a place where many meet, and links no more. A link is as old as its event's
arrival, and links count in order of ``seq``.

A generation is one array: a head, a directory of hash tables that grow alone, then the tables, of
``[key, parent's key, size << 32 | links]``. Size counts at the root only.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.row import AT, KIND, MISSING
from avalist.domain.schema import DAY_MS
from avalist.features.arena import mix
from avalist.features.declare import ACTIVITY
from avalist.features.jit import jit, jit_inline
from avalist.features.layout import I64
from avalist.features.tables import Ring

PERIOD_MS: Final = 90 * DAY_MS
LARGEST_RING: Final = 1024
BLOCKED_LINKS: Final = 64

_BUMP, _WIDEST, _PERIOD, _FREE = range(4)
_CLASSES: Final = 40
_DIRECTORY: Final = _FREE + _CLASSES
_TABLES: Final = 256
_OFFSET, _CAP, _COUNT = range(3)
_HEAD: Final = _DIRECTORY + 3 * _TABLES
_KEY, _PARENT, _SIZE = range(3)
_NODE: Final = 3
_FIRST_CAP: Final = 8
_LINKS: Final = (1 << 32) - 1
_ONE: Final = 1 << 32


class Rings:
    """One merchant's rings, as its plan declares them. One writer at a time."""

    def __init__(self, rings: tuple[Ring, ...]) -> None:
        self._links = [np.array(ring.links, dtype=np.int64) for ring in rings]
        self._told = [np.array(ring.told, dtype=np.int64).reshape(-1, 2) for ring in rings]
        self.generations = [_empty(-(2**62)) for _ in range(2 * len(rings))]
        """int64 arrays, the older and the younger one of each ring."""

    def fold(self, rows: I64) -> None:
        """Fill the words of widened rows that tell of rings, each as of before its event, and fold the events."""
        for n, (links, told) in enumerate(zip(self._links, self._told, strict=True)):
            done = 0
            while done < len(rows):
                older, younger = self.generations[2 * n : 2 * n + 2]
                done = link(rows, done, links, told, older, younger)
                if done < len(rows):
                    self._make_way(n, int(rows[done, AT]) // PERIOD_MS)

    def _make_way(self, n: int, period: int) -> None:
        """Begin a period, or else make room."""
        older, younger = self.generations[2 * n : 2 * n + 2]
        if younger[_PERIOD] != period:
            older = younger if younger[_PERIOD] == period - 1 else _empty(period)
            self.generations[2 * n : 2 * n + 2] = older, _empty(period)
        else:
            self.generations[2 * n : 2 * n + 2] = _roomier(older), _roomier(younger)

    def canonical(self) -> list[I64]:
        """Return what later events could see: the nodes of each generation, int64 [nodes, 3], sorted by key."""
        return [nodes[np.argsort(nodes[:, _KEY])] for nodes in map(_nodes, self.generations)]


def _empty(period: int) -> I64:
    words = np.zeros(_HEAD + _TABLES * _FIRST_CAP * _NODE, dtype=np.int64)
    words[_BUMP], words[_WIDEST], words[_PERIOD] = len(words), _FIRST_CAP, period
    words[_DIRECTORY:_HEAD:3] = _HEAD + np.arange(_TABLES) * _FIRST_CAP * _NODE
    words[_DIRECTORY + _CAP : _HEAD : 3] = _FIRST_CAP
    return words


def _roomier(words: I64) -> I64:
    return np.concatenate([words, np.zeros(len(words), dtype=np.int64)])


@jit
def link(rows: I64, start: int, links: I64, told: I64, older: I64, younger: I64) -> int:
    """Tell and fold ``rows[start:]``; return the index after the last one: a period or an array ends before the next.

    `links` int64 [k] are the places of keys in a row, `told` int64 [m, 2] those of words with the link they tell of.
    """
    nodes = np.empty(len(links), dtype=np.int64)
    for n in range(start, len(rows)):
        row = rows[n]
        if younger[_PERIOD] != row[AT] // PERIOD_MS:
            return n
        if not (roomy(older, len(links)) and roomy(younger, len(links))):
            return n
        for i in range(len(links)):
            nodes[i] = node_of(row[links[i]], i)
        for i in range(len(told)):
            row[told[i, 0]] = size_of(older, nodes[told[i, 1]])
        if (1 << row[KIND]) & ACTIVITY:
            join(older, nodes)
            join(younger, nodes)
    return len(rows)


@jit_inline
def node_of(key: int, which: int) -> int:
    """Return a key's node: links of different kinds have different ones; 0 of a missing key."""
    if key == 0:
        return 0
    node = np.int64(mix(np.uint64(key) + mix(np.uint64(which + 1))))
    return int(node) if node != 0 else 1


@jit_inline
def roomy(words: I64, nodes: int) -> bool:
    """Tell whether so many nodes fit, though each made a table grow."""
    return bool(words[_BUMP] + nodes * 4 * _NODE * words[_WIDEST] <= len(words))


@jit_inline
def slot_of(words: I64, node: int) -> int:
    """Return where a node stands, or where it would."""
    u = np.uint64(node)
    table = _DIRECTORY + 3 * np.int64(u >> np.uint64(56))
    base, mask = words[table + _OFFSET], words[table + _CAP] - 1
    i = np.int64(u & np.uint64(0x7FFFFFFF)) & mask
    while words[base + _NODE * i] != node and words[base + _NODE * i] != 0:
        i = (i + 1) & mask
    return int(base + _NODE * i)


@jit_inline
def root_of(words: I64, node: int) -> int:
    """Return where the root of a node stands that is there."""
    at = slot_of(words, node)
    while words[at + _PARENT] != words[at]:
        at = slot_of(words, words[at + _PARENT])
    return at


@jit_inline
def size_of(words: I64, node: int) -> int:
    """Return how many nodes hang together with one, itself included; MISSING where it is not there."""
    if node == 0 or words[slot_of(words, node)] == 0:
        return MISSING
    return int(words[root_of(words, node) + _SIZE] >> 32)


@jit_inline
def join(words: I64, nodes: I64) -> None:
    """Add the nodes of an event that are not there, and link each with the next one; 0 is none, as is a blocked one."""
    before = 0
    for node in nodes:
        if node != 0 and words[slot_of(words, node)] == 0:
            add(words, node)
    for node in nodes:
        if node != 0 and words[slot_of(words, node) + _SIZE] & _LINKS < BLOCKED_LINKS:
            if before != 0:
                unite(words, before, node)
            before = node


@jit_inline
def unite(words: I64, a: int, b: int) -> None:
    """Link two nodes: the root of the larger component becomes that of both, of the lower key where they are equal."""
    low, high = root_of(words, a), root_of(words, b)
    sizes = (words[low + _SIZE] >> 32) + (words[high + _SIZE] >> 32)
    if low == high or sizes > LARGEST_RING:
        return
    small, large = words[low + _SIZE] >> 32, words[high + _SIZE] >> 32
    if small > large or (small == large and words[low] < words[high]):
        low, high = high, low
    words[low + _PARENT] = words[high]
    words[high + _SIZE] = sizes << 32 | (words[high + _SIZE] & _LINKS)
    words[slot_of(words, a) + _SIZE] += 1
    words[slot_of(words, b) + _SIZE] += 1


@jit_inline
def add(words: I64, node: int) -> None:
    """Add a node that stands alone."""
    table = _DIRECTORY + 3 * np.int64(np.uint64(node) >> np.uint64(56))
    if words[table + _COUNT] * 5 >= words[table + _CAP] * 3:
        grow(words, int(table))
    at = slot_of(words, node)
    words[at], words[at + _PARENT], words[at + _SIZE] = node, node, _ONE
    words[table + _COUNT] += 1


@jit_inline
def grow(words: I64, table: int) -> None:
    """Give a table twice the room; its old room is for another one that grows."""
    base, cap = words[table + _OFFSET], words[table + _CAP]
    size = 2 * cap * _NODE
    fresh = words[_FREE + class_of(2 * cap)]
    if fresh != 0:
        words[_FREE + class_of(2 * cap)] = words[fresh]
    else:
        fresh = words[_BUMP]
        words[_BUMP] += size
    words[fresh : fresh + size] = 0
    words[table + _OFFSET], words[table + _CAP] = fresh, 2 * cap
    for old in range(base, base + _NODE * cap, _NODE):
        if words[old] != 0:
            at = slot_of(words, words[old])
            for w in range(_NODE):
                words[at + w] = words[old + w]
    words[base] = words[_FREE + class_of(cap)]
    words[_FREE + class_of(cap)] = base
    words[_WIDEST] = max(words[_WIDEST], 2 * cap)


@jit_inline
def class_of(cap: int) -> int:
    """Return the free list of a table of `cap` nodes, a power of two."""
    found = 0
    while cap > 1:
        cap >>= 1
        found += 1
    return found


@jit
def _nodes(words: I64) -> I64:
    """Return the nodes of a generation as they stand, int64 [nodes, 3]."""
    found = np.empty((words[_DIRECTORY + _COUNT : _HEAD : 3].sum(), _NODE), dtype=np.int64)
    n = 0
    for table in range(_DIRECTORY, _HEAD, 3):
        base = words[table + _OFFSET]
        for at in range(base, base + _NODE * words[table + _CAP], _NODE):
            if words[at] != 0:
                found[n] = words[at : at + _NODE]
                n += 1
    return found
