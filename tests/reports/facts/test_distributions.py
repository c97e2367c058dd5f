"""Distributions of latencies: from raw figures, as deep as the answers support."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiankong.reports.facts.distributions import distributions
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.run_file import Cell, Run
from tiankong.toolkit.stats import percentile


def counted(make_cell: Callable[..., Cell], **changes: object) -> Cell:
    """A valid cell of 8 users whose latencies are all different."""
    latencies = [70.0 + 0.01 * place for place in range(2000)]
    return make_cell("onnx-int8", "reference", 8, 80.0, latencies_ms=latencies[::-1], **changes)


def test_percentiles_are_those_of_the_raw_latencies(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = counted(make_cell)
    (found,) = distributions([make_run({}, (cell,))], Load(8))
    assert found.series == ("onnx-int8", "reference")
    for rank in (50, 90, 95, 99):
        assert found.at(float(rank)) == percentile(cell.latencies_ms, rank)
    assert list(found.latencies_ms) == sorted(found.latencies_ms)
    assert list(found.ranks) == sorted(found.ranks)
    assert max(found.ranks) == 99.0


def test_failures_are_slower_than_every_answer(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = counted(make_cell, failures={"503": 2})  # few enough that the repeat is valid
    (found,) = distributions([make_run({}, (cell,))], Load(8))
    for rank in (50, 95, 99):
        assert found.at(float(rank)) == percentile(cell.latencies_ms, rank, 2)
    assert found.at(99.0) != percentile(cell.latencies_ms, 99)


def test_few_answers_reach_less_deep_and_none_make_no_curve(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    run = make_run({}, (make_cell("onnx-int8", "reference", 1, 200.0),))  # 100 answers
    (found,) = distributions([run], Load(1))
    assert max(found.ranks) == 90.0
    few = make_run({}, (make_cell("onnx-int8", "reference", 1, 2000.0),))  # 10 answers
    assert distributions([few], Load(1)) == ()


def test_another_load_and_invalid_repeats_do_not_count(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    run = make_run({}, (counted(make_cell), counted(make_cell, repeat=2, throttled_percent=50.0)))
    (found,) = distributions([run], Load(8))
    assert found.answers == 2000
    assert distributions([run], Load(4)) == ()


@pytest.mark.parametrize("rank", [50.0, 95.0])
def test_marks_are_exact(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], rank: float
) -> None:
    (found,) = distributions([make_run({}, (counted(make_cell),))], Load(8))
    assert rank in found.ranks
