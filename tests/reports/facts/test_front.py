"""Cost against latency: what a point costs, and the points that no other one beats in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tiankong.reports.facts.costs import MeasuredMachine, cost
from tiankong.reports.facts.front import cost_points, front
from tiankong.reports.facts.points import points
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import default_price
from tiankong.toolkit.runs.run_file import Run

BENCH = MeasuredMachine(2, "x86_64", None)
PRICE = default_price(read_prices(), BENCH)
assert PRICE is not None


def test_a_point_costs_what_the_cost_model_says(repeated: Run) -> None:
    assert PRICE is not None
    measured = points([repeated], "onnx-fp32", 130.0)
    for point in cost_points(measured, 95, PRICE, BENCH):
        known = cost(PRICE, point.point.qps.value, BENCH)
        assert known is not None
        assert point.cost.value == pytest.approx(known.per_million)
        assert point.cost.ends is not None  # fewer requests a second are the dearer end
        for end, qps in zip(point.cost.ends, reversed(point.point.qps.ends or ()), strict=True):
            priced = cost(PRICE, qps, BENCH)
            assert priced is not None
            assert end == pytest.approx(priced.per_million)


def test_no_point_is_better_in_both_than_one_of_the_front(make_run: Callable[..., Run]) -> None:
    assert PRICE is not None
    every = cost_points(points([make_run()], "onnx-fp32", 130.0), 95, PRICE, BENCH)
    best = front(every)
    assert best
    for one in every:
        beaten = [
            other
            for other in every
            if other.cost.value < one.cost.value and other.latency_ms.value < one.latency_ms.value
        ]
        assert not (beaten and one in best)
    for one in every:
        assert any(
            other.cost.value <= one.cost.value and other.latency_ms.value <= one.latency_ms.value
            for other in best
        )


def test_a_point_without_the_percentile_or_a_valid_repeat_has_no_cost(
    make_run: Callable[..., Run],
) -> None:
    assert PRICE is not None
    measured = points([make_run()], "onnx-fp32", 130.0)
    bad = [replace(measured[0], p95_ms=None), replace(measured[1], valid_repeats=0)]
    assert cost_points(bad, 95, PRICE, BENCH) == ()
    assert len(cost_points(bad[:1], 50, PRICE, BENCH)) == 1
