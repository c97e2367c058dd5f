"""Plots: latency as users are added, and cost against latency, as SVG text.

Only plain points are drawn here: a closed loop over the gold set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..facts.costs import MeasuredMachine, cost
from ..facts.points import MeasuredPoint
from ..facts.prices import Price
from ..text import figures
from .drawing import Style, canvas, finite, ink, looks, mark, plain_log, say_empty, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation


@dataclass(frozen=True)
class _Label:
    text: str
    x: float
    y: float
    colour: str
    bold: bool = field(default=True)


def latency_plot(points: Sequence[MeasuredPoint], title: str, seen: str) -> str:
    """Return P95 (solid) and P50 (dotted) against users as SVG text."""
    with canvas(7.6, 4.4) as figure:
        axes = figure.subplots()
        axes.set_title("Latency by number of users (ms)", pad=12)
        axes.set_xlabel("users (closed loop, no think time)")
        ends: list[_Label] = []
        for series, look in looks(points).items():
            own = [point for point in points if point.series == series]
            _line(axes, own, look, "p50_ms", solid=False)
            drawn = _line(axes, own, look, "p95_ms", solid=True)
            if drawn:
                ends.append(_Label(look.name, *drawn[-1], look.colour))
        _scales(axes, sorted({point.users for point in points}), empty=not ends)
        _label_ends(axes, ends)
        return svg(figure, "latency", title, seen)


def cost_plot(
    points: Sequence[MeasuredPoint],
    prices: Sequence[Price],
    bench: MeasuredMachine,
    title: str,
    seen: str,
) -> str:
    """Return the cost of a million requests against P95 as SVG text, with one panel a price.

    All prices must be in one currency and fit ``bench``; only valid points are drawn.
    """
    with canvas(7.6, 0.6 + 3.7 * max(1, len(prices))) as figure:
        panels = figure.subplots(max(1, len(prices)), 1, sharex=True, squeeze=False)[:, 0]
        labels = []
        for axes, price in zip(panels, prices, strict=False):
            amount = figures.monthly(price.currency, price.monthly)
            axes.set_title(f"{price.kind}: {amount} a month, {price.name}", pad=10)
            axes.set_ylabel(f"{price.currency} per million requests")
            labels.append((axes, _cost_panel(axes, points, price, bench)))
        panels[-1].set_xlabel("P95 latency (ms)")
        figure.draw_without_rendering()  # pixel positions are known only after the layout
        for axes, (users, names) in labels:
            _Placer(axes, users).place([*users, *names])
        return svg(figure, "cost", title, seen)


def _line(
    axes: Axes, points: Sequence[MeasuredPoint], look: Style, percentile: str, *, solid: bool
) -> list[tuple[float, float]]:
    known = [(point, value) for point in points if (value := finite(getattr(point, percentile)))]
    drawn = [(float(point.users), value) for point, value in known]
    if drawn:
        axes.plot(
            *zip(*drawn, strict=True),
            color=look.colour,
            linestyle="-" if solid else ":",
            linewidth=1.8 if solid else 1.2,
        )
    if solid:
        for point, value in known:
            mark(axes, point.users, value, look, hollow=not point.valid)
    return drawn


def _scales(axes: Axes, users: Sequence[int], *, empty: bool) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(users[0] / 1.15, users[-1] * 1.15)
    axes.set_xticks(users, [str(level) for level in users])
    axes.set_xticks([], minor=True)
    if empty:
        say_empty(axes)
    else:
        plain_log(axes.yaxis, axes.set_yscale)


def _label_ends(axes: Axes, labels: Sequence[_Label]) -> None:
    """Write each line's name right of the axes, moved apart so that no two names touch."""
    figure = axes.figure.get_figure(root=True)
    figure.draw_without_rendering()  # pixel positions are known only after the layout
    height = axes.get_window_extent().height * 72 / figure.dpi
    ends = [
        axes.transAxes.inverted().transform(axes.transData.transform((e.x, e.y))) for e in labels
    ]
    placed = _apart([float(end[1]) * height for end in ends], 13.0)
    for label, place in zip(labels, placed, strict=True):
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(1.02, place / height),
            textcoords="axes fraction",
            color=ink(label.colour),
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.colour,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights at least ``gap`` apart, in the same order, spread around their means.

    >>> _apart([10.0, 12.0], 6.0)
    [8.0, 14.0]
    """
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    groups: list[list[int]] = []
    for place in order:
        groups.append([place])
        while len(groups) > 1 and _bottom(groups[-1], heights, gap) < (
            _bottom(groups[-2], heights, gap) + len(groups[-2]) * gap
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(heights)
    for group in groups:
        for step, place in enumerate(group):
            moved[place] = _bottom(group, heights, gap) + step * gap
    return moved


def _bottom(group: Sequence[int], heights: Sequence[float], gap: float) -> float:
    centre = sum(heights[place] for place in group) / len(group)
    return centre - (len(group) - 1) * gap / 2


def _cost_panel(
    axes: Axes, points: Sequence[MeasuredPoint], price: Price, bench: MeasuredMachine
) -> tuple[list[_Label], list[_Label]]:
    """Draw the lines and markers of one price; return the labels of points and of series."""
    users: list[_Label] = []
    names: list[_Label] = []
    for series, look in looks(points).items():
        own = [
            (point, p95, priced.per_million)
            for point in points
            if point.series == series
            and point.valid
            and (p95 := finite(point.p95_ms))
            and point.qps.value > 0
            and (priced := cost(price, point.qps.value, bench))
        ]
        if not own:
            continue
        line = [(p95, amount) for _, p95, amount in own]
        axes.plot(*zip(*line, strict=True), color=look.colour, linewidth=1.0, alpha=0.45)
        for point, p95, amount in own:
            mark(axes, p95, amount, look)
            users.append(_Label(str(point.users), p95, amount, look.colour, bold=False))
        names.append(_Label(look.name, *line[-1], look.colour))
    if not names:
        say_empty(axes)
        axes.set_xticks([])
        return users, names
    plain_log(axes.xaxis, axes.set_xscale)
    plain_log(axes.yaxis, axes.set_yscale)
    axes.margins(x=0.12, y=0.16)
    axes.tick_params(labelbottom=True)
    return users, names


class _Placer:
    """Puts labels beside points where they cover the least of other points and labels."""

    def __init__(self, axes: Axes, points: Sequence[_Label]) -> None:
        self.axes = axes
        self.pixel = axes.figure.get_figure(root=True).dpi / 72
        self.inside = axes.get_window_extent()
        half = 4.5 * self.pixel
        self.taken = [
            _Box(x - half, y - half, x + half, y + half)
            for x, y in (axes.transData.transform((label.x, label.y)) for label in points)
        ]

    def place(self, labels: Sequence[_Label]) -> None:
        for label in labels:
            _, x, y, box = min(self._candidates(label), key=lambda candidate: candidate[0])
            self._draw(label, x, y)
            self.taken.append(box)

    def _candidates(self, label: _Label) -> Iterator[tuple[float, float, float, _Box]]:
        """Yield places as (penalty, x and y offset in points, box), from near to far."""
        text = self._draw(label, 0, 0)
        extent = text.get_window_extent()
        text.remove()
        here = self.axes.transData.transform((label.x, label.y))
        for distance in (9.0, 14.0, 20.0, 28.0, 38.0):
            for turn in range(16):
                angle = math.tau * (turn + 2) / 16
                x, y = distance * math.cos(angle), distance * math.sin(angle)
                left = here[0] + x * self.pixel - _SIDES[_side(x)] * extent.width
                low = here[1] + y * self.pixel - extent.height / 2
                box = _Box(left, low, left + extent.width, low + extent.height)
                yield self._covered(box) * 100 + distance, x, y, box

    def _covered(self, box: _Box) -> float:
        """Return the area of a box outside the axes or over points and labels placed before."""
        frame = _Box(self.inside.x0, self.inside.y0, self.inside.x1, self.inside.y1)
        outside = box.common(box) - box.common(frame)
        return outside + sum(box.common(other) for other in self.taken)

    def _draw(self, label: _Label, x: float, y: float) -> Annotation:
        return self.axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(x, y),
            textcoords="offset points",
            ha=_side(x),
            va="center",
            color=ink(label.colour),
            fontsize=9 if label.bold else 8,
            fontweight="bold" if label.bold else "normal",
        )


_SIDES = {"left": 0.0, "center": 0.5, "right": 1.0}  # share of a label left of its anchor


def _side(x: float) -> Literal["left", "center", "right"]:
    if abs(x) < 3:
        return "center"
    return "left" if x > 0 else "right"


@dataclass(frozen=True)
class _Box:
    left: float
    low: float
    right: float
    high: float

    def common(self, other: _Box) -> float:
        """Return the area both cover, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, width) * max(0.0, height)
