"""Estimates: geometric means, and intervals from the variation of all points together."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tiankong.reports.facts.estimates import Estimate, Noise, central
from tiankong.toolkit.runs.run_file import Cell
from tiankong.toolkit.stats import Variation

TENTH = Variation(0.1, 20)  # Student's t with 20 degrees of freedom, 97.5 %: 2.086


def test_the_interval_by_hand() -> None:
    found = Estimate.of([50.0, 200.0], TENTH)
    half = math.exp(2.086 * 0.1 / math.sqrt(2))
    assert found.value == pytest.approx(100)
    assert found.ends == pytest.approx((100 / half, 100 * half), rel=1e-3)
    assert found.times(4).ends == pytest.approx((400 / half, 400 * half), rel=1e-3)


def test_one_repeat_has_the_interval_that_others_give_it() -> None:
    found = Estimate.of([100.0], TENTH)
    half = math.exp(2.086 * 0.1)
    assert found.ends == pytest.approx((100 / half, 100 * half), rel=1e-3)


@pytest.mark.parametrize("values", [[math.inf, math.inf], [math.inf, 5.0], [0.0, 5.0]])
def test_infinity_and_zero_have_no_interval(values: list[float]) -> None:
    found = Estimate.of(values, TENTH)
    assert found.ends is None
    assert found.value in values


def test_without_any_repeat_there_is_no_interval() -> None:
    assert Estimate.of([50.0, 51.0], None).ends is None


def test_the_mean_is_not_drawn_by_one_outlier() -> None:
    assert central([100.0, 100.0, 800.0]) == pytest.approx(200)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (Estimate(10, 9, 11), Estimate(12, 11, 13), True),
        (Estimate(10, 9, 11), Estimate(13, 12, 14), False),
        (Estimate(13, 12, 14), Estimate(10, 9, 11), False),
        (Estimate(10, 9, 11), Estimate(10), None),
    ],
)
def test_overlap(one: Estimate, other: Estimate, overlap: bool | None) -> None:
    assert one.overlaps(other) is overlap


def test_noise_is_pooled_over_points_with_repeats(make_cell: Callable[..., Cell]) -> None:
    def cells(*latencies: float) -> list[Cell]:
        return [make_cell("v", "reference", 8, latency) for latency in latencies]

    noise = Noise.of([cells(100, 110), cells(20, 22, 22), cells(500)])
    assert noise.qps is not None
    assert noise.qps.freedom == 3  # 1 + 2, nothing from the single repeat
    gap = math.log(1.1)
    squares = gap**2 / 2 + gap**2 * 2 / 3
    assert noise.qps.deviation == pytest.approx(math.sqrt(squares / 3), rel=1e-2)
    latency = noise.percentiles[95]
    assert latency is not None
    assert latency.deviation == pytest.approx(noise.qps.deviation, rel=1e-2)
    assert Noise.of([cells(100)]).qps is None
