"""Pages: a report in one language: the answer, then the evidence, a section a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..facts.report import Report
from ..text import phrases
from ..text.language import Language
from ..text.tables import Group, Page, Section
from .answer import card
from .article import article
from .costs import costs
from .downloads import downloads
from .gate import gate
from .history import history
from .method import method
from .pictures.pictures import pictures
from .points import measured, open_loop
from .provenance import provenance
from .scaling import scaling
from .variants import variants
from .warnings import warnings

# The evidence that is made before the pictures and after them.  A section that has nothing to show
# returns None.
Maker = Callable[[Report, Language], Section | None]
BEFORE: tuple[Maker, ...] = (measured,)
AFTER: tuple[Maker, ...] = (
    scaling,
    open_loop,
    variants,
    gate,
    article,
    costs,
    method,
    warnings,
    history,
    provenance,
)
# The groups of the contents, in the page's order, and the sections of each.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "speed": (
        "measured", "latency", "throughput", "distribution", "stages", "ceiling", "scaling", "open",
    ),
    "cost": ("cost", "costs"),
    "quality": ("size", "variants", "gate"),
    "sources": (
        "article", "method", "warnings", "history", "provenance", "left-out", "downloads",
    ),
}  # fmt: skip
OF_POINTS = frozenset({"measured", "scaling", "open"})  # sections whose rows are points
MOST_ROWS = 300  # nobody reads longer tables; a spreadsheet sorts and filters them


def page(report: Report, language: Language, files: Mapping[str, int] | None = None) -> Page:
    """Return the page of a report in one language; ``files``: what to link, with its bytes."""
    header, say = report.header, language.say
    return Page(
        language=language,
        title=say("page.title", model=model_name(report, language)),
        lead=lead(report, language),
        caveat=language.pick(header.model, "caveat"),
        card=card(report, language),
        groups=_grouped(_evidence(report, language, files or {}), language),
        footer=say("page.footer", tool=header.tool),
    )


def _grouped(sections: Iterable[Section], language: Language) -> tuple[Group, ...]:
    made = {section.id: section for section in sections}
    groups = (
        Group(language.say(f"contents.{name}"), tuple(made.pop(one) for one in ids if one in made))
        for name, ids in GROUPS.items()
    )
    kept = tuple(group for group in groups if group.sections)
    assert not made, f"in no group: {', '.join(made)}"
    return kept


def _evidence(report: Report, language: Language, files: Mapping[str, int]) -> Iterator[Section]:
    def made(makers: Sequence[Maker]) -> Iterator[Section]:
        sections = (make(report, language) for make in makers)
        return (_short(section, language) for section in sections if section is not None)

    yield from made(BEFORE)
    yield from pictures(report, language)
    yield from made(AFTER)
    if files:
        yield downloads(files, language)


def _short(section: Section, language: Language) -> Section:
    """Return a section of points without its long tables; a line says where their rows are."""
    long = [grid for grid in section.grids if len(grid.rows) > MOST_ROWS]
    if section.id not in OF_POINTS or not long:
        return section
    kept = tuple(grid for grid in section.grids if grid not in long)
    said = (language.say("downloads.rows", rows=len(grid.rows)) for grid in long)
    return replace(section, grids=kept, notes=(*section.notes, *said))


def lead(report: Report, language: Language) -> str:
    """Return one line: which model, on which machine, when."""
    header = report.header
    return language.say(
        "page.lead",
        model=model_name(report, language),
        parameters=phrases.large(header.model["parameters"], language),
        cpu=header.machine["cpu"],
        cores=report.bench.cores,
        date=header.started[:10],
    )


def model_name(report: Report, language: Language) -> str:
    """Return the model's title in the language, else its name."""
    model = report.header.model
    return language.pick(model, "title") or str(model.get("name") or language.words["untitled"])
