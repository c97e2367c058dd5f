"""The READMEs' blocks of figures, made from the committed run files.

``python tests/support/readmes.py`` (``nox -s pages``) writes them; a test holds them to it.
"""

from __future__ import annotations

from pathlib import Path

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.forms import CARD
from tiankong.reports.sections.answer import headline
from tiankong.reports.small_table import best_lines, head
from tiankong.reports.text.language import Language, read_language
from tiankong.reports.text.markdown import escape
from tiankong.reports.writing import MARKDOWN
from tiankong.toolkit.runs.run_file import read_run

HOME = Path(__file__).parents[2]
READMES = {"en": HOME / "README.md", "zh": HOME / "README.zh-CN.md"}
PAGES = "reports/pages"
RUNS = ("run.jsonl", "scaling.jsonl")


def committed() -> Report:
    """The report of the committed run files."""
    runs = [read_run(HOME / PAGES / name) for name in RUNS]
    return compose(runs, read_article(), read_prices())


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


def main() -> None:
    """Write the blocks of both READMEs."""
    report = committed()
    for code, path in READMES.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(refreshed(text, report, read_language(code)), encoding="utf-8")


if __name__ == "__main__":
    main()
