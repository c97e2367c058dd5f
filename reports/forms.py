"""Forms: the answer as files that travel without the page."""

from __future__ import annotations

from .facts.report import Report
from .plots.card import card_png, card_values
from .printing import printed
from .sections.decision import decision
from .text.decision import Decision
from .text.language import LANGUAGES, read_language

CARD = {"en": "card.svg", "zh": "card.zh.svg"}
CARD_PNG = {"en": "card.png", "zh": "card.zh.png"}
LETTERED = {*CARD_PNG.values()}
"""Forms that are made only where every character has a font."""


def forms(report: Report) -> dict[str, str | bytes]:
    """Return each form's content by its file's name; without those that no font here can write."""
    files: dict[str, str | bytes] = {}
    for code in LANGUAGES:
        shown = decision(report, read_language(code))
        files[CARD[code]] = card_svg(shown)
        if (picture := card_png(shown)) is not None:
            files[CARD_PNG[code]] = picture
    return files


def card_svg(shown: Decision) -> str:
    """Return a decision card as SVG text."""
    return printed("card.svg.j2", **card_values(shown))
