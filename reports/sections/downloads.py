"""Downloads: the files beside a page, so that others can check and go on."""

from __future__ import annotations

from collections.abc import Mapping

from ..text import figures
from ..text.language import Language
from ..text.tables import Download, Section

KILOBYTE = 1000
DATA = {  # else: a run file
    "points.csv": "points",
    "cells.csv": "cells",
    "summary.json": "summary",
    "card.svg": "card",
    "card.zh.svg": "card",
}


def downloads(files: Mapping[str, int], language: Language) -> Section:
    """Link the files, with what is in each and its size; ``files`` has bytes by name."""
    say = language.say
    made = tuple(Download(name, _text(name, size, language)) for name, size in files.items())
    names = [name for name in files if name in DATA]
    return Section(
        "downloads",
        say("heading.downloads"),
        downloads=made,
        notes=(say("downloads.note"),),
        gist=say("gist.downloads", runs=len(files) - len(names), others=", ".join(names)),
    )


def _text(name: str, size: int, language: Language) -> str:
    return language.say(f"downloads.{DATA.get(name, 'run')}", size=_size(size, language))


def _size(size: int, language: Language) -> str:
    if size < figures.MEGABYTE:
        return language.say("downloads.kilobytes", size=figures.significant(size / KILOBYTE))
    return language.say("downloads.megabytes", size=figures.megabytes(size))
