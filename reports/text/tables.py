"""Tables of formatted text, the pages made of them, and phrases that several tables use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...toolkit.runs.load import Load
from ..facts.estimates import Estimate
from . import figures
from .language import Language


@dataclass(frozen=True)
class Badge:
    """A short remark that links to its place (an id) on the page; ``title`` names what is there."""

    text: str
    place: str
    title: str


@dataclass(frozen=True)
class Entry:
    """One entry of a table; ``tone``: "", "good", "bad" or "muted"; ``note``: small print."""

    text: str
    note: str = ""
    tone: str = ""
    badge: Badge | None = None


@dataclass(frozen=True)
class Table:
    """A table of text; ``words`` has the numbers of the columns with words, others have figures.

    ``folded``: only the caption is in view until a reader opens it.  ``place``: its id, if another
    part of the page links to it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str = ""
    words: frozenset[int] = frozenset({0})
    folded: bool = False
    place: str = ""


def stack(name: str, language: Language) -> str:
    """Return a server stack's name for readers."""
    return language.say_or(f"stack.{name}", name)


def columns(language: Language, keys: Iterable[str], **values: object) -> tuple[str, ...]:
    """Return the headings of a table's columns."""
    return tuple(language.say(f"column.{key}", **values) for key in keys)


def milliseconds(latency: Estimate | None, language: Language) -> str:
    """Return a latency as text; None means that there were too few answers for it."""
    if latency is None:
        return language.say("cell.too_few")
    return figures.significant(latency.value)


def load(spec: Load, language: Language) -> str:
    """Return a load as a phrase: users or arrival rate, then what is not plain (``shape``)."""
    parts = [language.count(spec.users) if spec.users else "", *shape(spec, language)]
    if spec.rate is not None:
        parts[0] = language.say("load.rate", rate=figures.unrounded(spec.rate))
    return str(language.words["load"]["and"]).join(part for part in parts if part)


def shape(spec: Load, language: Language) -> list[str]:
    """Return sentence length, batch and cores, each as a phrase, where a load sets them."""
    parts = []
    if spec.tokens is not None:
        parts.append(language.say("load.tokens", tokens=spec.tokens))
    if spec.batch != 1:
        parts.append(language.say("load.batch", batch=spec.batch))
    if spec.cores is not None:
        key = "load.core" if spec.cores == 1 else "load.cores"
        parts.append(language.say(key, cores=spec.cores))
    return parts


@dataclass(frozen=True)
class Picture:
    """A picture: an SVG element for the page (``markup``), and the file that holds it alone.

    ``title`` names it, ``alt`` says what is to be seen; both are in ``markup`` already.
    """

    file: str
    title: str
    alt: str
    markup: str


@dataclass(frozen=True)
class Download:
    """A file beside the page: its name, and what is in it and how large it is, in words."""

    file: str
    text: str


@dataclass(frozen=True)
class Ranks:
    """The best tokens for a blank as one model gives them: each a token, its chance, whether right.

    ``chance`` is text ("" if it is not known).
    """

    title: str
    tokens: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Contrast:
    """A sentence with a blank, and two answers side by side.

    ``remark`` says who is right, or another thing about the pair; ``answer`` is the right token in
    words ("" if there is none).
    """

    name: str
    before: str
    after: str
    answer: str
    remark: str
    ranks: tuple[Ranks, ...]
    tone: str = ""


@dataclass(frozen=True)
class Contrasts:
    """Contrasts of one kind under a heading, with a sentence about all of them."""

    caption: str
    lead: str
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Printed in this order: paragraphs, grids, pictures, contrasts, items (after ``items_lead``),
    downloads, notes.  ``gist`` says in one line what is inside: evidence is folded, so this line is
    all that is seen of it at first.
    """

    id: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    grids: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    items: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    notes: tuple[str, ...] = ()
    gist: str = ""
    contrasts: tuple[Contrasts, ...] = ()
    items_lead: str = ""


@dataclass(frozen=True)
class Group:
    """Sections under one heading in the page's contents."""

    heading: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Line:
    """What the card says of one thing (``key``), with a label for readers."""

    key: str
    label: str
    text: str


@dataclass(frozen=True)
class Card:
    """The answer in words.

    ``status`` is the answer's; ``commands`` are lines for a shell; ``caveat`` is what the model
    cannot tell, in one line ("" if nothing).
    """

    status: str
    headline: str
    lines: tuple[Line, ...]
    commands: tuple[str, ...]
    caveat: str = ""


@dataclass(frozen=True)
class Page:
    """A page in one language; ``caveat`` (what the model cannot tell) may be empty."""

    language: Language
    title: str
    lead: str
    caveat: str
    card: Card
    groups: tuple[Group, ...]
    footer: str

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections, in the page's order."""
        return tuple(section for group in self.groups for section in group.sections)
