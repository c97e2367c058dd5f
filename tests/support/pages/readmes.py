"""The committed pages and the READMEs' blocks of figures, made from the run files in the pages.

``python tests/support/pages/readmes.py`` (``nox -s pages``, and ``nox -s bench`` after it has
measured) writes them; tests hold them to it.
"""

from __future__ import annotations

from pathlib import Path

from tiankong.reports.copies import copy_names
from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.history.pooling import epochs
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.forms import CARD
from tiankong.reports.sections.answer import headline
from tiankong.reports.small_table import best_lines, head
from tiankong.reports.text.language import Language, read_language
from tiankong.reports.text.markdown import escape
from tiankong.reports.writing import MARKDOWN, write_pages
from tiankong.toolkit.console import say
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Run, read_run

HOME = Path(__file__).parents[3]
READMES = {"en": "README.md", "zh": "README.zh-CN.md"}
PAGES = "reports/pages"
ANSWERS = "run.jsonl"  # what ``nox -s bench`` measures; the answer is its


def committed(home: Path = HOME) -> dict[Path, Run]:
    """The run files that the pages are made of, by path: the measured table, what goes with it.

    What lies beside it and is of another machine or model, or newer with other software, is left
    out with a line: the page is to answer from the table.
    """
    first = home / PAGES / ANSWERS
    runs = {first: read_run(first)}
    for path in sorted(set(first.parent.glob("*.jsonl")) - {first}):
        run = read_run(path)
        try:
            fits = runs[first] in epochs([*runs.values(), run])[-1]
            reason = f"run {run.header.run!r} is newer than {ANSWERS}, with other software"
        except UnusableInputError as error:
            fits, reason = False, str(error)
        if fits:
            runs[path] = run
        else:
            say(f"pages: {path.name} is left out: {reason}")
    return runs


def refreshed(text: str, report: Report, language: Language) -> str:
    """A README with its blocks as they have to be."""
    alt, code = escape(headline(report, language)), language.code
    picture = f"[![{alt}]({PAGES}/{CARD[code]})]({PAGES}/{MARKDOWN[code]})"
    text = _replaced(text, "card", picture)
    table = "\n".join([head(report, language), "", *best_lines(report, language)])
    return _replaced(text, "table", table)


def _replaced(text: str, name: str, block: str) -> str:
    before, rest = text.split(f"<!-- {name} -->\n")
    _, after = rest.split(f"\n<!-- /{name} -->")
    return f"{before}<!-- {name} -->\n{block}\n<!-- /{name} -->{after}"


def main(home: Path = HOME) -> None:
    """Write the pages and the blocks of both READMEs."""
    runs, out = committed(home), home / PAGES
    write_pages([*runs.values()], out, copies=copy_names([*runs], out))
    report = compose([*runs.values()], read_article(), read_prices())
    for code, name in READMES.items():
        path = home / name
        text = path.read_text(encoding="utf-8")
        path.write_text(refreshed(text, report, read_language(code)), encoding="utf-8")
    say(f"pages: {' and '.join(READMES.values())} show {', '.join(path.name for path in runs)}")


if __name__ == "__main__":
    main()
