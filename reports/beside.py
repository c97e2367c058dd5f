"""Measurements of several machines or models beside each other, each labelled, with no verdict.

Every machine's runs have pages of their own in a folder of their own; one page above them shows
their best points side by side.  Figures of two machines are in no formula together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..toolkit.errors import UnusableInputError
from ..toolkit.files import write_text
from ..toolkit.runs.run_file import Run
from .copies import copy_names
from .facts.article import read_article
from .facts.history.pooling import places
from .facts.prices import PRICES, read_prices
from .facts.question import NO_WISHES, Wishes
from .facts.report import Report, compose
from .plots.palette import style
from .printing import printed
from .sections.beside import Beside, beside
from .text.language import LANGUAGES, read_language
from .writing import HTML, MARKDOWN, write_pages


@dataclass(frozen=True)
class Place:
    """The runs of one machine and model, with the run files to put beside their pages."""

    folder: str
    runs: tuple[Run, ...]
    copies: Mapping[str, Path]


def write_beside(
    runs: Sequence[Run],
    paths: Sequence[Path],
    out: Path,
    prices: Path | None = None,
    wishes: Wishes = NO_WISHES,
) -> list[Path]:
    """Write the pages of each machine into a folder under ``out``, and one page above them.

    ``paths`` are the run files of ``runs``, in the same order.  Returns the files written.  Raises
    UnusableInputError as ``write_pages`` does, and if the runs are all of one machine and model;
    nothing is written then.
    """
    grouped = _places(runs, paths, out)
    if len(grouped) < 2:
        raise UnusableInputError(
            "--side-by-side is for different machines or models, and these runs are of one"
        )
    known = read_article(), read_prices(prices or PRICES)
    reports = {place.folder: compose(place.runs, *known, wishes) for place in grouped}
    pages = {
        name: text
        for code in LANGUAGES
        for name, text in _printed(beside(reports, read_language(code)), reports).items()
    }
    written: list[Path] = []
    for place in grouped:
        written += write_pages(place.runs, out / place.folder, prices, wishes, copies=place.copies)
    for name, text in pages.items():
        write_text(out / name, text)
    return [*(out / name for name in pages), *written]


def _places(runs: Sequence[Run], paths: Sequence[Path], out: Path) -> list[Place]:
    of_run = dict(zip((run.header.run for run in runs), paths, strict=True))
    return [
        Place(folder, group, copy_names([of_run[run.header.run] for run in group], out / folder))
        for folder, group in ((str(n), group) for n, group in enumerate(places(runs), start=1))
    ]


def _printed(shown: Beside, reports: Mapping[str, Report]) -> dict[str, str]:
    code = shown.language.code
    other = read_language(next(known for known in LANGUAGES if known != code))
    links = {"html": HTML[other.code], "markdown": MARKDOWN[other.code], "tag": other.tag}
    own = {"html": HTML[code], "markdown": MARKDOWN[code]}
    values = {"page": shown, "other": links, "own": own, "colours": style()}
    return {
        HTML[code]: printed("beside.html.j2", **values),
        MARKDOWN[code]: printed("beside.md.j2", **values),
    }
