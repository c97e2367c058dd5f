"""Ticks: round numbers inside the axis, enough to read by and not too many."""

from __future__ import annotations

import random

import pytest

from tiankong.reports.plots.drawing import MOST_TICKS, plain_ticks


@pytest.mark.parametrize("seed", range(200))
def test_ticks_are_inside_and_some_but_not_many(seed: int) -> None:
    draw = random.Random(seed)
    low = 10 ** draw.uniform(-4, 4)
    high = low * 10 ** draw.uniform(0.12, 4)
    ticks = plain_ticks(low, high)
    assert 2 <= len(ticks) <= MOST_TICKS
    assert ticks == sorted(set(ticks))
    assert low <= ticks[0] <= ticks[-1] <= high


def test_ticks_are_round() -> None:
    assert plain_ticks(1.8, 33) == [2, 5, 10, 20]
    assert plain_ticks(0.9, 40_000) == [1, 10, 100, 1000, 10_000]
