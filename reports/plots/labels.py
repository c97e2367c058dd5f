"""Labels: names right of the axes, one below the other, and small text where nothing is drawn.

No label lies on a line, a marker or another label.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from .drawing import LINE, SIZE, SMALL, stroke, write
from .palette import Colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 26.0  # from the axes to the names, in points; the leaders run here
Place = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """A name and the place, in points of the figure, of the end of what it names."""

    text: str
    end: Place
    colour: Colour
    bold: bool
    number: int
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Box:
    """A rectangle in points."""

    left: float
    low: float
    right: float
    high: float

    def meets(self, other: Box) -> bool:
        """Tell whether the rectangles have a place in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.low < other.high and other.low < self.high

    def is_cut(self, one: Place, two: Place) -> bool:
        """Tell whether a straight line from one place to another passes through it."""
        start, end = 0.0, 1.0  # Liang and Barsky: the part of the line between each pair of sides
        for at, to, low, high in (
            (one[0], two[0], self.left, self.right), (one[1], two[1], self.low, self.high),
        ):  # fmt: skip
            if at == to:
                if not low <= at <= high:
                    return False
                continue
            near, far = sorted(((low - at) / (to - at), (high - at) / (to - at)))
            start, end = max(start, near), min(end, far)
        return start <= end


def width_of(labels: Sequence[tuple[str, bool]]) -> float:
    """Return how wide a column of names (text, bold) with its leaders is, in points."""
    from .lettering import text_width

    return GAP + 8 + max((text_width(text, SIZE, bold=bold) for text, bold in labels), default=0.0)


def column(figure: Figure, labels: Sequence[Label], x: float, low: float, high: float) -> list[
    tuple[Place, Place]
]:  # fmt: skip
    """Write names from ``x`` on, between two heights in points, each beside what it names.

    Returns the leaders, the lines from what is named to the names.
    """
    places = within([label.end[1] for label in labels], LINE, low, high)
    leaders = []
    for label, height in zip(labels, places, strict=True):
        knee = (x - GAP + 4, label.end[1])
        end = (x - 3, height)
        corners = [label.end, knee, end] if label.end[0] < knee[0] - 8 else [label.end, end]
        stroke(
            figure, [x for x, _ in corners], [y for _, y in corners], label.colour,
            f"leader:{label.number}",
            linewidth=0.7, linestyle=(0, (1, 2)) if len(corners) > 2 else "-",
        )  # fmt: skip
        leaders += list(pairwise(corners))
        write(
            figure, x, height - 0.35 * SIZE, label.text, colour=label.colour, bold=label.bold,
            part=f"label:{label.number}",
        )  # fmt: skip
    return leaders


def within(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights at least ``gap`` apart, in the same order, between ``low`` and ``high``.

    They stay as near as can be; if the space is too small, they go on below ``low``.

    >>> within([10.0, 12.0], 6.0, 0.0, 50.0), within([48.0, 49.0], 6.0, 0.0, 50.0)
    ([8.0, 14.0], [44.0, 50.0])
    """
    moved = _apart(heights, gap)
    order = sorted(range(len(heights)), key=lambda place: (moved[place], place))
    floor = low
    for place in order:
        moved[place] = floor = max(moved[place], floor)
        floor += gap
    roof = high
    for place in reversed(order):
        moved[place] = roof = min(moved[place], roof)
        roof -= gap
    return moved


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights at least ``gap`` apart, in the same order, spread around their means."""
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


@dataclass
class Placer:
    """Writes small text beside points where there is room, or not at all."""

    figure: Figure
    frame: Box
    boxes: list[Box]
    lines: list[tuple[Place, Place]]

    def place(self, text: str, point: Place, colour: Colour, number: int) -> bool:
        """Write a text near a point if nothing is in its way; tell whether it was written."""
        for x, y, box in self._candidates(text, point):
            if self._is_free(box):
                write(
                    self.figure, x, y, text, colour=colour, size=SMALL, part=f"label:{number}"
                )  # fmt: skip
                self.boxes.append(box)
                return True
        return False

    def _candidates(self, text: str, point: Place) -> Iterator[tuple[float, float, Box]]:
        """Yield places for the start of the text and the box it fills, from near to far."""
        from .lettering import text_width

        width, high, low = text_width(text, SMALL), 0.85 * SMALL, 0.25 * SMALL
        for distance in (8.0, 12.0, 16.0):
            for turn in range(16):
                angle = math.tau * (turn + 2) / 16
                across, up = math.cos(angle), math.sin(angle)
                x = point[0] + distance * across - width * (1 - across) / 2
                y = point[1] + distance * up - (high - low) / 2 + (high - low) * up / 2
                yield x, y, Box(x - 1.5, y - low - 1, x + width + 1.5, y + high + 1)

    def _is_free(self, box: Box) -> bool:
        frame = self.frame
        inside = frame.left <= box.left and box.right <= frame.right
        inside = inside and frame.low <= box.low and box.high <= frame.high
        return (
            inside
            and not any(box.meets(other) for other in self.boxes)
            and not any(box.is_cut(*line) for line in self.lines)
        )
