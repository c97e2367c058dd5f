"""A decision: the answer in the few words that fit on a card."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """An answer in few words, in one language.

    Args:
        tag: the language's tag (BCP 47).
        brand: whose card it is.
        status: the answer's status, one word without spaces.
        badge: the status in words.
        choice: what to deploy, or that nothing is decided; printed large.
        terms: the lines under it: the machine, the price, what it is for.
        rows: labels with what they say: how sure, the runner-up, what was measured.
        footer: by what it was measured, and when.
        headline: the whole answer in a sentence, for readers who do not see the card.

    """

    tag: str
    brand: str
    status: str
    badge: str
    choice: str
    terms: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    footer: str
    headline: str
