"""Pages: a report printed as HTML and Markdown in every language, with its pictures and its data.

The only file that imports Jinja2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..toolkit.console import progress
from ..toolkit.files import package_path, write_text
from ..toolkit.runs.run_file import Run
from .data import as_data
from .facts.article import read_article
from .facts.prices import PRICES, read_prices
from .facts.question import NO_WISHES, Wishes
from .facts.report import Report, compose
from .plots.markup import document
from .plots.palette import style
from .sections.page import page
from .sections.pictures import NAMES, file_name
from .text.language import LANGUAGES, read_language
from .text.markdown import cell, escape, lines
from .text.tables import Page

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = package_path("reports/templates")
HTML = {"en": "index.html", "zh": "index.zh.html"}
MARKDOWN = {"en": "report.md", "zh": "report.zh.md"}
STEPS = 2 + 2 * len(LANGUAGES)  # facts, data, and for each language drawing and writing


def write_pages(
    runs: Sequence[Run], out: Path, prices: Path | None = None, wishes: Wishes = NO_WISHES
) -> list[Path]:
    """Write the pages, pictures and data of runs into ``out``; return the files written.

    A picture in ``out`` that these runs do not have is removed.

    All files are rendered in memory before the first one is replaced, and each is replaced
    atomically, so a failure while rendering leaves the old pages.  Raises UnusableInputError for
    runs without cells, runs that cannot be mixed, a price file that cannot be read, or a wish that
    is none.
    """
    with progress("report", STEPS) as step:
        step("computing")
        report = compose(runs, read_article(), read_prices(prices or PRICES), wishes)
        files = render(report, step)
        for name, text in files.items():
            write_text(out / name, text)
    of_all = {file_name(name, read_language(code)) for name in NAMES for code in LANGUAGES}
    for name in of_all - files.keys():  # left by other runs: no page refers to it now
        (out / name).unlink(missing_ok=True)
    return [out / name for name in files]


def render(report: Report, step: Callable[[str], None]) -> dict[str, str]:
    """Return each file's text by name; pictures and data come before the pages that name them.

    ``step`` is told what is made next.
    """
    pages = {}
    for code in LANGUAGES:
        step(f"drawing for {HTML[code]}")
        pages[code] = page(report, read_language(code))
    files = {
        picture.file: document(picture.markup, shown.language.tag)
        for shown in pages.values()
        for section in shown.sections
        for picture in section.pictures
    }
    step("data")
    files["summary.json"] = json.dumps(as_data(report), ensure_ascii=False, indent=2) + "\n"
    for code, shown in pages.items():
        step(f"writing {HTML[code]}")
        files[MARKDOWN[code]] = _print("report.md.j2", shown)
        files[HTML[code]] = _print("index.html.j2", shown)
    return files


def _print(template: str, shown: Page) -> str:
    other = next(code for code in LANGUAGES if code != shown.language.code)
    tag = read_language(other).tag
    links = {"html": HTML[other], "markdown": MARKDOWN[other], "tag": tag}
    return _environment().get_template(template).render(page=shown, other=links, colours=style())


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=escape, md_cell=cell, md_table=lines)
    return environment
