"""Forms: the answer as files that travel without the page."""

from __future__ import annotations

from .facts.report import Report
from .plots.card import card_png, card_values
from .plots.sheet import sheet_pdf
from .plots.small_cost import SmallCost
from .printing import printed
from .sections.sheet import sheet, small_cost
from .text.decision import Decision
from .text.language import LANGUAGES, read_language

CARD = {"en": "card.svg", "zh": "card.zh.svg"}
CARD_PNG = {"en": "card.png", "zh": "card.zh.png"}
SHEET = {"en": "answer.pdf", "zh": "answer.zh.pdf"}
LETTERED = {*CARD_PNG.values(), *SHEET.values()}
"""Forms that are made only where every character has a font."""


def forms(report: Report) -> dict[str, bytes]:
    """Return each form's content by its file's name; without those that no font here can write."""
    files: dict[str, bytes] = {}
    for code in LANGUAGES:
        language = read_language(code)
        shown, drawn = sheet(report, language), small_cost(report, language)
        picture = drawn and SmallCost(*drawn)
        files[CARD[code]] = card_svg(shown.decision).encode("utf-8")
        made = {CARD_PNG[code]: card_png(shown.decision), SHEET[code]: sheet_pdf(shown, picture)}
        files |= {name: content for name, content in made.items() if content is not None}
    return files


def card_svg(shown: Decision) -> str:
    """Return a decision card as SVG text."""
    return printed("card.svg.j2", **card_values(shown))
