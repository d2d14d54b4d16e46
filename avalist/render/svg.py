"""Plots as inline SVG, coloured by the page's style sheet so that they follow light and dark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from avalist.render.blocks import Bars, Chart, Format, Series
from avalist.render.numbers import day, money, percent, shown
from avalist.render.tree import Element, element

WIDTH, HEIGHT = 480.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 30.0, 46.0
_BAR: Final = 26.0
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_LETTER: Final = 7.2
"""About the width of a letter at 13 px."""


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about `wanted` of them.

    >>> ticks(0.0, 0.052)
    [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]
    """
    rough = max(high - low, 1e-12) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * 0.9)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Frame:
    """From data to the picture."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - _TOP - _BOTTOM)


def chart(chart: Chart) -> Element:
    """Draw a chart. Values that are not numbers leave gaps."""
    frame = _frame(chart)
    parts = [*_shade(chart, frame), *_axes(chart, frame), *_level(chart, frame)]
    for series in chart.series:
        parts += _series(series, frame)
    for mark in chart.marks:
        parts += _mark(frame.x(mark.x), frame.y(mark.y), mark.label)
    parts += _legend(chart)
    return _picture(chart.title, HEIGHT, parts)


def bars(plot: Bars) -> Element:
    """Draw horizontal bars with their names above them."""
    longest, parts = max(plot.values, default=1.0) or 1.0, []
    row = _BAR + 16.0
    for i, (label, value) in enumerate(zip(plot.labels, plot.values, strict=True)):
        top, width = i * row, value / longest * (WIDTH - 80.0)
        parts += [
            element("text", label, x=0, y=top + 13),
            element("rect", x=0, y=top + 18, width=max(width, 1.0), height=_BAR - 10, cls="n1"),
            element("text", shown(value, plot.format), x=width + 7, y=top + 31, cls="m"),
        ]
    return _picture(plot.title, row * len(plot.labels) + 4, parts)


def _picture(title: str, height: float, parts: list[Element]) -> Element:
    return element("svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", **{"aria-label": title})


def _numbers(chart: Chart) -> tuple[list[float], list[float]]:
    xs = [x for s in chart.series for x in s.x] + [m.x for m in chart.marks]
    ys = [y for s in chart.series for values in (s.y, s.low, s.high) for y in values] + [m.y for m in chart.marks]
    ys += [chart.level[0]] if chart.level else []
    return [x for x in xs if math.isfinite(x)] or [0.0], [y for y in ys if math.isfinite(y)] or [0.0]


def _frame(chart: Chart) -> _Frame:
    xs, ys = _numbers(chart)
    low, high = min(ys), max(ys)
    if chart.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.06 or max(abs(high) * 0.5, 1e-6)
    bottom = low if low == 0.0 and chart.zero else low - room
    left, right = min(xs), max(xs)
    widen = (right - left) * 0.03 if any(s.style == "points" for s in chart.series) else 0.0
    return _Frame(left - widen, right + widen if right > left else left + 1.0, bottom, high + room)


def _axes(chart: Chart, frame: _Frame) -> list[Element]:
    parts: list[Element] = []
    for tick in ticks(frame.y0, frame.y1):
        y = frame.y(tick)
        parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, cls="g"))
        label = _tick(tick, chart.y_format, chart.currency)
        parts.append(element("text", label, x=_LEFT - 7, y=y + 4, text_anchor="end"))
    floor = HEIGHT - _BOTTOM
    parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=floor, y2=floor, cls="a"))
    for value, label in chart.x_ticks or _x_ticks(chart, frame):
        x = frame.x(value)
        parts.append(element("line", x1=x, x2=x, y1=floor, y2=floor + 4, cls="a"))
        middle = min(x, WIDTH - len(label) * _LETTER / 2)  # the last label stays inside
        parts.append(element("text", label, x=middle, y=floor + 18, text_anchor="middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(element("text", chart.x_label, x=middle, y=HEIGHT - 6, text_anchor="middle"))
    parts.append(element("text", chart.y_label, x=0, y=14))
    return parts


def _x_ticks(chart: Chart, frame: _Frame) -> list[tuple[float, str]]:
    if chart.x_format != "date":
        return [(t, _tick(t, chart.x_format, chart.currency)) for t in ticks(frame.x0, frame.x1)]
    day_ms = 86_400_000.0
    first, last = math.ceil(frame.x0 / day_ms), math.floor(frame.x1 / day_ms)
    step = max(math.ceil((last - first) / 4), 1)
    return [(n * day_ms, day(n * day_ms)) for n in range(first + (last - first) % step // 2, last + 1, step)]


def _tick(value: float, format: Format, currency: str) -> str:
    if format == "percent":
        return percent(round(value, 10))
    if format == "money":
        whole = money(value, currency).removesuffix(f" {currency}").replace(",", "")
        return _compact(float(whole))
    return f"{value:g}" if abs(value) < 10_000 else _compact(value)


def _compact(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _shade(chart: Chart, frame: _Frame) -> list[Element]:
    if chart.shade is None:
        return []
    low, high, label = chart.shade
    left, right = frame.x(max(low, frame.x0)), frame.x(min(high, frame.x1))
    box = element("rect", x=left, y=_TOP, width=max(right - left, 0.0), height=HEIGHT - _TOP - _BOTTOM, cls="s")
    anchor = "end" if right - left < len(label) * _LETTER + 8 else "start"
    return [box, element("text", label, x=right - 4 if anchor == "end" else left + 5, y=_TOP + 14, text_anchor=anchor)]


def _level(chart: Chart, frame: _Frame) -> list[Element]:
    if chart.level is None:
        return []
    y, label = frame.y(chart.level[0]), chart.level[1]
    line = element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, cls="a d")
    return [line, element("text", label, x=_LEFT + 5, y=y - 5)]


def _series(series: Series, frame: _Frame) -> list[Element]:
    runs, k = _runs(series, frame), series.colour
    if series.style == "points":
        return _points(series, frame)
    dash = " d" if series.style == "dashed" else ""
    band = [element("polygon", points=_band(series, frame), cls=f"b n{k}")] if series.low else []
    return band + [element("polyline", points=" ".join(run), cls=f"l k{k}{dash}") for run in runs if len(run) > 1]


def _runs(series: Series, frame: _Frame) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if math.isfinite(y):
            runs[-1].append(f"{frame.x(x):.1f},{frame.y(y):.1f}")
        elif runs[-1]:
            runs.append([])
    return runs


def _band(series: Series, frame: _Frame) -> str:
    ends = [(x, a, b) for x, a, b in zip(series.x, series.low, series.high, strict=True) if math.isfinite(a + b)]
    there = [f"{frame.x(x):.1f},{frame.y(high):.1f}" for x, _, high in ends]
    back = [f"{frame.x(x):.1f},{frame.y(low):.1f}" for x, low, _ in reversed(ends)]
    return " ".join(there + back)


def _points(series: Series, frame: _Frame) -> list[Element]:
    parts, k = [], series.colour
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not math.isfinite(y):
            continue
        if series.low and math.isfinite(series.low[i] + series.high[i]):
            ends = {"y1": frame.y(series.low[i]), "y2": frame.y(series.high[i])}
            parts.append(element("line", x1=frame.x(x), x2=frame.x(x), **ends, cls=f"l k{k}"))
        parts.append(element("circle", cx=frame.x(x), cy=frame.y(y), r=4, cls=f"n{k}"))
    return parts


def _mark(x: float, y: float, label: str) -> list[Element]:
    left = x + len(label) * _LETTER + 10 > WIDTH
    place = {"x": x - 8 if left else x + 8, "y": y + 18}
    return [
        element("circle", cx=x, cy=y, r=5, cls="n2"),
        element("text", label, **place, text_anchor="end" if left else "start", cls="m"),
    ]


def _legend(chart: Chart) -> list[Element]:
    if len(chart.series) < 2:
        return []
    parts, x = [], WIDTH - _RIGHT
    for series in reversed(chart.series):
        parts.append(element("text", series.name, x=x, y=14, text_anchor="end", cls=f"n{series.colour}"))
        x -= len(series.name) * _LETTER + 16
    return parts
