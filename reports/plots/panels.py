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
LINEAR = frozenset({"cores"})  # the levels of the others double from step to step
WIDE = 5.0  # ratio of largest to smallest value above which the axis is logarithmic

Value = Callable[[MeasuredPoint], Estimate | None]


def scaling_plot(axes: Sequence[Axis], title: str, seen: str) -> str:
    """Return two panels for each axis, sentences a second and P50 latency, as SVG text."""
    with canvas(7.6, 0.5 + 2.5 * len(axes)) as figure:
        styles = looks([point for axis in axes for point in axis.points])
        rows = figure.subplots(len(axes), 2, squeeze=False)
        for axis, (speed, latency) in zip(axes, rows, strict=True):
            speed.set_title(TITLES[axis.name] + _fixed(axis.fixed), pad=8)
            _panel(speed, axis, styles, lambda point: point.sentences, "sentences / s")
            _panel(latency, axis, styles, lambda point: point.p50_ms, "P50 ms")
        _legend(figure, list(styles.values()))
        return svg(figure, "scaling", title, seen)


def _fixed(load: Load) -> str:
    """Return the load that stays the same along an axis, in brackets."""
    parts = [
        f"{load.users} user{'s' * (load.users > 1)}" if load.users else "",
        f"{load.tokens} tokens" if load.tokens else "",
        f"batches of {load.batch}" if load.batch > 1 else "",
        f"{load.cores} core{'s' * (load.cores > 1)}" if load.cores else "",
    ]
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else " (gold set)"


def _panel(
    axes: Axes, axis: Axis, styles: dict[tuple[str, str], Style], value: Value, name: str
) -> None:
    drawn: list[float] = []
    for series, look in styles.items():
        shown_points = [
            (point, shown)
            for point in axis.points
            if point.series == series and (shown := finite(value(point)))
        ]
        if not shown_points:
            continue
        line = [(axis.level(point), shown) for point, shown in shown_points]
        axes.plot(*zip(*line, strict=True), color=look.colour, linewidth=1.4)
        for point, shown in shown_points:
            _bar(axes, axis.level(point), value(point), look)
            mark(axes, axis.level(point), shown, look, hollow=not point.valid)
        drawn += [shown for _, shown in shown_points]
    axes.set_xlabel(UNITS[axis.name])
    axes.set_ylabel(name)
    _levels(axes, axis)
    if not drawn:
        say_empty(axes)
    elif max(drawn) > WIDE * min(drawn):
        plain_log(axes.yaxis, axes.set_yscale)
    else:
        axes.set_ylim(0, max(drawn) * 1.15)


def _bar(axes: Axes, level: int, estimate: Estimate | None, look: Style) -> None:
    """Draw the interval, if there is one."""
    if estimate is not None and estimate.ends is not None:
        axes.plot([level, level], estimate.ends, color=look.colour, linewidth=1.0, alpha=0.7)


def _levels(axes: Axes, axis: Axis) -> None:
    """Put a tick at each level, on a linear axis or on one to base 2."""
    levels = axis.levels
    if axis.name in LINEAR:
        axes.set_xlim(levels[0] - 0.5, levels[-1] + 0.5)
    else:
        axes.set_xscale("log", base=2)
        axes.set_xlim(levels[0] / 1.25, levels[-1] * 1.25)
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.set_xticks([], minor=True)


def _legend(figure: Figure, styles: Sequence[Style]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, label=look.name) for look in styles
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
