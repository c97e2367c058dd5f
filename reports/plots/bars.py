"""Bars: one row a variant, parts of a whole side by side, or a value in each of a few columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import LINE, SIZE, SMALL, WIDTH, Said, canvas, svg, write
from .looks import Look
from .palette import PAPER, SOFT, Colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, BAR = 27.0, 17.0
HEAD = 34.0
LEFT = 4.0
LEAST = 300.0  # room for bars


@dataclass(frozen=True)
class Part:
    """One part of a bar: its value, its text and its colour."""

    value: float
    text: str
    colour: Colour


@dataclass(frozen=True)
class Row:
    """A variant's bar in one column, its parts from left to right, and the text behind it."""

    parts: tuple[Part, ...]
    text: str


@dataclass(frozen=True)
class BarColumn:
    """A column of bars: its title and a row for each look (None: not known)."""

    title: str
    rows: tuple[Row | None, ...]
    whole: float = 0.0


def bar_picture(
    looks: Sequence[Look], columns: Sequence[BarColumn], said: Said,
    legend: Sequence[tuple[str, Colour]] = (), none: str = "–",
) -> str:  # fmt: skip
    """Return columns of bars with the names of the variants on the left as an SVG element.

    ``whole`` of a column is the value of its full width; 0: the longest bar is.  ``none`` is
    written where nothing is known.
    """
    from .lettering import text_width

    names = max(text_width(look.name, SIZE, bold=look.stands_out) for look in looks) + LEFT + 10
    tails = [
        max(text_width(row.text if row else none, SIZE) for row in column.rows) + 14
        for column in columns
    ]
    width = max(WIDTH, names + sum(tails) + LEAST)
    room = (width - names - sum(tails)) / len(columns)
    lines = _wrapped(legend, width)
    head = HEAD + (LINE * len(lines) + 6 if lines else 0)
    height = head + ROW * len(looks) + 8
    with canvas(width, height) as figure:
        top = height - head
        _legend(figure, lines, height - HEAD)
        for place, look in enumerate(looks):
            y = top - ROW * place - ROW / 2 - 0.35 * SIZE
            write(figure, LEFT, y, look.name, colour=look.colour, bold=look.stands_out,
                  part=f"label:{look.number}")  # fmt: skip
        x = names
        for column, tail in zip(columns, tails, strict=True):
            write(figure, x if len(columns) > 1 else LEFT, height - 18, column.title, bold=True)
            _column(figure, column, looks, (x, top), room, none)
            x += room + tail
        return svg(figure, said)


def _column(
    figure: Figure, column: BarColumn, looks: Sequence[Look], corner: tuple[float, float],
    room: float, none: str,
) -> None:  # fmt: skip
    from .lettering import text_width

    totals = [sum(part.value for part in row.parts) for row in column.rows if row]
    scale = room / (column.whole or max(totals, default=1.0) or 1.0)
    for place, (look, row) in enumerate(zip(looks, column.rows, strict=True)):
        x, middle = corner[0], corner[1] - ROW * place - ROW / 2
        baseline = middle - 0.35 * SIZE
        if row is None:
            write(figure, x, baseline, none, colour=SOFT, part=f"value:{look.number}")
            continue
        for part in row.parts:
            long = part.value * scale
            _block(
                figure,
                (x, middle - BAR / 2),
                (max(0.0, long - 0.7), BAR),
                part.colour,
                f"bar:{look.number}",
            )
            if part.text and text_width(part.text, SMALL) + 6 <= long:
                write(figure, x + long / 2, middle - 0.35 * SMALL, part.text, colour=PAPER,
                      size=SMALL, align="center", part=f"inside:{look.number}")  # fmt: skip
            x += long
        write(figure, x + 6, baseline, row.text, part=f"value:{look.number}")


def _block(
    figure: Figure,
    corner: tuple[float, float],
    size: tuple[float, float],
    colour: Colour,
    part: str = "sign",
) -> None:
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches() * 72
    figure.add_artist(
        Rectangle(
            (corner[0] / width, corner[1] / height), size[0] / width, size[1] / height,
            facecolor=colour.light, linewidth=0, transform=figure.transFigure, gid=f"part:{part}",
        )
    )  # fmt: skip


def _wrapped(
    legend: Sequence[tuple[str, Colour]], width: float
) -> list[list[tuple[float, str, Colour]]]:
    """Return the entries of a legend in lines, each with its place across."""
    from .lettering import text_width

    lines: list[list[tuple[float, str, Colour]]] = []
    x = width
    for text, colour in legend:
        wide = 18 + text_width(text, SIZE) + 16
        if x + wide > width:
            lines.append([])
            x = LEFT
        lines[-1].append((x, text, colour))
        x += wide
    return lines


def _legend(
    figure: Figure, lines: Sequence[Sequence[tuple[float, str, Colour]]], top: float
) -> None:
    for place, line in enumerate(lines):
        y = top - LINE * place - 0.5 * LINE
        for x, text, colour in line:
            _block(figure, (x, y - 5), (12, 11), colour)
            write(figure, x + 18, y - 0.35 * SIZE, text)
