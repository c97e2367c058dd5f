"""Cost against latency on a sheet of paper: small letters, no more than fits a third of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..facts.points import Series
from .cost import FRONT_LINE, RING, CostView, CostWords, scale_axes
from .drawing import LIMIT_LINE, mark, new_axes, stroke, write
from .labels import within
from .looks import Look
from .palette import INK, SOFT
from .typesetting import broken, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE, HEAD = 7.5, 10.0
LEFT, FOOT, TOP = 34.0, 30.0, 22.0
GAP = 16.0  # between the axes and the names
MOST_CHOSEN = 170.0  # for the name of what was chosen
MOST_SIDE = 0.3  # of the width, for the names


@dataclass(frozen=True)
class SmallCost:
    """A picture of cost against latency: what is drawn, how each series looks, its words."""

    view: CostView
    looks: Mapping[Series, Look]
    words: CostWords

    @property
    def texts(self) -> list[str]:
        """The texts that it needs characters for."""
        words = self.words
        names = [self.looks[series].name for series in self.view.points]
        return [words.title, words.x_name, words.front, words.limit, words.chosen, *names]

    def draw(self, figure: Figure, left: float, low: float, width: float, height: float) -> None:
        """Draw it at a place in points, from the lower left corner of the figure."""
        view, words = self.view, self.words
        names = {series: self.looks[series] for series in view.points}
        widest = max(text_width(look.name, SIZE, bold=True) for look in names.values())
        side = min(widest + GAP, MOST_SIDE * width)
        write(figure, left, low + height - HEAD, words.title, bold=True, size=HEAD)
        write(figure, left + LEFT, low + 4, words.x_name, colour=SOFT, size=SIZE)
        _signs(figure, left + width, low + 4, words, chosen=view.chosen is not None)
        axes = new_axes(figure, left + LEFT, low + FOOT, width - LEFT - side, height - FOOT - TOP)
        axes.tick_params(labelsize=SIZE)
        scale_axes(axes, view)
        _points(axes, view, names)
        _names(figure, axes, view, names, side)


def _signs(figure: Figure, right: float, y: float, words: CostWords, *, chosen: bool) -> None:
    """Explain the signs in the bottom line, from its right end."""
    signs = [(words.limit, LIMIT_LINE, INK), (words.front, FRONT_LINE, SOFT)]
    if chosen:  # a long name is cut: the other signs and the axis' name need their room
        signs.append((broken(words.chosen, MOST_CHOSEN, SIZE)[0], RING, INK))
    x, middle = right, y + 0.35 * SIZE
    for text, look, colour in reversed(signs):
        x -= text_width(text, SIZE)
        write(figure, x, y, text, size=SIZE)
        places = [x - 9.0] if "marker" in look else [x - 16.0, x - 4.0]
        shown = dict(look) | ({"markersize": 8} if "marker" in look else {})
        stroke(figure, places, [middle] * len(places), colour, **shown)
        x -= 28.0


def _points(axes: Axes, view: CostView, looks: Mapping[Series, Look]) -> None:
    axes.plot([view.limit_ms] * 2, axes.get_ylim(), color=INK.light, **LIMIT_LINE)
    xs, ys = [p.latency_ms.value for p in view.front], [p.cost.value for p in view.front]
    axes.plot(xs, ys, color=SOFT.light, zorder=1.0, **FRONT_LINE)
    for series, points in reversed(list(view.points.items())):  # what stands out lies on top
        look = looks[series]
        xs, ys = [p.latency_ms.value for p in points], [p.cost.value for p in points]
        axes.plot(
            xs, ys, color=look.colour.light, linewidth=0.9 if look.stands_out else 0.6,
            linestyle=(0, look.dashes) if look.dashes else "-", zorder=3.0,
        )  # fmt: skip
        for point in points:
            mark(
                axes, point.latency_ms.value, point.cost.value, look.colour, look.marker,
                f"marker:{look.number}", hollow=series[0] in view.refused, size=4.5,
            )  # fmt: skip
            if view.chosen is not None and point.point.key == view.chosen.key:
                at = ([point.latency_ms.value], [point.cost.value])
                axes.plot(
                    *at, markeredgecolor=INK.light, zorder=5, **(dict(RING) | {"markersize": 10})
                )


def _names(
    figure: Figure, axes: Axes, view: CostView, looks: Mapping[Series, Look], side: float
) -> None:
    """Write each series' name right of the axes, beside its last point as far as there is room."""
    frame = axes.bbox
    ends = [
        axes.transData.transform((points[-1].latency_ms.value, points[-1].cost.value))
        for points in view.points.values()
    ]
    heights = within([float(end[1]) for end in ends], SIZE * 1.25, frame.y0 - SIZE, frame.y1)
    x = frame.x1 + GAP
    for look, end, height in zip(looks.values(), ends, heights, strict=True):
        xs, ys = [float(end[0]) + 4, frame.x1 + 4, x - 2], [float(end[1]), float(end[1]), height]
        stroke(figure, xs, ys, look.colour, linewidth=0.5, linestyle=(0, (1, 2)))
        name = broken(look.name, side - GAP, SIZE, bold=look.stands_out)[0]
        write(
            figure, x, height - 0.35 * SIZE, name, colour=look.colour, bold=look.stands_out,
            size=SIZE,
        )  # fmt: skip
