"""How a compiled plan is laid out: the columns of its tables, the cells that the kernel computes in, the ops."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PLACE: Final = 2**40 - 1
"""Masks places that were read from memory: the compiler then knows that they count from an array's begin, not its end.
"""
MAX_TILES: Final = 128
"""Tiles a stream may hold; a window has at most MAX_TILES − 2 steps."""

# What a column computes from cells. COPY: a. SCALE: a·p. MEAN: a₁/a₀·p. FRAUD_MEAN: a₂/a₁·p.
# RATE: (a₁ + p·b)/(a₀ + p), with q for b where that is unknown. RATIO: a/b. LEAST: 0 − a·p. SPEED: of a list's cells.
COPY, SCALE, MEAN, FRAUD_MEAN, RATE, RATIO, LEAST, SPEED = range(8)
OPERANDS: Final = {MEAN: 2, FRAUD_MEAN: 3, RATE: 2, SPEED: 3}
"""Cells from an operand on that an op computes with; else one."""

# columns of the entity table; E_BUSY: words of a busy key's header; E_CELLS: where its ENTITY_CELLS stand
E_FORM, E_A, E_B, E_SALT, E_STREAMS, E_STREAMS_END, E_DISTINCTS, E_DISTINCTS_END = range(8)
E_RECORDS, E_RECORDS_END, E_EVENT, E_DEPTH, E_FEEDS, E_FEEDS_END, E_BUSY, E_CELLS = range(8, 16)
BASE, PAIR, CONSTANT = range(3)
# columns of the feed table: what streams that differ in their step alone are fed with; F_PLACE is where an event that
# is kept holds the value
F_KINDS, F_VALUE, F_LABELS, F_PLACE, F_STREAMS, F_STREAMS_END, F_READS, F_READS_END = range(8)
# columns of the stream table: what is stored; S_CLOCK is the deepest of the windows read from it
S_ENTITY, S_KINDS, S_VALUE, S_CLOCK, S_LABELS, S_READS, S_READS_END, S_PLACE = range(8)
# columns of the table of reads: a window of a stream; R_SCAN: a maximum or a run of frauds is asked, not sums alone;
# R_CACHE: where a busy header keeps it; R_CELLS: where its READ_CELLS stand; R_OWN: those with the own event, or −1
R_STREAM, R_CLOCK, R_SCAN, R_CACHE, R_CELLS, R_OWN, R_STEP, R_GAP = range(8)
# columns of the clock table: the windows of all reads and lists, each once, then those of each entity; C_STEPS: how
# many steps such a window has, −1 where that is not whole; C_PLACE: which of the former it is
C_STEP, C_WINDOW, C_LAG, C_STEPS, C_PLACE = range(5)
# columns of the distinct table
D_ENTITY, D_OF, D_KINDS, D_WINDOW, D_PLACE, D_COUNTS, D_COUNTS_END = range(7)
# columns of the table of the windows read from distinct sets; K_CACHE: where a busy header keeps [since, count]
K_WINDOW, K_STEP, K_CELL, K_CACHE = range(4)
# columns of the table of what an entity's events keep besides time and kind: values and keys of other entities
X_ELEMENT, X_INDEX = range(2)
RECORDED: Final = 2
"""Where they begin in an event."""
# columns of the node table: a column's cell and its operands'
N_CELL, N_A, N_B = range(3)
# columns of the table of runs of nodes with one op, in the order of evaluation
U_OP, U_FIRST, U_END = range(3)
# columns of the table of stages: what is read of an event before its columns are computed, its entity (−1: the row
# alone) with the clocks of that; then the columns that are known by now, and the cells taken from and kept for others.
# Behind them all as one stage, for events that go one by one
(
    G_ENTITY, G_CLOCKS, G_CLOCKS_END, G_RUNS, G_RUNS_END, G_NODES, G_NODES_END, G_TAKEN, G_TAKEN_END, G_KEPT,
    G_KEPT_END, G_VARIANCES, G_VARIANCES_END, G_COLUMN, G_COLUMN_END,
) = range(15)  # fmt: skip
# columns of the table of cells that a stage takes or keeps: the cell, and its place among those kept of an event
O_CELL, O_PLACE = range(2)
# columns of the table of lists of an entity's latest events; L_PLACE: as F_PLACE; L_LIST: where a busy header keeps it
L_ENTITY, L_KINDS, L_VALUE, L_PLACE, L_CLOCK, L_LENGTH, L_CELLS, L_LIST = range(8)
# columns of the table of variances: where it stands, and the cells of count and sum of x and of its squares' two limbs
V_CELL, V_X, V_HIGH, V_LOW = range(4)
# columns of the table of words that a row was widened by, and that columns read
W_PLACE, W_CELL = range(2)
# columns of the table of words that rows are widened by (:mod:`avalist.features.widen`): op, operands' places, the
# amounts from which and below which an event counts, and two parameters
M_OP, M_A, M_B, M_FROM, M_BELOW, M_P, M_Q = range(7)
# its ops. PLACED packs latitude and longitude, of p and q decimals. JOINED mixes two keys. EMPTY: the ring q fills it
# for its link p
WITHIN, NEGATED, SQUARE_HIGH, SQUARE_LOW, PLACED, JOINED, EMPTY = range(7)
WIDTHS: Final = {
    "entities": 16, "clocks": 5, "feeds": 8, "streams": 8, "reads": 8, "distincts": 7, "counts": 4, "records": 2,
    "nodes": 3, "runs": 3, "lists": 8, "variances": 4, "told": 2, "stages": 15, "handed": 2,
}  # fmt: skip
MADE_WIDTH: Final = 7

ENTITY_CELLS: Final = 3
"""Known, seconds since its last payment, seconds since first seen."""
READ_CELLS: Final = 6
"""Count, sum, maximum; or captured, frauds, their amount, seconds since the latest, clean, since the run's first."""
OWN_CELLS: Final = 3
LIST_CELLS: Final = 5
"""Of the latest events: how many, their sum, the first of them, seconds since it, and the event's own value."""
CACHE: Final = 8
"""Words of a busy key's running window: see :mod:`avalist.features.tiles`."""
SCANNED_CACHE: Final = 12
COUNT_CACHE: Final = 2
HEADER: Final = 5
"""Words of every key's block before its events or streams."""
