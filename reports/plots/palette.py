"""Palette: every colour of the pictures, on a light and on a dark page.

Lines, markers and text have a contrast of at least 4.5:1 with the paper, in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour by its name, as #rrggbb on light and on dark paper; no two have one ``light``."""

    name: str
    light: str
    dark: str


PAPER = Colour("paper", "#ffffff", "#0f1419")
INK = Colour("ink", "#1f2328", "#e6edf3")
SOFT = Colour("soft", "#59636e", "#9aa6b2")
"""Axes, the series that do not stand out, and their names."""
ACCENTS = (
    Colour("first", "#0b62a8", "#6cb6ff"),
    Colour("second", "#b8480a", "#ff9e64"),
    Colour("third", "#0a7350", "#4fd1a1"),
    Colour("fourth", "#9c3d77", "#f29ac8"),
)
"""The series that stand out; told apart by readers with red-green blindness too, and by markers."""
SHARES = (
    Colour("share-read", "#7a6a00", "#d6c04c"),
    Colour("share-tokenize", "#00707a", "#4cc7d2"),
    Colour("share-queue", "#b25b00", "#f0a558"),
    Colour("share-engine", "#34558b", "#86a9e0"),
    Colour("share-rank", "#7b4ba0", "#c59be6"),
    Colour("share-write", "#556b1f", "#a9c36a"),
    Colour("share-outside", "#6b727a", "#8b949e"),
)
"""Where a request's time goes; no series has one of these."""
COLOURS = (PAPER, INK, SOFT, *ACCENTS, *SHARES)


def style() -> str:
    """Return the CSS that gives the pictures in a page their colours, as custom properties.

    A print is always on light paper.
    """
    light = ";".join(f"--picture-{colour.name}:{colour.light}" for colour in COLOURS)
    dark = ";".join(f"--picture-{colour.name}:{colour.dark}" for colour in COLOURS)
    rules = "".join(_rules(f"var(--picture-{colour.name})", colour) for colour in COLOURS)
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}\n"
    )


def dark_style(used: str) -> str:
    """Return the CSS that a file of its own needs on dark paper, for the colours used in it."""
    rules = "".join(
        _rules(colour.dark, colour) for colour in _used(used) if colour.dark != colour.light
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules}}}"


def _used(markup: str) -> Iterator[Colour]:
    for colour in COLOURS:
        if f"f-{colour.name}" in markup or f"s-{colour.name}" in markup or colour is PAPER:
            yield colour


def _rules(value: str, colour: Colour) -> str:
    return f".f-{colour.name}{{fill:{value}}}.s-{colour.name}{{stroke:{value}}}"
