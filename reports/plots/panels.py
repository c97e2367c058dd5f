"""Panels: throughput and latency along each scaling axis, as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...toolkit.runs.load import Load
from ..facts.estimates import Estimate
from ..facts.points import MeasuredPoint
from ..facts.scaling import Axis
from .drawing import Style, canvas, finite, looks, mark, plain_log, say_empty, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "tokens": "Sentence length",
    "batch": "Batch size",
    "cores": "Server cores",
    "users": "Concurrency",
}
UNITS = {
    "tokens": "tokens a sentence",
    "batch": "sentences a request",
    "cores": "cores",
    "users": "users (closed loop, no think time)",
}
LINEAR = frozenset({"cores"})  # the others are doubled from step to step
WIDE = 5.0  # a wider range of values gets a logarithmic axis

Value = Callable[[MeasuredPoint], Estimate | None]


def scaling_plot(axes: Sequence[Axis]) -> str:
    """Return a row of two panels an axis, sentences a second and P50 latency, as SVG text."""
    with canvas(7.6, 0.5 + 2.5 * len(axes)) as figure:
        found = looks([point for axis in axes for point in axis.points])
        rows = figure.subplots(len(axes), 2, squeeze=False)
        for axis, (speed, latency) in zip(axes, rows, strict=True):
            speed.set_title(TITLES[axis.name] + _fixed(axis.fixed), pad=8)
            _panel(speed, axis, found, lambda point: point.sentences, "sentences / s")
            _panel(latency, axis, found, lambda point: point.p50_ms, "P50 ms")
        _legend(figure, list(found.values()))
        return svg(figure)


def _fixed(load: Load) -> str:
    """Return what stays the same along an axis, in brackets."""
    parts = [
        f"{load.users} user{'s' * (load.users > 1)}" if load.users else "",
        f"{load.tokens} tokens" if load.tokens else "",
        f"batches of {load.batch}" if load.batch > 1 else "",
        f"{load.cores} core{'s' * (load.cores > 1)}" if load.cores else "",
    ]
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else " (gold set)"


def _panel(
    axes: Axes, axis: Axis, found: dict[tuple[str, str], Style], value: Value, name: str
) -> None:
    drawn: list[float] = []
    for series, look in found.items():
        own = [
            (point, shown)
            for point in axis.points
            if point.series == series and (shown := finite(value(point)))
        ]
        if not own:
            continue
        line = [(axis.level(point), shown) for point, shown in own]
        axes.plot(*zip(*line, strict=True), color=look.colour, linewidth=1.4)
        for point, shown in own:
            _bar(axes, axis.level(point), value(point), look)
            mark(axes, axis.level(point), shown, look, hollow=not point.valid)
        drawn += [shown for _, shown in own]
    axes.set_xlabel(UNITS[axis.name])
    axes.set_ylabel(name)
    _levels(axes, axis)
    if not drawn:
        say_empty(axes)
    elif max(drawn) > WIDE * min(drawn):
        plain_log(axes.yaxis, axes.set_yscale)
    else:
        axes.set_ylim(0, max(drawn) * 1.15)


def _bar(axes: Axes, level: int, found: Estimate | None, look: Style) -> None:
    """Draw the interval, where there is one."""
    if found is not None and found.ends is not None:
        axes.plot([level, level], found.ends, color=look.colour, linewidth=1.0, alpha=0.7)


def _levels(axes: Axes, axis: Axis) -> None:
    """Put a tick at each level, one after the other or doubling."""
    levels = axis.levels
    if axis.name in LINEAR:
        axes.set_xlim(levels[0] - 0.5, levels[-1] + 0.5)
    else:
        axes.set_xscale("log", base=2)
        axes.set_xlim(levels[0] / 1.25, levels[-1] * 1.25)
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.set_xticks([], minor=True)


def _legend(figure: Figure, found: Sequence[Style]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, label=look.name) for look in found
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
