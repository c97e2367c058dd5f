"""Drawing: the canvas of every picture, and the matplotlib they share.

Only the modules of this folder import matplotlib.  Text stays text (see lettering.py) and ids have
a fixed salt, so the same points give the same bytes on every machine with the same matplotlib.
One point of a figure is one pixel of the picture at its natural size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...toolkit.processes import interrupts_held
from .markup import inline
from .palette import INK, PAPER, SOFT, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 640.0
SIZE, SMALL = 12.0, 11.0  # of letters, in points
LIMIT_LINE: dict[str, Any] = {"dashes": (4, 3), "linewidth": 1.0}
FEWEST_TICKS, MOST_TICKS = 4, 8
STEPS: tuple[Sequence[float], ...] = (  # of the ticks in a decade, from coarse to fine
    (1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 2, 3, 4, 5, 6, 7, 8, 9),
    tuple(step / 10 for step in range(10, 100, 2)), tuple(step / 20 for step in range(20, 200)),
)  # fmt: skip
MARK, SMALL_MARK = 7.0, 4.5  # of markers
LINE = 1.45 * SIZE  # from one line of text to the next, also in tall fonts
STYLE: dict[Any, Any] = {  # matplotlib types the keys as one huge Literal
    "svg.fonttype": "none",
    "svg.hashsalt": "tiankong",
    "font.family": "DejaVu Sans",  # measures the layout: it ships with matplotlib
    "font.size": SIZE,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "text.color": INK.light,
    "axes.labelcolor": SOFT.light,
    "axes.labelsize": SIZE,
    "axes.edgecolor": SOFT.light,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "xtick.color": SOFT.light,
    "ytick.color": SOFT.light,
    "xtick.labelsize": SIZE,
    "ytick.labelsize": SIZE,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Said:
    """What a picture is called (``name``, for its ids; ``title``) and what is to be seen in it."""

    name: str
    title: str
    seen: str


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of this size in points, in the style of all pictures."""
    with interrupts_held():  # an interrupt while its extensions initialize aborts the process
        import matplotlib as mpl
        from matplotlib.figure import Figure

        from . import lettering  # noqa: F401 (else savefig imports it later)

    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none", edgecolor="none")


def new_axes(figure: Figure, left: float, low: float, width: float, height: float) -> Axes:
    """Return axes with this place and size in points, from the lower left corner."""
    whole_width, whole_height = figure.get_size_inches() * 72
    return figure.add_axes(
        (left / whole_width, low / whole_height, width / whole_width, height / whole_height)
    )


def write(
    figure: Figure, x: float, y: float, text: str, *, colour: Colour = INK, bold: bool = False,
    size: float = SIZE, align: str = "left", part: str = "",
) -> None:  # fmt: skip
    """Write a line of text at a place in points, from the lower left corner to its baseline."""
    width, height = figure.get_size_inches() * 72
    written = figure.text(
        x / width, y / height, text, color=colour.light, fontweight="bold" if bold else "normal",
        fontsize=size, ha=align, va="baseline",
    )  # fmt: skip
    if part:
        written.set_gid(f"part:{part}")


def stroke(
    figure: Figure, xs: Sequence[float], ys: Sequence[float], colour: Colour, part: str = "",
    **look: Any,
) -> None:  # fmt: skip
    """Draw a line through places in points, from the lower left corner."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    line = Line2D(
        [x / width for x in xs], [y / height for y in ys], color=colour.light,
        transform=figure.transFigure, **look,
    )  # fmt: skip
    if part:
        line.set_gid(f"part:{part}")
    figure.add_artist(line)


def sign(
    figure: Figure, x: float, y: float, text: str, look: Mapping[str, Any], colour: Colour = INK
) -> float:
    """Draw a sign and what it means behind it, in points; return where the next one may begin."""
    from .lettering import text_width

    middle = y + 0.35 * SIZE
    places = [x + 9.0] if "marker" in look else [x, x + 18.0]
    stroke(figure, places, [middle] * len(places), colour, **look)
    write(figure, x + 24, y, text)
    return x + 24 + text_width(text, SIZE) + 18


def plain_log(axis: Any, set_scale: Any, low: float, high: float) -> None:
    """Make an axis logarithmic from ``low`` to ``high`` with plain numbers as ticks."""
    from matplotlib.ticker import NullLocator

    set_scale("log")
    ticks = plain_ticks(low, high)
    axis.set_ticks(ticks, [f"{tick:.10g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})


def plain_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two positive ones, enough to read by and not too many.

    >>> plain_ticks(15, 1300), plain_ticks(22, 145), plain_ticks(61, 99)
    ([20, 50, 100, 200, 500, 1000], [30, 50, 70, 100], [70, 80, 90])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in STEPS:
        every = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [int(tick) if tick >= 1 and tick == int(tick) else tick for tick in every]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(best) < FEWEST_TICKS and len(best) < len(ticks) <= MOST_TICKS:
            best = ticks
    return best


def svg(figure: Figure, said: Said) -> str:
    """Return a figure as an SVG element for a page (see :func:`markup.inline`)."""
    stream = io.StringIO()
    backend = f"module://{__package__}.lettering"
    metadata = {"Date": None, "Creator": None}
    figure.savefig(
        stream, format="svg", backend=backend, metadata=metadata, dpi=72, facecolor="none"
    )
    return inline(stream.getvalue(), said.name, said.title, said.seen)


def mark(
    axes: Axes, x: float, y: float, colour: Colour, marker: str, part: str, *,
    hollow: bool = False, size: float = MARK,
) -> None:  # fmt: skip
    """Draw one point; hollow: it does not count."""
    axes.plot(
        [x],
        [y],
        marker=marker,
        linestyle="none",
        markerfacecolor=PAPER.light if hollow else colour.light,
        markeredgecolor=colour.light if hollow else PAPER.light,
        markeredgewidth=1.4 if hollow else 0.8 if size > SMALL_MARK else 0.0,
        markersize=size,
        zorder=4,
        gid=f"part:{part}",
        clip_on=False,
    )
