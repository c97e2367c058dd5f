"""toolkit/stats.py: nearest-rank percentiles, failures as infinity, and too few."""

from __future__ import annotations

import math
import random

import pytest

from tiankong.toolkit.stats import SUPPORT, percentile


def test_nearest_rank_is_an_observed_value() -> None:
    latencies = [float(n) for n in range(1, 1001)]
    random.Random(1).shuffle(latencies)
    assert percentile(latencies, 50) == 500
    assert percentile(latencies, 95) == 950
    assert percentile(latencies, 99) == 990


@pytest.mark.parametrize("rank", sorted(SUPPORT))
def test_too_few_is_none(rank: int) -> None:
    assert percentile([1.0] * (SUPPORT[rank] - 1), rank) is None
    assert percentile([1.0] * SUPPORT[rank], rank) == 1.0


def test_the_promised_sample_sizes() -> None:
    assert (SUPPORT[95], SUPPORT[99]) == (130, 660)


def test_failures_are_infinitely_slow() -> None:
    assert percentile([1.0] * 950, 95, failures=50) == 1.0
    assert percentile([1.0] * 949, 95, failures=51) == math.inf
    assert percentile([1.0] * 949, 50, failures=51) == 1.0


def test_failures_do_not_count_as_support() -> None:
    assert percentile([1.0] * 100, 95, failures=1000) is None
