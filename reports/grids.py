"""Grids: tables of finished text, and the few phrases all of them share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import figures
from .language import Language
from .tables import Spread


@dataclass(frozen=True)
class Entry:
    """One place of a grid; ``tone`` is "", "good", "bad" or "muted", ``note`` the small print."""

    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Grid:
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


def milliseconds(spread: Spread | None, language: Language) -> str:
    """Return the median latency, or that there were too few answers for it."""
    if spread is None:
        return language.say("cell.too_few")
    return figures.significant(spread.median)
