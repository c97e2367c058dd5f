"""Provenance: what began a run, what was in force, what was valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cells import changed

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.provenance import provenance
from tiankong.reports.text.language import read_language
from tiankong.reports.text.tables import Section
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.run_file import Run


def shown(run: Run, code: str = "en") -> Section:
    return provenance(compose([run], read_article(), read_prices()), read_language(code))


def texts(section: Section, place: int) -> list[list[str]]:
    return [[entry.text for entry in row] for row in section.grids[place].rows]


def test_command_commit_and_seed_of_a_run_are_shown(make_run: Callable[..., Run]) -> None:
    command = ["tiankong", "bench", "--plan", "my plan"]
    [row] = texts(shown(make_run(command=command, commit="0123456789abcdef+changed")), 0)
    assert row[1:5] == ["tiankong bench --plan 'my plan'", "0123456789ab+changed", "table", "7"]


@pytest.mark.parametrize(("code", "word"), [("en", "not recorded"), ("zh", "未记录")])
def test_what_older_runs_did_not_keep_is_said(
    make_run: Callable[..., Run], code: str, word: str
) -> None:
    [row] = texts(shown(make_run(), code), 0)
    assert row[1:3] == [word, word]


def test_valid_and_replaced_cells_are_counted(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    run = make_run(cells=(make_cell("onnx-int8", "target", 8, 60, wrong=2),))
    run = replace(run, superseded=run.cells[:3])
    [row] = texts(shown(run), 0)
    assert row[-3:] == [str(len(run.cells)), str(len(run.cells) - 1), "3"]


def test_equal_settings_stand_once(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    run = make_run()
    cells = [
        changed(cell, settings={"streams": 1 if cell.point.stack == "article" else 2})
        for cell in run.cells
    ]
    rows = texts(shown(replace(run, cells=tuple(cells))), 2)
    assert [row[0] for row in rows] == ["streams = 1", "streams = 2"]
    assert sum(int(row[-1]) for row in rows) == len(cells)


def test_hashes_are_whole(make_run: Callable[..., Run]) -> None:
    run = make_run()
    found = dict(texts(shown(run), 1))
    assert found["Gold set poems"] == run.header.gold["sha256"]
    assert found["onnx-int8"] == run.header.variants["onnx-int8"]["digest"]
