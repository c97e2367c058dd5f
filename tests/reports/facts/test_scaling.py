"""Scaling: which points lie on which axis, and what grows along it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.points import points
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import compose
from tiankong.reports.facts.scaling import Axis, Scaling, scaling
from tiankong.reports.sections.scaling import axis_grids
from tiankong.reports.text.language import read_language
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.run_file import Cell, Run


def scaling_of(run: Run) -> Scaling:
    return scaling(points([run], "onnx-fp32", 130.0))


def axis(name: str, of: Scaling) -> Axis:
    (one,) = [axis for axis in of.axes if axis.name == name]
    return one


def test_the_axes_of_the_scaling_plan(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]]
) -> None:
    cells = (*make_scaling("onnx-int8"), *make_scaling("onnx-fp32", 2.0))
    of = scaling_of(make_run({}, cells))
    assert [(one.name, one.levels, one.fixed) for one in of.axes] == [
        ("tokens", (8, 16, 32, 64), Load(1)),
        ("batch", (1, 2, 4), Load(1, tokens=16)),
        ("cores", (1, 2), Load(4, tokens=16)),
        ("users", (1, 2, 4, 8), Load(0, tokens=16)),
    ]
    assert of.others == ()
    for one in of.axes:
        assert len(one.points) == 2 * len(one.levels)
        assert [point.variant for point in one.points] == sorted(
            (point.variant for point in one.points), key=["onnx-fp32", "onnx-int8"].index
        )
    # The sentence of 16 tokens asked by one user lies on three axes, but is one point.
    assert len(of.points) == 2 * 11


def test_a_table_of_four_user_levels_is_no_curve(make_run: Callable[..., Run]) -> None:
    assert scaling_of(make_run()).axes == ()


def test_five_plain_user_levels_are(make_run: Callable[..., Run]) -> None:
    levels = {users: 20.0 * users for users in (1, 2, 4, 8, 16)}
    (one,) = scaling_of(make_run({("onnx-int8", "reference"): levels})).axes
    assert (one.name, one.levels, one.fixed) == ("users", (1, 2, 4, 8, 16), Load(0))


def test_fixed_lengths_come_before_plain_points(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]]
) -> None:
    levels = {users: 20.0 * users for users in (1, 2, 4, 8, 16)}
    of = scaling_of(make_run({("onnx-int8", "reference"): levels}, make_scaling()))
    assert axis("users", of).fixed.tokens == 16


def test_of_several_groups_the_longest_is_shown_and_the_rest_is_not_lost(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = [make_cell("v", "reference", 1, 9, tokens=n) for n in (8, 16, 32)]
    cells += [make_cell("v", "reference", 4, 9, tokens=n) for n in (64, 128)]
    of = scaling_of(make_run({}, tuple(cells)))
    assert axis("tokens", of).fixed == Load(1)
    assert {point.load for point in of.others} == {Load(4, tokens=64), Load(4, tokens=128)}


def test_open_loops_lie_on_no_axis(
    make_run: Callable[..., Run], make_open_cell: Callable[..., Cell]
) -> None:
    cells = tuple(make_open_cell("v", 20.0, 9, tokens=n) for n in (8, 16))
    assert scaling_of(make_run({}, cells)) == Scaling((), ())


@pytest.mark.parametrize("code", ["en", "zh"])
def test_growth_is_counted_in_sentences_against_the_lowest_level(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]], code: str
) -> None:
    report = compose([make_run({}, make_scaling())], read_article(), read_prices())
    grids = axis_grids(report, read_language(code))
    rows = [[entry.text for entry in row] for row in grids[1].rows]
    # 16 tokens take 8 ms; a batch of 2 takes 8 ms and one of 4 takes 16 ms.
    assert [row[1:6] for row in rows] == [
        ["1", "125", "1.00", "8.00", "1.00"],
        ["2", "250", "2.00", "8.00", "1.00"],
        ["4", "250", "2.00", "16.0", "2.00"],
    ]
    assert [row[1].text for row in grids[2].rows] == ["1", "2"]  # cores
    assert "16" in grids[1].caption
