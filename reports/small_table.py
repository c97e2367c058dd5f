"""The small table: one run as a few lines of Markdown, for the summary of a CI job."""

from __future__ import annotations

from ..toolkit.runs.run_file import Run
from .facts.article import read_article
from .facts.prices import read_prices
from .facts.report import compose
from .sections.points import small_grid
from .sections.verdict import verdict_sentences
from .text.language import read_language
from .text.markdown import escape, lines


def markdown_table(run: Run) -> str:
    """Return one run as a compact Markdown table with its verdict, for a CI job's summary.

    Raises UnusableInputError if the run has no cell.
    """
    language = read_language("en")
    report = compose([run], read_article(), read_prices())
    small = small_grid(report, language)
    title = language.pick(run.header.model, "title") or str(run.header.model.get("name"))
    head = f"**{escape(title)}**, run {escape(run.header.run)}"
    verdict = escape(language.join(verdict_sentences(report, language)))
    return "\n".join([head, "", *lines(small), "", verdict, ""])
