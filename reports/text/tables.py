"""Grids: tables of finished text, and the few phrases all of them share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...toolkit.runs.load import Load
from ..facts.estimates import Estimate
from . import figures
from .language import Language


@dataclass(frozen=True)
class Entry:
    """One place of a grid; ``tone`` is "", "good", "bad" or "muted", ``note`` the small print."""

    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text: the columns in ``words`` are words, the others figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str = ""
    words: frozenset[int] = frozenset({0})


def stack(name: str, language: Language) -> str:
    """Return a server stack as a reader calls it."""
    return language.say_or(f"stack.{name}", name)


def columns(language: Language, keys: Iterable[str], **values: object) -> tuple[str, ...]:
    """Return the headings of a grid's columns."""
    return tuple(language.say(f"column.{key}", **values) for key in keys)


def milliseconds(latency: Estimate | None, language: Language) -> str:
    """Return a latency, or that there were too few answers for it."""
    if latency is None:
        return language.say("cell.too_few")
    return figures.significant(latency.value)


def load(asked: Load, language: Language) -> str:
    """Return a load as a phrase: users or arrivals, then whatever is not plain."""
    parts = [language.count(asked.users) if asked.users else "", *shape(asked, language)]
    if asked.rate is not None:
        parts[0] = language.say("load.rate", rate=figures.given(asked.rate))
    return str(language.words["load"]["and"]).join(part for part in parts if part)


def shape(asked: Load, language: Language) -> list[str]:
    """Return the parts of a load that are not plain, each as a phrase."""
    parts = []
    if asked.tokens is not None:
        parts.append(language.say("load.tokens", tokens=asked.tokens))
    if asked.batch != 1:
        parts.append(language.say("load.batch", batch=asked.batch))
    if asked.cores is not None:
        key = "load.core" if asked.cores == 1 else "load.cores"
        parts.append(language.say(key, cores=asked.cores))
    return parts


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
    grids: tuple[Table, ...] = ()
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
