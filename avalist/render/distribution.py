"""How a feature's values are distributed, fraud against honest: as a page, and as bars in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.features.declare import Feature
from avalist.features.words import in_words, unit
from avalist.render.blocks import Chart, Page, Series, Table, Text
from avalist.render.numbers import count, measured, percent

_WIDEST: Final = 30
_WHOLE: Final = 12
"""So many different values or fewer are shown one by one."""
_BINS: Final = 12


@dataclass(frozen=True, eq=False)
class Distribution:
    """Values of one feature by group: `labels` of the bins, and `shares` float64 [groups, bins] of what is known.

    `sizes` are the payments of each group, `unknown` the share of them without a value.
    """

    labels: tuple[str, ...]
    shares: npt.NDArray[np.float64]
    sizes: tuple[int, ...]
    unknown: tuple[float, ...]


GROUPS: Final = ("honest so far", "fraud")


def distribution(
    values: npt.NDArray[np.float32], fraud: npt.NDArray[np.bool_], feature: Feature, currency: str
) -> Distribution:
    """Return how a feature's values are distributed among honest payments and frauds; NaN is unknown.

    Few different values stand by themselves; others in bins that hold about as many payments each.
    """
    known = ~np.isnan(values)
    edges, labels = _bins(values[known].astype(np.float64), unit(feature), currency)
    shares, sizes, unknown = [], [], []
    for group in (~fraud, fraud):
        held = np.searchsorted(edges, values[group & known].astype(np.float64), side="right") - 1
        shares.append(np.bincount(held, minlength=len(labels)) / max(len(held), 1))
        sizes.append(int(group.sum()))
        unknown.append(float((group & ~known).sum() / max(group.sum(), 1)))
    return Distribution(labels, np.array(shares).reshape(2, -1), tuple(sizes), tuple(unknown))


def _bins(values: npt.NDArray[np.float64], unit: str, currency: str) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return where bins begin, and their labels."""
    different = np.unique(values)
    if len(different) <= _WHOLE:
        return different, tuple(measured(value, unit, currency) for value in different.tolist())
    edges = np.unique(np.quantile(values, np.arange(_BINS) / _BINS, method="lower"))
    ends = [*edges[1:].tolist(), float(different[-1])]
    pairs = zip(edges.tolist(), ends, strict=True)
    return edges, tuple(f"{measured(low, unit, currency)} to {measured(high, unit, currency)}" for low, high in pairs)


def lines(found: Distribution) -> list[str]:
    """Return bars for a terminal, one line a bin and group."""
    longest = float(found.shares.max(initial=0.0)) or 1.0
    width = max((len(label) for label in found.labels), default=0)
    shown = []
    for bin, label in enumerate(found.labels):
        for group, mark in enumerate("░█"):
            share = float(found.shares[group, bin])
            name = label if group == 0 else ""
            shown.append(f"{name:>{width}}  {mark * round(share / longest * _WIDEST)} {percent(share)}")
    return shown


def page(found: Distribution, feature: Feature, about: str) -> Page:
    """Return a page with the plot, the figures, and what is unknown."""
    places = tuple(float(n) for n in range(len(found.labels)))
    series = tuple(
        Series(name=name, x=places, y=tuple(found.shares[group].tolist()), style="points", colour=group + 1)
        for group, name in enumerate(GROUPS)
    )
    plot = Chart(
        title=f"{in_words(feature)}: share of payments by value",
        x_label="value, low to high: see the table",
        y_label="share of those with a value",
        series=series,
        y_format="percent",
        x_ticks=tuple((place, str(n + 1)) for n, place in enumerate(places)),
    )
    rows = tuple(
        (str(n + 1), label, percent(float(found.shares[0, n])), percent(float(found.shares[1, n])))
        for n, label in enumerate(found.labels)
    )
    rows += (("", "unknown", percent(found.unknown[0]), percent(found.unknown[1])),)
    counted = tuple(f"{name}: {count(size)}" for name, size in zip(GROUPS, found.sizes, strict=True))
    table = Table(
        ("", "value", *counted),
        rows,
        text_columns=2,
        caption="unknown is a share of all, the rest of those with a value",
    )
    return Page(feature.name, about, (Text(f"{in_words(feature)}.", "lead"), plot, table))
