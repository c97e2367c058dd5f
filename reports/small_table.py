"""The small table: one run as a few lines of Markdown, for the summary of a CI job."""

from __future__ import annotations

from ..toolkit.runs.run_file import Run
from .facts.article import read_article
from .facts.prices import read_prices
from .facts.question import NO_WISHES, Wishes
from .facts.report import compose
from .sections.answer import sentences
from .sections.points import small_grid
from .text.language import read_language
from .text.markdown import escape, lines


def markdown_table(run: Run, wishes: Wishes = NO_WISHES, gpu: Run | None = None) -> str:
    """Return one run as a compact Markdown table with the answer, for a CI job's summary.

    Raises UnusableInputError if the run has no cell, or for a wish that is none.
    """
    language = read_language("en")
    report = compose([run], read_article(), read_prices(), wishes, gpu)
    small = small_grid(report, language)
    title = language.pick(run.header.model, "title") or str(run.header.model.get("name"))
    head = f"**{escape(title)}**, run {escape(run.header.run)}"
    answer = [escape(sentence) for sentence in sentences(report, language)]
    return "\n".join(
        [head, "", f"**{answer[0]}**", "", *lines(small), "", " ".join(answer[1:]), ""]
    )
