"""Lettering: text in a picture stays text, in the fonts of the reader's machine.

Which these are is not known where the picture is made, so the layout allows for the wide letters
of the font that ships with matplotlib, and one em for each character that it lacks (Chinese).

This is a backend of matplotlib (``savefig(backend=...)``); importing it imports matplotlib.
"""

from __future__ import annotations

import codecs
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import font_manager, get_data_path
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.colors import to_hex
from matplotlib.ft2font import LoadFlags

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

ANCHORS = {"left": "start", "center": "middle", "right": "end"}
ASCENT, DESCENT = 0.88, 0.24  # of an em, from the baseline
BOLD = 600  # the least weight that is measured as bold
EMOJI = 0x1F000  # characters from here on are wider than an em
UNIT = 64.0  # pixels an em at which letters are measured


@cache
def _advance(character: str, bold: bool) -> float:
    """Return a character's width in em."""
    # The file that ships with matplotlib: the same on every machine.
    name = f"fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"
    font = font_manager.get_font(str(Path(get_data_path(), name)))
    if ord(character) not in font.get_charmap():
        return 1.4 if ord(character) >= EMOJI else 1.0
    font.set_size(UNIT, 72)
    return float(
        font.load_char(ord(character), LoadFlags.NO_HINTING).linearHoriAdvance / 65536 / UNIT
    )


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line of text, in the unit of ``size``."""
    return sum(_advance(character, bold) for character in text) * size


class Lettering(RendererSVG):
    """Writes text as text elements, anchored where it is aligned."""

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: Any
    ) -> tuple[float, float, float]:
        """Return how much room a line of text is given, in points."""
        size = prop.get_size_in_points()
        width = text_width(s, size, bold=_weight(prop) >= BOLD)
        return width, (ASCENT + DESCENT) * size, DESCENT * size

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: FontProperties, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        """Write one line."""
        written = {"font-size": f"{prop.get_size_in_points():g}", "fill": to_hex(gc.get_rgb())}
        if _weight(prop) >= BOLD:
            written["font-weight"] = str(_weight(prop))
        if mtext is not None and not angle:
            x = mtext.get_transform().transform(mtext.get_unitless_position())[0]
            if (anchor := ANCHORS[mtext.get_ha()]) != "start":
                written["text-anchor"] = anchor
        if angle:
            written["transform"] = f"rotate({-angle:g} {x:.1f} {y:.1f})"
        writer: Any = self.writer  # matplotlib gives it no types
        writer.element("text", s, attrib={"x": f"{x:.1f}", "y": f"{y:.1f}"} | written)


def _weight(prop: FontProperties) -> int:
    weights: Any = font_manager.weight_dict
    weight: Any = prop.get_weight()
    return int(weights.get(weight, weight))


class FigureCanvas(FigureCanvasSVG):
    """Writes a figure as SVG with this lettering."""

    def print_svg(self, filename: Any, *, metadata: Any = None, **_unused: Any) -> None:
        """Write the figure to an open stream of text or bytes."""
        is_text = isinstance(filename, io.TextIOBase)
        stream = filename if is_text else codecs.getwriter("utf-8")(filename)
        image_dpi, self.figure.dpi = self.figure.dpi, 72
        width, height = self.figure.get_size_inches()
        new: Any = Lettering
        renderer = new(width * 72, height * 72, stream, image_dpi=image_dpi, metadata=metadata)
        self.figure.draw(renderer)
        renderer.finalize()
