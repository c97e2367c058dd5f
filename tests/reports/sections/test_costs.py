"""Costs on pages: tables that fit, however many variants were measured."""

from __future__ import annotations

from collections.abc import Callable

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.costs import MOST_COLUMNS, cost_grids
from tiankong.reports.text.language import read_language
from tiankong.toolkit.runs.run_file import Cell, Run

FIXED = 5  # columns that describe a price


def test_many_series_are_spread_over_several_tables_and_none_is_lost(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    names = [f"variant-{number}" for number in range(2 * MOST_COLUMNS + 1)]
    cells = tuple(make_cell(name, "reference", 8, 50) for name in names)
    report = compose([make_run({}, cells)], read_article(), read_prices())
    grids = list(cost_grids(report, read_language("en"), "CNY"))
    assert [len(grid.columns) - FIXED for grid in grids] == [MOST_COLUMNS, MOST_COLUMNS, 1]
    assert [grid.folded for grid in grids] == [False, True, True]
    assert len({grid.caption for grid in grids}) == 3
    heads = [head for grid in grids for head in grid.columns[FIXED:]]
    assert all(any(head.startswith(f"{name} ") for head in heads) for name in names)
    assert all(len(row) == len(grid.columns) for grid in grids for row in grid.rows)
