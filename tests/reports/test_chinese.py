"""The Chinese page is wholly Chinese: no English sentence is left, whatever the run holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tiankong.reports.writing import write_pages
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.models.builtin.catalogue import infos
from tiankong.toolkit.runs.run_file import Cell, Run

READ = {"title", "alt", "aria-label", "placeholder"}  # attributes that a reader gets to see
CODE = {"style", "script", "code", "pre"}
VOID = {"meta", "link", "br", "img", "input"}
# Two English words with a space between.  Names of products are followed by a version or a type,
# options of a command by a value.
ENGLISH = re.compile(r"\b[A-Za-z][a-z]+ [a-z]{2,}\b")
NAMES = re.compile(r"ONNX Runtime|github\.com/\S+, \S+ @\w+|tiankong \w+|--[a-z-]+ \S+|Test CPU")


class Visible(HTMLParser):
    """Collects what a reader of a page sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.texts += [value for key, value in attrs if key in READ and value]

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not CODE & set(self.open) and data.strip():
            self.texts.append(data.strip())


def english(path: Path) -> Iterator[str]:
    page = Visible()
    page.feed(path.read_text(encoding="utf-8"))
    for text in page.texts:
        if ENGLISH.search(NAMES.sub("", text)):
            yield text


@pytest.mark.parametrize("model", [info.name for info in infos()])
def test_no_english_sentence_is_left(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_open_cell: Callable[..., Cell],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_variant: Callable[..., dict[str, object]],
    tmp_path: Path,
    model: str,
) -> None:
    (info,) = (each for each in infos() if each.name == model)
    variants = {
        recipe.name: make_variant(104_000_000 + place, summary=recipe.summary)
        for place, recipe in enumerate(read_recipes())
    }
    cells = (
        *make_scaling(),
        make_open_cell("onnx-int8", 40.0, 20),
        make_cell("onnx-int8", "article", 8, 60, wrong=2, steal_percent=9.0),
        make_cell("onnx-int8", "article", 1, 900),
        *(make_cell(name, "reference", 2, 40) for name in variants),
    )
    run = make_run(cells=cells, model=info.as_json(), variants=variants)
    write_pages([run], tmp_path)
    assert list(english(tmp_path / "index.zh.html")) == []


def test_english_is_seen_where_it_is(make_run: Callable[..., Run], tmp_path: Path) -> None:
    model = {**make_run().header.model, "title": "a model of mine"}
    write_pages([make_run(model=model)], tmp_path)
    assert any("a model of mine" in text for text in english(tmp_path / "index.zh.html"))
