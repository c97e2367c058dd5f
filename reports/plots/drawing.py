"""Drawing: the look of every plot, and the matplotlib they share.

Only the modules of this folder import matplotlib.  Text stays text (see lettering.py) and ids have
a fixed salt, so the same points give the same bytes on every machine with the same matplotlib.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...toolkit.processes import interrupts_held
from ..facts.estimates import Estimate
from ..facts.points import MeasuredPoint, Series
from .markup import inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe colours, without the yellow that vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h", "<", ">", "p")
INK = "#24292f"
MUTED = "#6e7781"
GRID = "#e6e8eb"
TOO_FEW = "no point has enough answers for a percentile"
STYLE: dict[Any, Any] = {  # matplotlib types the keys as one huge Literal
    "svg.fonttype": "none",
    "svg.hashsalt": "tiankong",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 9.0,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
}


@dataclass(frozen=True)
class Style:
    """How one series is drawn in every plot."""

    name: str
    colour: str
    marker: str


def looks(points: Sequence[MeasuredPoint]) -> dict[Series, Style]:
    """Return the style of each series, in the order of the points."""
    names = dict.fromkeys(point.series for point in points)
    return {
        series: Style(
            " / ".join(series), COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        )
        for place, series in enumerate(names)
    }


def finite(estimate: Estimate | None) -> float | None:
    """Return the value to draw; None for "too few" and for infinity (among the failures)."""
    return estimate.value if estimate is not None and math.isfinite(estimate.value) else None


def mark(axes: Axes, x: float, y: float, look: Style, *, hollow: bool = False) -> None:
    """Draw one point, hollow where no repeat is valid."""
    axes.plot(
        [x],
        [y],
        marker=look.marker,
        linestyle="none",
        markerfacecolor="white" if hollow else look.colour,
        markeredgecolor=look.colour if hollow else "white",
        markeredgewidth=1.6 if hollow else 0.9,
        markersize=7.5,
        zorder=4,
    )


def say_empty(axes: Axes) -> None:
    """Write into empty axes that there is nothing to draw."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, TOO_FEW, transform=axes.transAxes, ha="center", color=MUTED)


def plain_log(axis: Any, set_scale: Any) -> None:
    """Make an axis logarithmic with plain numbers as ticks (20, 50, 100), as many as fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    set_scale("log")
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


def ink(colour: str) -> str:
    """Return a colour dark enough for text on white.

    >>> ink("#56B4E9")
    '#3a7a9e'
    """
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part * 0.68):02x}" for part in parts)


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of this size in inches, in the style of all plots."""
    with interrupts_held():  # an interrupt while its extensions initialize aborts the process
        import matplotlib as mpl
        from matplotlib.figure import Figure

        from . import lettering  # noqa: F401 (else savefig imports it later)

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # What the font lacks is written as text; only the layout sees the missing characters.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield Figure(figsize=(width, height), layout="constrained", facecolor="white")


def svg(figure: Figure, name: str, title: str, seen: str) -> str:
    """Return a figure as an SVG element for a page (see :func:`markup.inline`)."""
    stream = io.StringIO()
    backend = f"module://{__package__}.lettering"
    metadata = {"Date": None, "Creator": None}
    figure.savefig(stream, format="svg", backend=backend, metadata=metadata)
    return inline(stream.getvalue(), name, title, seen)
