"""Cost against latency: the objective, the Pareto front, the chosen point, intervals of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..facts.front import CostPoint
from ..facts.points import MeasuredPoint, Series
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
from .labels import GAP, Box, Label, Placer, column, width_of
from .looks import Look
from .palette import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, HEAD, FOOT = 52.0, 56.0, 46.0
LEAST_HEIGHT, LEAST_WIDTH = 300.0, 330.0
FEW = 6  # series up to which the intervals of all are drawn
MARGIN = 1.2  # of the axes, as a factor
RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 13,
    "markerfacecolor": "none",
    "markeredgewidth": 1.7,
    "linestyle": "none",
}
FRONT_LINE: dict[str, Any] = {"linewidth": 4.0}  # below the lines of the series


@dataclass(frozen=True)
class CostWords:
    """The words of the picture; the last three name its signs."""

    title: str
    x_name: str
    front: str
    limit: str
    chosen: str


@dataclass(frozen=True)
class CostView:
    """What is drawn: points by series (those that stand out first), the front, the chosen point."""

    points: Mapping[Series, Sequence[CostPoint]]
    front: Sequence[CostPoint]
    chosen: MeasuredPoint | None
    limit_ms: float
    refused: frozenset[str]


def cost_picture(view: CostView, looks: Mapping[Series, Look], words: CostWords, said: Said) -> str:
    """Return the cost of a million requests against a latency percentile as an SVG element."""
    names = [looks[series] for series in view.points]
    side = width_of([(look.name, look.stands_out) for look in names])
    height = max(LEAST_HEIGHT, LINE * (len(names) + 1))
    width = max(WIDTH, LEFT + LEAST_WIDTH + side)
    with canvas(width, height + HEAD + FOOT) as figure:
        write(figure, 4, height + HEAD + FOOT - 18, words.title, bold=True)
        write(figure, LEFT, 8, words.x_name, colour=SOFT)
        _signs(figure, words, height + FOOT + HEAD - 40, chosen=view.chosen is not None)
        axes = new_axes(figure, LEFT, FOOT, width - LEFT - side, height)
        scale_axes(axes, view)
        _draw(figure, axes, view, looks)
        return svg(figure, said)


def _signs(figure: Figure, words: CostWords, y: float, *, chosen: bool) -> None:
    """Explain the signs in a row below the title."""
    x = sign(figure, LEFT, y, words.limit, LIMIT_LINE)
    x = sign(figure, x, y, words.front, FRONT_LINE, SOFT)
    if chosen:
        sign(figure, x, y, words.chosen, RING)


def scale_axes(axes: Axes, view: CostView) -> None:
    """Make both axes logarithmic, as far as the points, their intervals and the limit reach."""
    every = [point for points in view.points.values() for point in points]
    latency = [
        value
        for point in every
        for value in (point.latency_ms.value, *(point.latency_ms.ends or ()))
    ]
    cost = [value for point in every for value in (point.cost.value, *(point.cost.ends or ()))]
    latency.append(view.limit_ms)
    plain_log(axes.xaxis, axes.set_xscale, min(latency) / MARGIN, max(latency) * MARGIN)
    plain_log(axes.yaxis, axes.set_yscale, min(cost) / MARGIN, max(cost) * MARGIN)


def _draw(figure: Figure, axes: Axes, view: CostView, looks: Mapping[Series, Look]) -> None:
    placer = Placer(figure, Box(*axes.bbox.extents), [], [])

    def place(point: CostPoint) -> tuple[float, float]:
        x, y = axes.transData.transform((point.latency_ms.value, point.cost.value))
        return float(x), float(y)

    def line(xs: Sequence[float], ys: Sequence[float], part: str, **look: Any) -> None:
        axes.plot(xs, ys, gid=f"part:{part}", **look)
        places = [tuple(axes.transData.transform(pair)) for pair in zip(xs, ys, strict=True)]
        placer.lines += list(pairwise(places))

    line([view.limit_ms] * 2, axes.get_ylim(), "limit", color=INK.light, **LIMIT_LINE)
    labels = []
    for series, points in reversed(list(view.points.items())):  # what stands out lies on top
        look = looks[series]
        colour, level = look.colour.light, 3.0 if look.stands_out else 2.0
        xs, ys = [p.latency_ms.value for p in points], [p.cost.value for p in points]
        dashes: object = (0, look.dashes) if look.dashes else "-"
        line(xs, ys, f"line:{look.number}", color=colour, linewidth=1.3 if look.stands_out else 0.8,
             linestyle=dashes, zorder=level)  # fmt: skip
        for point in points:
            if look.stands_out or len(view.points) <= FEW:
                for x_ends, y_ends in _intervals(point):
                    line(x_ends, y_ends, f"interval:{look.number}", color=colour, linewidth=0.8,
                         zorder=level)  # fmt: skip
            mark(
                axes, point.latency_ms.value, point.cost.value, look.colour, look.marker,
                f"marker:{look.number}", hollow=series[0] in view.refused,
                size=MARK if look.stands_out else SMALL_MARK,
            )  # fmt: skip
            x, y = place(point)
            placer.boxes.append(Box(x - 5, y - 5, x + 5, y + 5))
        labels.append(
            Label(look.name, place(points[-1]), look.colour, look.stands_out, look.number)
        )
    steps = _steps([(point.latency_ms.value, point.cost.value) for point in view.front])
    xs, ys = [x for x, _ in steps], [y for _, y in steps]
    line(xs, ys, "front", color=SOFT.light, zorder=1.0, **FRONT_LINE)
    _ring(axes, view, placer)
    bounds = axes.bbox.y0, axes.bbox.y1 - 0.2 * SIZE
    placer.lines += column(figure, labels, axes.bbox.x1 + GAP, *bounds)
    for series, points in view.points.items():
        look = looks[series]
        for point in points if look.stands_out else ():
            placer.place(str(point.point.users), place(point), look.colour, look.number)


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the stairs that the points of a front are the lower left corners of.

    >>> _steps([(1.0, 9.0), (2.0, 4.0)])
    [(1.0, 9.0), (2.0, 9.0), (2.0, 4.0)]
    """
    corners = list(points[:1])
    for before, point in pairwise(points):
        corners += [(point[0], before[1]), point]
    return corners


def _intervals(point: CostPoint) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    latency, cost = point.latency_ms, point.cost
    across = [(latency.ends, (cost.value, cost.value))] if latency.ends else []
    return across + ([((latency.value, latency.value), cost.ends)] if cost.ends else [])


def _ring(axes: Axes, view: CostView, placer: Placer) -> None:
    for points in view.points.values():
        for point in points:
            if view.chosen and point.point.key == view.chosen.key:
                at = point.latency_ms.value, point.cost.value
                ring = RING | {"markeredgecolor": INK.light, "markersize": 15}
                axes.plot(*([value] for value in at), zorder=5, gid="part:chosen", **ring)
                x, y = axes.transData.transform(at)
                placer.boxes.append(Box(x - 9, y - 9, x + 9, y + 9))
