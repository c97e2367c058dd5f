"""Typesetting: text broken into lines that fit a width, whatever the reader's font.

It is measured with wide letters (lettering.py), so that in most fonts text is narrower than the
room that it was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...toolkit.processes import interrupts_held

CLOSING = "，。、；：！？）》」』”’%…—–,.;:!?)]}"  # no line begins with one of these
OPENING = "（《「『“‘([{"  # no line ends with one of these
CHINESE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
PARTS = re.compile(rf"\s+|[{CHINESE}]|[^\s{CHINESE}]+")
JOINTS = re.compile(r"(?<=[-_/.=@])")  # where a word that fits no line is broken first
MONO, WIDE = 0.61, 0x2E80  # em of a fixed-width letter; where Chinese characters begin


@dataclass(frozen=True)
class Piece:
    """A line of text at its place: ``x`` from the left, ``y`` of the baseline from the top.

    ``role`` names its colour, ``anchor`` is "start" or "end" (of the text, at ``x``).
    """

    text: str
    x: float
    y: float
    size: float
    role: str = "ink"
    bold: bool = False
    anchor: str = "start"
    mono: bool = False

    @property
    def weight(self) -> int:
        """The weight of its letters, as CSS counts it."""
        return 700 if self.bold else 400


def text_width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return the width of a line of text, in the unit of ``size``."""
    if mono:
        return sum(MONO if ord(character) < WIDE else 1.0 for character in text) * size
    with interrupts_held():  # an interrupt while matplotlib's extensions initialize aborts
        from . import lettering
    return lettering.text_width(text, size, bold=bold)


def broken(
    text: str, width: float, size: float, *, bold: bool = False, mono: bool = False
) -> list[str]:
    """Return a text as lines no wider than ``width``.

    Lines end at spaces and between Chinese characters, but none begins with a closing sign or ends
    with an opening one; a word that is wider than a line is broken.
    """

    def fits(line: str) -> bool:
        return text_width(line.rstrip(), size, bold=bold, mono=mono) <= width

    lines, line = [], ""
    for word in _words(text):
        for part in [word] if fits(word) else _broken_word(word, fits):
            if line and not fits(line + part):
                lines.append(line.rstrip())
                line = ""
            line += part if line else part.lstrip()
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def fitted(
    text: str, width: float, sizes: tuple[float, float], lines: int, *, bold: bool = False
) -> tuple[float, list[str]]:
    """Return the largest size from ``sizes`` (largest, smallest) and the lines of a text in it.

    The text has at most so many lines; only at the smallest size it may have more.
    """
    size, smallest = sizes
    while size > smallest:
        found = broken(text, width, size, bold=bold)
        # A word broken in the middle is worse than smaller letters.
        whole = all(text_width(word, size, bold=bold) <= width for word in text.split())
        if len(found) <= lines and whole:
            return size, found
        size -= 1
    return smallest, broken(text, width, smallest, bold=bold)


def _words(text: str) -> Iterator[str]:
    """Yield the parts between which a line may end; spaces stay with the word before them."""
    held = ""
    for part in PARTS.findall(text):
        glued = held and (part.isspace() or part[0] in CLOSING or held.rstrip()[-1:] in OPENING)
        if held and not glued:
            yield held
            held = ""
        held += " " if part.isspace() else part
    if held:
        yield held


def _broken_word(word: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Yield the pieces of a word that is too wide for a line: at its joints, else anywhere."""
    for piece in JOINTS.split(word):
        held = ""
        for character in piece:
            if held and not fits(held + character):
                yield held
                held = ""
            held += character
        if held:
            yield held
