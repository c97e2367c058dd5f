"""A report refuses runs that must not be on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Cell, Header, Run


def composed(*runs: Run) -> Report:
    return compose(runs, read_article(), read_prices())


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("machine", "cpu", "Another CPU"),
        ("machine", "usable_cores", 8),
        ("model", "name", "bert-base-chinese"),
        ("gold", "sha256", "cd" * 32),
        ("machine", "memory_bytes", 1),
    ],
)
def test_different_runs_are_not_mixed_and_the_field_is_named(
    make_run: Callable[..., Run],
    make_header: Callable[..., Header],
    part: str,
    key: str,
    value: Any,
) -> None:
    changed = {**getattr(make_header(), part), key: value}
    with pytest.raises(UnusableInputError, match=f"{part}.{key} differs") as caught:
        composed(make_run(), make_run(run="other", **{part: changed}))
    assert "'other'" in str(caught.value)


@pytest.mark.parametrize("key", ["seconds", "warmup_seconds"])
def test_one_point_is_not_averaged_over_different_windows(
    make_run: Callable[..., Run], make_header: Callable[..., Header], key: str
) -> None:
    plan = {**make_header().plan, key: 5.0}
    with pytest.raises(UnusableInputError, match=rf"same point, but plan\.{key} differs") as caught:
        composed(make_run(), make_run(run="other", plan=plan))
    assert "'other'" in str(caught.value)


def test_different_windows_of_different_points_are_mixed(
    make_run: Callable[..., Run],
    make_header: Callable[..., Header],
    make_scaling: Callable[..., tuple[Cell, ...]],
) -> None:
    plan = {**make_header().plan, "seconds": 5.0}
    scaling = make_run({}, make_scaling(), run="scaling", plan=plan)
    report = composed(make_run(), scaling)
    assert len(report.points) == 20
    assert {axis.name for axis in report.scaling.axes} == {"tokens", "batch", "cores", "users"}
    again = make_run({}, make_scaling()[:1], run="again")
    with pytest.raises(UnusableInputError, match="'scaling' and 'again' measured the same point"):
        composed(make_run(), scaling, again)


def test_points_of_other_loads_bear_no_answer(
    make_run: Callable[..., Run],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_open_cell: Callable[..., Cell],
) -> None:
    alone = composed(make_run())
    cells = (*make_scaling("onnx-fp16", 0.1), make_open_cell("onnx-fp16", 900.0, 1))
    beside = composed(make_run(cells=cells))
    assert beside.answer == alone.answer
    assert beside.best.keys() == alone.best.keys()
    assert beside.article_points == alone.article_points
    assert len(beside.open_points) == 1
    assert len({point.key for point in beside.every_point}) == len(beside.every_point) == 32


def test_runs_that_agree_are_mixed_with_all_their_variants(
    make_run: Callable[..., Run], make_variant: Callable[..., dict[str, Any]]
) -> None:
    speeds = {("onnx-new", "reference"): {8: 40}}
    other = make_run(speeds, run="other", seed=8, variants={"onnx-new": make_variant(5)})
    report = composed(make_run(), other)
    assert report.answer.leading is not None
    assert report.answer.leading.variant == "onnx-new"


def test_a_run_given_twice_would_be_counted_twice(make_run: Callable[..., Run]) -> None:
    with pytest.raises(UnusableInputError, match="given twice"):
        composed(make_run(), make_run())


def test_runs_without_cells_say_nothing(make_run: Callable[..., Run]) -> None:
    with pytest.raises(UnusableInputError, match="no cell was measured"):
        composed(make_run({}))
    with pytest.raises(UnusableInputError, match="no cell was measured"):
        composed()


def test_a_header_without_what_decides_a_cost_is_refused(make_run: Callable[..., Run]) -> None:
    with pytest.raises(UnusableInputError, match=r"no machine\.cpu"):
        composed(make_run(machine={"architecture": "x86_64", "usable_cores": 2}))


def test_a_cell_of_no_time_is_refused(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("onnx-int8", "reference", 1, 20)
    broken = Cell(**{**cell.__dict__, "seconds": 0.0})
    with pytest.raises(UnusableInputError, match="lasted no time"):
        composed(make_run({}, (broken,)))
