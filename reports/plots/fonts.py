"""Fonts of this machine, for what cannot leave them to the reader's: a PNG, a PDF."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .drawing import canvas
from .palette import ACCENTS, INK, PAPER, SOFT
from .typesetting import Piece

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # ship with matplotlib
CHINESE = (
    "notosanssc", "notosanscjksc", "sourcehansanssc", "wqy-microhei", "wqy-zenhei", "notosanscjk",
    "pingfang", "msyh", "simhei", "hiragino sans gb", "droidsansfallback", "arialuni",
)  # fmt: skip
"""How the files of fonts with Chinese characters begin; the first that is there is taken."""
COLOURS: Mapping[str, tuple[str, str]] = {  # on light and on dark paper; contrast 4.5:1 or more
    "paper": (PAPER.light, PAPER.dark),
    "ink": (INK.light, INK.dark),
    "soft": (SOFT.light, SOFT.dark),
    "accent": (ACCENTS[0].light, ACCENTS[0].dark),
    "line": ("#d0d7de", "#3d444d"),
    "good": ("#0a6b3d", "#4fd18b"),
    "warn": ("#9a4a00", "#f0a558"),
    "bad": ("#b3261e", "#ff8f85"),
}


def _read(path: str) -> set[int]:
    """Return the characters that a font's first face has."""
    from matplotlib import font_manager

    return set(font_manager.get_font(path).get_charmap())


def families(texts: Iterable[str]) -> list[str] | None:
    """Return the families that together have every character; None if this machine has none.

    Beside the font that ships with matplotlib it is one with Chinese characters, if one is needed.
    """
    from matplotlib import font_manager

    own = font_manager.findfont(SANS)
    needed = {ord(character) for text in texts for character in text} - _read(own)
    if not needed:
        return [SANS]
    for path in _chinese():
        if needed <= _read(path):
            font_manager.fontManager.addfont(path)
            names = [
                entry.name for entry in font_manager.fontManager.ttflist if entry.fname == path
            ]
            # A collection may have a face a country: the Chinese one is named so.
            return [SANS, next((name for name in names if name.endswith("SC")), names[0])]
    return None


def _chinese() -> Iterator[str]:
    """Yield the paths of this machine's fonts with Chinese characters, the best first."""
    from matplotlib import font_manager

    there = sorted(font_manager.findSystemFonts())
    for start in CHINESE:
        for path in there:
            if Path(path).name.lower().startswith(start) and _is_regular(path):
                yield path


def _is_regular(path: str) -> bool:
    weights = ("bold", "light", "thin", "black", "medium", "demi")
    return not any(weight in Path(path).stem.lower() for weight in weights)


@contextmanager
def lettered_canvas(width: float, height: float, texts: Iterable[str]) -> Iterator[Figure | None]:
    """Yield a figure of this size in points with fonts for these texts; None if there are none."""
    with canvas(width, height) as figure:
        from matplotlib import rc_context

        found = families(texts)
        if found is None:
            yield None
            return
        own: dict[Any, Any] = {
            "font.family": found,
            "text.hinting": "no_hinting",
        }
        with rc_context(own), _quiet():
            figure.set_facecolor("white")
            yield figure


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep matplotlib from telling that a font with Chinese characters has no bold ones."""
    teller = logging.getLogger("matplotlib.font_manager")
    before = teller.level
    teller.setLevel(logging.ERROR)
    try:
        yield
    finally:
        teller.setLevel(before)


def write(
    figure: Figure, pieces: Sequence[Piece], top: float, left: float = 0.0, scale: float = 1.0
) -> None:
    """Write lines of text, in colours for light paper.

    ``top`` and ``left`` are the corner that they count from, in points from below.
    """
    width, height = (72 * inches for inches in figure.get_size_inches())
    for piece in pieces:
        figure.text(
            (left + piece.x * scale) / width,
            (top - piece.y * scale) / height,
            piece.text,
            size=piece.size * scale,
            color=COLOURS[piece.role][0],
            weight=piece.weight,
            ha="right" if piece.anchor == "end" else "left",
            va="baseline",
            family=MONO if piece.mono else None,
        )
