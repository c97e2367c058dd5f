"""Lettering: how text gets into a plot, also what the plots' own font cannot draw.

Text is drawn as paths, which look the same everywhere.  The font that ships with matplotlib has no
Chinese characters, and none that has them can be taken for granted where a report is made.  A line
with such a character is therefore written as text, with a list of fonts for the reader's machine.

This is a backend of matplotlib (``savefig(backend=...)``); importing it imports matplotlib.
"""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, Any

from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

OTHERS = (
    "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "SimHei", "sans-serif",
)  # fmt: skip
"""Fonts with Chinese characters, as systems bring them; the reader's machine takes the first."""


def can_draw(text: str, font: FontProperties) -> bool:
    """Tell whether a font has every character of a text."""
    known = font_manager.get_font(font_manager.findfont(font)).get_charmap()
    return all(ord(character) in known for character in text)


class Lettering(RendererSVG):
    """Draws text as paths, or as text where the font lacks a character."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: FontProperties, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        """Draw one line."""
        draw: Any = super().draw_text  # matplotlib gives it no types
        if can_draw(s, prop):
            draw(gc, x, y, s, prop, angle, ismath, mtext)
            return
        wider = prop.copy()
        wider.set_family([*prop.get_family(), *OTHERS])
        with rc_context({"svg.fonttype": "none"}):
            draw(gc, x, y, s, wider, angle, ismath, mtext)


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
