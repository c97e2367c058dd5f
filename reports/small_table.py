"""The small table: runs as a few lines of Markdown, for the summary of a CI job and the README."""

from __future__ import annotations

from ..toolkit.runs.run_file import Run
from .facts.article import read_article
from .facts.prices import read_prices
from .facts.question import NO_WISHES, Wishes
from .facts.report import Report, compose
from .sections.answer import card
from .sections.decision import standing_words
from .sections.points import SMALL, best_grid, small_grid
from .text.language import Language, read_language
from .text.markdown import escape, lines


def markdown_table(run: Run, wishes: Wishes = NO_WISHES, gpu: Run | None = None) -> str:
    """Return one run as Markdown: the answer, each variant's best point, how sure, the commands.

    Raises UnusableInputError if the run has no cell, or for a wish that is none.
    """
    language = read_language("en")
    report = compose([run], read_article(), read_prices(), wishes, gpu)
    answer, mark = card(report, language), str(language.words["line"]["mark"])
    told = [f"- **{escape(line.label)}**{mark}{escape(line.text)}" for line in answer.lines]
    commands = ["```sh", *answer.commands, "```", ""] if answer.commands else []
    said = [f"**{escape(answer.headline)}**", "", *best_lines(report, language), "", *told, ""]
    return "\n".join([head(report, language), "", *said, *commands])


def head(report: Report, language: Language) -> str:
    """Return what was measured, in which runs, and how it stands with the answer."""
    model = report.header.model
    return language.say(
        "summary.head",
        title=f"**{escape(language.pick(model, 'title') or str(model.get('name')))}**",
        run=escape(str(language.words["list"]).join(run.header.run for run in report.runs)),
        status=standing_words(report, language),
    )


def best_lines(report: Report, language: Language) -> list[str]:
    """Return a Markdown table of each variant's best point; of all points if none is plain."""
    shown = best_grid(report, language, SMALL) if report.points else small_grid(report, language)
    return lines(shown, str(language.words["twin"]["note"]))
