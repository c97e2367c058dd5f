"""The decision card: where every line of it stands, and the same card as a PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..text.decision import Decision
from .fonts import COLOURS, lettered_canvas, write
from .markup import FONTS
from .typesetting import Piece, broken, fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 840.0
EDGE = 36.0  # between the card's border and its text
LABEL = 128.0  # the column of labels
GAP = 14.0
CHOICE = (40.0, 24.0)  # the largest and the smallest letters of what to deploy
PRICE = (25.0, 17.0)
TERM, ROW, SMALL = 18.0, 15.0, 13.0
RADIUS = 14.0  # of the corners
BAND = 10.0  # the width of the band whose colour is the status
LEADING = 1.36  # of a line, in its letters' size
PIXELS = 2  # a PNG has so many in each direction for one of the SVG
TONES = {"decided": "good", "tie": "warn", "undecided": "warn"}


@dataclass(frozen=True)
class CardLayout:
    """A card's size, its lines, and the colour of its status; ``rule`` is where a line parts it."""

    width: float
    height: float
    pieces: tuple[Piece, ...]
    tone: str
    rule: float


def lay_out(shown: Decision, width: float = WIDTH) -> CardLayout:
    """Return a decision laid out on a card; the card grows with what it has to say."""
    tone = TONES.get(shown.status, "bad")
    inner = width - 2 * EDGE
    pieces = [
        Piece(shown.brand, EDGE, EDGE + 8, SMALL + 1, "soft", bold=True),
        Piece(shown.badge, width - EDGE, EDGE + 8, SMALL + 2, tone, bold=True, anchor="end"),
    ]
    y = EDGE + 20
    for place, text in enumerate((shown.choice, *shown.terms)):
        sizes = CHOICE if not place else PRICE if place == 1 else (TERM, TERM)
        role = "ink" if place != 1 else "accent"
        size, lines = fitted(text, inner, sizes, 2 if not place else 1, bold=place < 2)
        y += 8 if place == 1 else 0
        for line in lines:
            y += size * LEADING
            pieces.append(Piece(line, EDGE, y, size, role, bold=place < 2))
    rule = y + 20
    y = rule + 6
    for label, text in shown.rows:
        for place, line in enumerate(broken(text, inner - LABEL - GAP, ROW)):
            y += ROW * LEADING + (4 if not place else 0)
            if not place:
                pieces.append(Piece(label, EDGE, y, ROW, "soft"))
            pieces.append(Piece(line, EDGE + LABEL + GAP, y, ROW))
    y += 14
    for line in broken(shown.footer, inner, SMALL):
        y += SMALL * LEADING
        pieces.append(Piece(line, EDGE, y, SMALL, "soft"))
    return CardLayout(width, round(y + EDGE * 0.8), tuple(pieces), tone, rule)


def card_values(shown: Decision) -> dict[str, Any]:
    """Return what the card's template needs."""
    return {
        "card": lay_out(shown),
        "shown": shown,
        "colours": COLOURS,
        "edge": EDGE,
        "band": BAND,
        "radius": RADIUS,
        "fonts": FONTS,
    }


def card_png(shown: Decision) -> bytes | None:
    """Return the card as a PNG on light paper; None if no font here has its characters."""
    layout = lay_out(shown)
    stream = io.BytesIO()
    with lettered_canvas(layout.width, layout.height, texts(layout)) as figure:
        if figure is None:
            return None
        draw_card(figure, layout, layout.height)
        figure.savefig(stream, format="png", dpi=72 * PIXELS, metadata={"Software": None})
    return stream.getvalue()


def texts(layout: CardLayout) -> list[str]:
    """Return the texts that a card needs characters for."""
    return [piece.text for piece in layout.pieces]


def draw_card(
    figure: Figure, layout: CardLayout, top: float, left: float = 0.0, scale: float = 1.0
) -> None:
    """Draw a card on light paper; ``top`` and ``left`` are its corner, in points from below."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyBboxPatch, Rectangle

    points, unit = figure.dpi_scale_trans, scale / 72
    x, low = left / 72, top / 72 - layout.height * unit
    colours = {name: light for name, (light, _) in COLOURS.items()}
    frame = FancyBboxPatch(
        (x + unit, low + unit),
        (layout.width - 2) * unit,
        (layout.height - 2) * unit,
        boxstyle=f"round,pad=0,rounding_size={RADIUS * unit}",
        transform=points,
        facecolor=colours["paper"],
        edgecolor=colours["line"],
        linewidth=1.5 * scale,
    )
    band = Rectangle(
        (x, low),
        BAND * unit,
        layout.height * unit,
        transform=points,
        facecolor=colours[layout.tone],
        linewidth=0,
    )
    ends, height = (
        (x + EDGE * unit, x + (layout.width - EDGE) * unit),
        top / 72 - layout.rule * unit,
    )
    rule = Line2D(ends, [height] * 2, transform=points, linewidth=scale, color=colours["line"])
    for artist in (frame, band, rule):
        figure.add_artist(artist)
    band.set_clip_path(frame)
    write(figure, layout.pieces, top, left, scale)
