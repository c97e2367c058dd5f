"""Reading pages: HTML strictly, Markdown by its sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from cells import changed

from tiankong.toolkit.runs.run_file import Cell


def in_both(*names: str) -> set[str]:
    """The files of pictures in both languages."""
    return {f"{name}.{end}" for name in names for end in ("svg", "zh.svg")}


ALWAYS = in_both("size")
PICTURES = in_both("cost", "latency", "throughput", "distribution")
CARDS = {"card.svg", "card.zh.svg", "card.png", "answer.pdf"}
CHINESE = {"card.zh.png", "answer.zh.pdf"}  # only where a font has the characters
GROWTH = in_both("scaling")
NAMES = (
    ALWAYS
    | PICTURES
    | CARDS
    | {
        "summary.json",
        "points.csv",
        "cells.csv",
        "report.md",
        "report.zh.md",
        "index.html",
        "index.zh.html",
    }
)
VOID = {"meta", "link", "img", "br", "input"}


class Reader(HTMLParser):
    """Reads a page strictly: every tag must be closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.attributes.setdefault(tag, attributes)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key in {"href", "src"} and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"} and data.strip():
            self.words.append(data.strip())


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def figures_of(text: str) -> list[str]:
    """Every number of a text, sorted, without the words around it."""
    return sorted(re.findall(r"\d+(?:\.\d+)?", re.sub(r"top-[15]", "", text, flags=re.IGNORECASE)))


def numbered(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, numbered as repeats."""
    return tuple(changed(cell, repeat=number) for number, cell in enumerate(cells, start=1))


def section(path: Path, heading: str) -> str:
    """One section of a Markdown page."""
    text = path.read_text(encoding="utf-8")
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
