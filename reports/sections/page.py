"""Pages: a report in one language: the answer, then the evidence, a section a topic."""

from __future__ import annotations

from collections.abc import Callable

from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Page, Section
from .answer import card
from .article import article
from .costs import costs
from .machine import machine
from .method import method
from .pictures import costs_plot, latency
from .points import measured, open_loop
from .scaling import scaling
from .variants import variants
from .warnings import warnings

# The evidence in the page's order.  A section that has nothing to show returns None.
EVIDENCE: tuple[Callable[[Report, Language], Section | None], ...] = (
    measured,
    latency,
    costs_plot,
    scaling,
    open_loop,
    variants,
    article,
    costs,
    machine,
    method,
    warnings,
)
PER_COUNT = 1_000_000


def page(report: Report, language: Language) -> Page:
    """Return the page of a report in one language."""
    header, say = report.header, language.say
    title = language.pick(header.model, "title") or str(
        header.model.get("name") or language.words["untitled"]
    )
    sections = (make(report, language) for make in EVIDENCE)
    return Page(
        language=language,
        title=say("page.title", model=title),
        lead=_lead(report, language, title),
        caveat=language.pick(header.model, "caveat"),
        card=card(report, language),
        sections=tuple(section for section in sections if section is not None),
        footer=say("page.footer", tool=header.tool),
    )


def _lead(report: Report, language: Language, title: str) -> str:
    """Return one line: which model, on which machine, when."""
    header = report.header
    return language.say(
        "page.lead",
        model=title,
        parameters=figures.significant(header.model["parameters"] / PER_COUNT),
        cpu=header.machine["cpu"],
        cores=report.bench.cores,
        date=header.started[:10],
    )
