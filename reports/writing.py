"""Pages: a report as HTML and Markdown in every language, with its pictures, forms and data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..toolkit.console import progress, say
from ..toolkit.files import write_bytes
from ..toolkit.runs.run_file import Run
from .copies import put_copies, refuse_losses
from .data import as_data
from .facts.article import read_article
from .facts.exploration import Sources
from .facts.prices import PRICES, read_prices
from .facts.question import NO_WISHES, Wishes
from .facts.report import Report, compose
from .forms import CARD, LETTERED, forms
from .plots.markup import document
from .plots.palette import style
from .printing import printed
from .sections.answer import headline
from .sections.explorer import explorer
from .sections.page import page
from .sections.pictures.pictures import NAMES
from .sections.pictures.view import file_name
from .spreadsheets import cells_csv, points_csv
from .text.language import LANGUAGES, read_language
from .text.tables import Page

HTML = {"en": "index.html", "zh": "index.zh.html"}
MARKDOWN = {"en": "report.md", "zh": "report.zh.md"}
NO_COPIES: Mapping[str, Path] = MappingProxyType({})
STEPS = 2 + 2 * len(LANGUAGES)  # data, forms, and for each language drawing and writing


def write_pages(
    runs: Sequence[Run],
    out: Path,
    prices: Path | None = None,
    wishes: Wishes = NO_WISHES,
    gpu: Run | None = None,
    copies: Mapping[str, Path] = NO_COPIES,
) -> list[Path]:
    """Write the pages, pictures and data of runs into ``out``; return the files written.

    ``gpu`` is a run of a machine with an accelerator, for the break-even with it.  ``copies`` are
    the run files to put beside the pages, by the name they get there, all of them and the GPU's
    last; one that is there already is left alone.

    A picture in ``out`` that these runs do not have is removed.  So is a form for whose characters
    this machine has no font: it cannot be made, and a line says so.

    All files are rendered in memory before the first one is replaced, and each is replaced
    atomically, so a failure while rendering leaves the old pages.  The answer is said on standard
    error.  Raises UnusableInputError for
    runs without cells, runs that cannot be mixed, a price file that cannot be read, or a wish that
    is none.
    """
    with progress("report", STEPS) as step:
        report = compose(runs, read_article(), read_prices(prices or PRICES), wishes, gpu)
        sizes = {name: path.stat().st_size for name, path in copies.items()}
        files = render(report, step, sizes, prices.name if prices else "")
        refuse_losses(files, copies, out)
        put_copies(copies, out)
        for name, content in files.items():
            write_bytes(out / name, content)
    of_all = {file_name(name, read_language(code)) for name in NAMES for code in LANGUAGES}
    if absent := sorted(LETTERED - files.keys()):
        say(f"report: left out {', '.join(absent)}: no font here has their characters (for Chinese,"
            " install fonts-noto-cjk or fonts-wqy-microhei)")  # fmt: skip
    say(f"answer: {headline(report, read_language('en'))}")
    for name in (of_all | LETTERED) - files.keys():  # left by other runs: no page refers to it now
        (out / name).unlink(missing_ok=True)
    return [out / name for name in (*files, *copies)]


def render(
    report: Report, step: Callable[[str], None], copies: Mapping[str, int], prices: str = ""
) -> dict[str, bytes]:
    """Return each file's content by name; pictures and data before the pages that name them.

    ``step`` is told what is made next; ``copies`` are the run files beside the pages, with their
    bytes, the GPU's last; ``prices`` is the name of the reader's own price file.
    """
    step("data")
    data = {
        "points.csv": points_csv(report).encode("utf-8"),
        "cells.csv": cells_csv(report).encode("utf-8"),
        "summary.json": (json.dumps(as_data(report), ensure_ascii=False, indent=2) + "\n").encode(
            "utf-8"
        ),
    }
    sizes = {**copies, **{name: len(content) for name, content in data.items()}}
    step("forms")
    made = forms(report)
    pages = {}
    for code, card in CARD.items():
        step(f"drawing for {HTML[code]}")
        pages[code] = page(report, read_language(code), {**sizes, card: len(made[card])})
    files: dict[str, str | bytes] = {
        picture.file: document(picture.markup, shown.language.tag)
        for shown in pages.values()
        for section in shown.sections
        for picture in section.pictures
    }
    files |= {**data, **made}
    for code, shown in pages.items():
        step(f"writing {HTML[code]}")
        files[MARKDOWN[code]] = _print("report.md.j2", shown)
        explored = explorer(report, shown.language, Sources(tuple(copies), prices))
        files[HTML[code]] = _print("index.html.j2", shown, explorer=explored)
    return {
        name: content if isinstance(content, bytes) else content.encode("utf-8")
        for name, content in files.items()
    }


def _print(template: str, shown: Page, **parts: object) -> str:
    other = next(code for code in LANGUAGES if code != shown.language.code)
    tag = read_language(other).tag
    links = {"html": HTML[other], "markdown": MARKDOWN[other], "tag": tag}
    return printed(template, page=shown, other=links, colours=style(), **parts)
