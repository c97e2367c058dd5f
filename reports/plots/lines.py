"""Lines: values against users, percentiles or another level, one panel below the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import (
    LIMIT_LINE,
    LINE,
    MARK,
    SIZE,
    SMALL_MARK,
    WIDTH,
    Said,
    canvas,
    mark,
    new_axes,
    plain_log,
    sign,
    svg,
    write,
)
from .labels import GAP, Label, column, width_of
from .looks import Look
from .palette import INK, SOFT, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, HEAD, FOOT = 52.0, 32.0, 46.0  # room for ticks; for the title; for ticks and axis name
SIGNS = 22.0  # for the row below the title that explains a sign
LEAST_HEIGHT = 210.0
LEAST_WIDTH = 330.0
WIDE = 5.0  # ratio of largest to smallest value above which the axis is logarithmic


@dataclass(frozen=True)
class Spot:
    """One value at a level, with the ends of its interval; ``counts``: false draws it hollow."""

    x: float
    y: float
    ends: tuple[float, float] | None = None
    counts: bool = True


@dataclass(frozen=True)
class Curve:
    """One line; ``minor``: dotted, without markers and name (beside the line of another figure).

    ``marked`` has the places of the spots that get a marker; None: all.
    """

    look: Look
    spots: tuple[Spot, ...]
    minor: bool = False
    marked: frozenset[int] | None = None


@dataclass(frozen=True)
class Panel:
    """One picture's panel; ``ticks`` are places and names on the x axis, ``limit`` an objective."""

    title: str
    x_name: str
    ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]
    limit: tuple[float, str] | None = None


def line_picture(panels: Sequence[Panel], said: Said) -> str:
    """Return panels, one below the other, as an SVG element."""
    side = width_of([name for panel in panels for name in _names(panel)])
    heights = [max(LEAST_HEIGHT, LINE * (len(_names(panel)) + 1)) for panel in panels]
    width = max(WIDTH, LEFT + LEAST_WIDTH + side)
    total = sum(heights) + len(panels) * (HEAD + FOOT)
    total += SIGNS * sum(panel.limit is not None for panel in panels)
    with canvas(width, total) as figure:
        top = total
        for panel, height in zip(panels, heights, strict=True):
            write(figure, 4, top - 18, panel.title, bold=True)
            if panel.limit:
                sign(figure, LEFT, top - 40, panel.limit[1], LIMIT_LINE)
                top -= SIGNS
            low = top - HEAD - height
            axes = new_axes(figure, LEFT, low, width - LEFT - side, height)
            write(figure, LEFT, low - 38, panel.x_name, colour=SOFT)
            _draw(figure, axes, panel, (low, low + height))
            top = low - FOOT
        return svg(figure, said)


def _names(panel: Panel) -> list[tuple[str, bool]]:
    return [(curve.look.name, curve.look.stands_out) for curve in panel.curves if not curve.minor]


def _draw(figure: Figure, axes: Axes, panel: Panel, heights: tuple[float, float]) -> None:
    first, last = panel.ticks[0][0], panel.ticks[-1][0]
    margin = 0.04 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    places = [place for place, _ in panel.ticks]
    scale = axes.bbox.width / (last - first + 2 * margin)
    axes.set_xticks(places, _readable(panel.ticks, scale))
    _scale(axes, panel)
    if panel.limit:
        _limit(axes, panel.limit[0])
    for curve in reversed(panel.curves):  # what stands out comes first, and lies on top
        _curve(axes, curve)
    right = axes.bbox.x1
    labels = [
        Label(
            curve.look.name, tuple(axes.transData.transform((spot.x, spot.y))), curve.look.colour,
            curve.look.stands_out, curve.look.number,
        )
        for curve in panel.curves if not curve.minor
        for spot in curve.spots[-1:]
    ]  # fmt: skip
    column(figure, labels, right + GAP, heights[0], heights[1] - 0.2 * SIZE)


def _readable(ticks: Sequence[tuple[float, str]], scale: float) -> list[str]:
    """Return the names of ticks, those empty that would touch their neighbours.

    ``scale``: points a unit of the axis.  The last tick keeps its name.
    """
    from .lettering import text_width

    names = [name for _, name in ticks]
    ends = [(place * scale, text_width(name, SIZE) / 2 + 4) for place, name in ticks]
    right = ends[-1][0] - ends[-1][1]
    free = -math.inf
    for number, (middle, half) in enumerate(ends[:-1]):
        if middle - half < free or middle + half > right:
            names[number] = ""
        else:
            free = middle + half
    return names


def _scale(axes: Axes, panel: Panel) -> None:
    values = [
        value
        for curve in panel.curves
        for spot in curve.spots
        for value in (spot.y, *(spot.ends or ()))
    ]
    values += [panel.limit[0]] if panel.limit else []
    if max(values) > WIDE * min(values) > 0:
        plain_log(axes.yaxis, axes.set_yscale, min(values) / 1.12, max(values) * 1.12)
    else:
        axes.set_ylim(0, max(values) * 1.08 or 1.0)


def _limit(axes: Axes, value: float) -> None:
    axes.plot(
        axes.get_xlim(), (value, value), color=INK.light, gid="part:limit", **LIMIT_LINE
    )  # fmt: skip


def _curve(axes: Axes, curve: Curve) -> None:
    look, spots = curve.look, curve.spots
    xs, ys = [spot.x for spot in spots], [spot.y for spot in spots]
    colour, number = look.colour.light, look.number
    level = 3.0 if look.stands_out else 2.0
    banded = [spot for spot in spots if spot.ends]
    if look.stands_out and not curve.minor and len(banded) > 1:
        _band(axes, banded, look.colour, number)
    width = 2.0 if look.stands_out else 0.9
    dashes: object = (0, look.dashes) if look.dashes else "-"
    axes.plot(
        xs, ys, color=colour, linewidth=1.1 if curve.minor else width, zorder=level,
        linestyle=(0, (1, 2)) if curve.minor else dashes, gid=f"part:line:{number}",
    )  # fmt: skip
    if curve.minor:
        return
    for place, spot in enumerate(spots):
        if curve.marked is None or place in curve.marked:
            size = MARK if look.stands_out else SMALL_MARK
            mark(
                axes, spot.x, spot.y, look.colour, look.marker, f"marker:{number}",
                hollow=not spot.counts, size=size,
            )  # fmt: skip


def _band(axes: Axes, spots: Sequence[Spot], colour: Colour, number: int) -> None:
    ends = [spot.ends for spot in spots if spot.ends]
    xs = [spot.x for spot in spots]
    lows, highs = [low for low, _ in ends], [high for _, high in ends]
    band = axes.fill_between(xs, lows, highs, color=colour.light, alpha=0.14, linewidth=0)
    band.set_gid(f"part:band:{number}")
