"""Layout: what a page is made of, whatever prints it.

HTML and Markdown are two ways to print the same sections, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from .grids import Grid
from .language import Language


@dataclass(frozen=True)
class Picture:
    """An SVG beside the page, and what it shows in words."""

    file: str
    alt: str


@dataclass(frozen=True)
class Section:
    """One part of a page, in the order: paragraphs, grids, pictures, items, small print."""

    id: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    items: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One language's page; ``caveat`` is empty where the model needs none."""

    language: Language
    title: str
    lead: str
    caveat: str
    sections: tuple[Section, ...]
    footer: str
