"""Nearest-rank percentiles, their bounds, and intervals over repeats."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import binom, t

from tiankong.toolkit.stats import (
    SUPPORT,
    Variation,
    highest_share,
    interval,
    percentile,
    percentile_bounds,
    variation,
)


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


@pytest.mark.parametrize(("rank", "count"), [(50, 60), (90, 200), (95, 300), (99, 2000)])
def test_bounds_hold_the_true_percentile_in_about_95_of_100_samples(rank: int, count: int) -> None:
    source = np.random.default_rng(rank)
    true = -np.log(1 - rank / 100)  # of the exponential distribution
    samples = source.exponential(size=(1500, count))
    bounds = [percentile_bounds(sample, rank) for sample in samples]
    covering = np.mean([low <= true <= high for low, high in bounds])
    assert 0.94 <= covering <= 0.985  # ranks are integers, which widens the interval
    below = np.mean([true < low for low, _ in bounds])
    above = np.mean([true > high for _, high in bounds])
    assert max(below, above) < 0.04


def test_bounds_by_hand() -> None:
    latencies = [float(n) for n in range(1, 101)]
    random.Random(3).shuffle(latencies)
    # 100 x 0.5 +- 1.96 x 5: the 40.2nd and the 59.8th, outwards
    assert percentile_bounds(latencies, 50) == (40.0, 61.0)


def test_bounds_are_observed_values_around_the_percentile() -> None:
    latencies = [float(n) for n in range(500)]
    for rank in SUPPORT:
        low, high = percentile_bounds(latencies, rank)
        assert low <= np.percentile(latencies, rank) <= high
        assert {low, high} <= set(latencies)


def test_bounds_of_hardly_anything_stay_inside_it() -> None:
    assert percentile_bounds([7.0], 95) == (7.0, 7.0)
    assert percentile_bounds([7.0, 9.0, 8.0], 99) == (8.0, 9.0)
    assert percentile_bounds([7.0] * 1000, 95) == (7.0, 7.0)


def test_variation_of_one_group_is_its_standard_deviation_of_logarithms() -> None:
    group = [100.0, 110.0, 95.0]
    pooled = variation([group])
    assert pooled is not None
    assert pooled.deviation == pytest.approx(np.std(np.log(group), ddof=1))
    assert pooled.freedom == 2


def test_variation_is_pooled_over_groups_and_their_levels_do_not_matter() -> None:
    groups = [[10.0, 11.0], [1000.0, 900.0, 1100.0], [5.0]]
    squares = sum(np.var(np.log(group)) * len(group) for group in groups)
    pooled = variation(groups)
    scaled = variation([[value * 7 for value in group] for group in groups])
    assert pooled is not None
    assert scaled is not None
    assert scaled.deviation == pytest.approx(pooled.deviation)
    assert pooled.deviation == pytest.approx(np.sqrt(squares / 3))
    assert pooled.freedom == 3


def test_without_a_repeat_nothing_is_known_about_variation() -> None:
    assert variation([]) is None
    assert variation([[5.0], [6.0], []]) is None


def test_interval_against_students_t() -> None:
    values = [100.0, 110.0, 95.0]
    logs = np.log(values)
    expected = t.interval(0.95, 2, logs.mean(), np.std(logs, ddof=1) / np.sqrt(3))
    assert interval(values, variation([values])) == pytest.approx(tuple(np.exp(expected)))


def test_one_value_has_an_interval_where_others_vary() -> None:
    bounds = interval([100.0], Variation(0.05, 8))
    half = t.ppf(0.975, 8) * 0.05
    assert bounds == pytest.approx((100 * np.exp(-half), 100 * np.exp(half)))


def test_no_value_or_no_variation_has_no_interval() -> None:
    assert interval([], Variation(0.05, 8)) is None
    assert interval([100.0, 110.0], None) is None


@pytest.mark.parametrize(("groups", "repeats"), [(6, 2), (1, 3), (16, 2)])
def test_intervals_hold_the_truth_in_95_of_100_runs(groups: int, repeats: int) -> None:
    source = np.random.default_rng(groups)
    true = np.geomspace(10, 300, groups)
    held = []
    for _ in range(600):
        run = true[:, None] * np.exp(source.normal(0, 0.06, (groups, repeats)))
        pooled = variation(run.tolist())
        for level, values in zip(true, run.tolist(), strict=True):
            low, high = interval(values, pooled and pooled.of(values)) or (np.nan, np.nan)
            held.append(low <= level <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_groups_that_vary_alike_are_as_pooled() -> None:
    drawn = np.random.default_rng(0).normal(0, 0.06, (24, 2))
    same = [[np.exp(-one), np.exp(one)] for one in (0.05, 0.06, 0.07, 0.08) * 5]
    pooled = variation(same)
    assert pooled is not None
    assert pooled.weight == np.inf
    assert pooled.of(same[0]) == pooled
    chance = variation(np.exp(drawn).tolist())
    assert chance is not None
    assert chance.weight > 10


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_restless_groups_have_wide_intervals_and_calm_ones_narrow(repeats: int) -> None:
    # The spread differs from group to group: a scaled inverse chi-squared of 3 degrees of freedom.
    source = np.random.default_rng(repeats)
    own: dict[str, list[bool]] = {"restless": [], "calm": []}
    together: dict[str, list[bool]] = {"restless": [], "calm": []}
    weights = []
    for _ in range(200):
        spread = 0.05 * np.sqrt(3 / source.chisquare(3, 40))
        run = np.exp(source.normal(0, spread[:, None], (40, repeats))).tolist()
        pooled = variation(run)
        assert pooled is not None
        weights.append(pooled.weight)
        for sigma, values in zip(spread, run, strict=True):
            kind = "restless" if sigma > 0.1 else "calm"
            for held, known in ((own, pooled.of(values)), (together, pooled)):
                low, high = interval(values, known) or (np.nan, np.nan)
                held[kind].append(low <= 1 <= high)
    assert 2 < np.median(weights) < 6  # two repeats tell it roughly
    assert np.mean(own["restless"] + own["calm"]) == pytest.approx(0.95, abs=0.02)
    assert np.mean(own["restless"]) > np.mean(together["restless"]) + 0.03
    assert np.mean(together["calm"]) > 0.97  # wider than need be
    assert np.mean(own["calm"]) < np.mean(together["calm"])


def test_groups_of_which_many_agree_exactly_leave_intervals_finite() -> None:
    pooled = variation([[5.0, 5.0]] * 12 + [[5.0, 9.0]] * 12)
    assert pooled is not None
    assert pooled.weight == 1
    low, high = interval([5.0], pooled.of([5.0])) or (0.0, np.inf)
    assert 0 < low < 5 < high < 5e6


def test_a_group_of_one_has_the_typical_variation() -> None:
    source = np.random.default_rng(1)
    spread = 0.05 * np.sqrt(2 / source.chisquare(2, (40, 1)))
    pooled = variation(np.exp(source.normal(0, spread, (40, 3))).tolist())
    assert pooled is not None
    assert pooled.of([7.0]).deviation == pytest.approx(pooled.typical)
    assert pooled.of([7.0]).freedom == pooled.weight


@pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 365), (5, 365), (9, 10)])
def test_with_the_highest_share_so_few_are_seen_in_5_of_100_samples(count: int, total: int) -> None:
    share = highest_share(count, total)
    assert count / total < share < 1
    assert binom.cdf(count, total, share) == pytest.approx(0.05)


def test_the_highest_share_of_all_is_one() -> None:
    assert highest_share(7, 7) == highest_share(0, 0) == 1.0
