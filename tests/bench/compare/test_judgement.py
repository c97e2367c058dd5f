from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tiankong.bench.compare.judgement import (
    CLOSE,
    FASTER,
    PARTS,
    RUNNING,
    SLOWER,
    Comparison,
    Generation,
    Ratio,
    judge,
    verdict,
)
from tiankong.bench.load.generator import Block

NAMES = ("a", "b")
EFFECT = (0.0, 1.0, 0.0)  # on B alone


def generations(
    seed: int, faster: float = 0.0, count: int = 4, rounds: int = 5,
    instance: float = 0.03, block: float = 0.08, disturbed: float = 0.0,
) -> list[Generation]:  # fmt: skip
    """Simulate servers of 100 QPS; B is faster by the share ``faster`` (negative: slower).

    Processes of the same server differ by ``instance`` for their whole life, blocks by ``block``.
    Others take up to ``disturbed`` of the machine; log QPS falls by twice their share.
    """
    source = np.random.default_rng(seed)
    lives = []
    for _ in range(count):
        life = source.normal(0, instance, 3) + np.log1p(faster) * np.array(EFFECT)
        others = source.uniform(0, disturbed, (rounds, 3))
        logs = np.log(100) + life + source.normal(0, block, (rounds, 3)) - 2 * others
        lives.append(Generation(np.exp(logs), others, np.array([40.0, 41.0, 40.0])))
    return lives


TIMES = 400


@cache
def simulated(faster: float, disturbed: float = 0.0) -> list[Comparison]:
    """Return comparisons with different seeds."""
    return [
        judge(NAMES, generations(seed, faster, disturbed=disturbed), 4) for seed in range(TIMES)
    ]


def share(faster: float, expected: str, disturbed: float = 0.0) -> float:
    return np.mean([each.verdict == expected for each in simulated(faster, disturbed)]).item()


def test_equal_servers_are_hardly_ever_called_different() -> None:
    assert share(0.0, CLOSE) >= 0.97


def test_fifteen_percent_slower_is_found() -> None:
    assert share(-0.15, SLOWER) >= 0.97


def test_fifteen_percent_faster_is_found() -> None:
    assert share(0.15, FASTER) >= 0.97


def test_a_disturbed_machine_does_not_make_equal_servers_different() -> None:
    assert share(0.0, CLOSE, disturbed=0.3) >= 0.96


@pytest.mark.parametrize("faster", [-0.15, 0.0, 0.15])
def test_the_interval_holds_the_truth_in_95_of_100_comparisons(faster: float) -> None:
    results, truth = simulated(faster), 1 + faster
    covering = np.mean([each.ratio.low <= truth <= each.ratio.high for each in results])
    controls = np.mean([each.control.low <= 1 <= each.control.high for each in results])
    assert covering == pytest.approx(0.95, abs=0.03)
    assert controls >= 0.95
    assert np.mean([each.ratio.ratio for each in results]) == pytest.approx(truth, rel=0.01)


def exact(faster: float, others: np.ndarray | None = None, rounds: int = 6) -> list[Generation]:
    """Return generations without any noise."""
    logs = np.log(100) + np.log1p(faster) * np.tile(np.array(EFFECT), (rounds, 1))
    taken = np.zeros((rounds, 3)) if others is None else others
    rates = np.exp(logs - 2 * taken)
    return [Generation(rates, taken, np.array([40.0, 30.0, 41.0]))] * 3


def test_the_ratio_is_b_over_a() -> None:
    result = judge(NAMES, exact(0.25), 8)
    assert result.ratio.ratio == pytest.approx(1.25)
    assert result.control.ratio == pytest.approx(1.0)
    assert (result.verdict, result.generations, result.rounds, result.users) == (FASTER, 3, 18, 8)
    assert result.qps == (100.0, 125.0)
    assert result.median_ms == (40.0, 30.0)
    assert result.notes == ()


def test_what_others_took_from_b_alone_is_put_right() -> None:
    others = np.zeros((6, 3))
    others[:, 1] = [0.0, 0.1, 0.2, 0.3, 0.1, 0.2]  # B was disturbed, A was not
    comparison = judge(NAMES, exact(0.0, others), 4)
    blind = [replace(each, others=np.zeros((6, 3))) for each in exact(0.0, others)]
    assert judge(NAMES, blind, 4).ratio.ratio < 0.8
    assert comparison.ratio.ratio == pytest.approx(1.0)
    assert comparison.verdict == CLOSE
    assert comparison.others_percent == 5.0


def test_a_planted_difference_stays_when_a_disturbance_is_put_right() -> None:
    others = np.zeros((6, 3))
    others[:, 1] = [0.0, 0.1, 0.2, 0.3, 0.1, 0.2]
    assert judge(NAMES, exact(-0.15, others), 4).ratio.ratio == pytest.approx(0.85)


def test_nobody_is_slowed_down_by_more_than_a_disturbance_can_explain() -> None:
    others = np.zeros((6, 3))
    others[:, 1] = [0.0, 0.001, 0.002, 0.003, 0.001, 0.002]
    steep = exact(0.0, others * 100)  # QPS falls by 0.6 for what looks like 0.003
    comparison = judge(NAMES, [replace(each, others=others) for each in steep], 4)
    assert comparison.ratio.ratio < 0.8


def test_nobody_is_made_faster_by_others() -> None:
    others = np.zeros((6, 3))
    others[:, 1] = [0.0, 0.1, 0.2, 0.3, 0.1, 0.2]
    odd = exact(0.0, -others)
    comparison = judge(NAMES, [replace(each, others=others) for each in odd], 4)
    assert comparison.ratio.ratio > 1.2


def test_the_same_disturbance_of_all_three_changes_nothing() -> None:
    others = np.repeat(np.linspace(0, 0.5, 6)[:, None], 3, axis=1)
    assert judge(NAMES, exact(0.1, others), 4).ratio.ratio == pytest.approx(1.1)


def test_a_burst_in_one_round_is_trimmed() -> None:
    calm = exact(0.0, rounds=10)
    rates = calm[0].rates.copy()
    rates[4, 1] /= 5
    assert judge(NAMES, [replace(calm[0], rates=rates)] * 3, 4).ratio.ratio == pytest.approx(1.0)


def test_a_control_that_is_off_by_more_than_b_forbids_a_verdict() -> None:
    tight = Ratio(1.05, 1.04, 1.06)
    assert verdict(tight, Ratio(1.0, 0.99, 1.01)) == FASTER
    assert verdict(tight, Ratio(1.06, 1.05, 1.07)) == CLOSE
    assert verdict(tight, Ratio(0.94, 0.93, 0.95)) == CLOSE
    assert verdict(tight, Ratio(0.96, 0.95, 0.97)) == FASTER


@pytest.mark.parametrize(
    ("low", "middle", "high", "expected"),
    [
        (1.011, 1.1, 1.2, FASTER),
        (1.009, 1.1, 1.2, CLOSE),  # the interval includes differences not worth acting on
        (0.8, 0.9, 0.989, SLOWER),
        (0.8, 0.9, 0.991, CLOSE),
        (0.9, 1.0, 1.1, CLOSE),
    ],
)
def test_the_least_difference(low: float, middle: float, high: float, expected: str) -> None:
    assert verdict(Ratio(middle, low, high), Ratio(1.0, 0.9, 1.1)) == expected


def compared(low: float, high: float) -> Comparison:
    middle = Ratio((low + high) / 2, low, high)
    return Comparison("a", "b", middle, middle, CLOSE, 4, 20, 4, (1.0, 1.0), (1.0, 1.0), 0.0)


@pytest.mark.parametrize(
    ("low", "high", "slower"),
    [
        (0.80, 0.94, True),
        (0.80, 0.95, None),
        (0.94, 0.96, None),
        (0.90, 1.20, None),
        (0.95, 0.97, False),  # slower, but by less
        (0.98, 1.02, False),
        (1.10, 1.20, False),
    ],
)
def test_slower_by_more_than_five_percent(low: float, high: float, slower: bool | None) -> None:
    assert compared(low, high).slower_than(0.05) is slower


def one_server(seed: int, rounds: int, faster: float = 0.0, count: int = 1) -> list[Generation]:
    """Simulate an A that is already running and serves as its own control."""
    return generations(seed, faster, count=count, rounds=rounds, instance=0.0)


def test_running_servers_are_judged_by_consecutive_rounds() -> None:
    comparison = judge(NAMES, one_server(1, 40), 4, restarts=False)
    assert (comparison.generations, comparison.rounds, comparison.notes) == (PARTS, 40, (RUNNING,))
    few = judge(NAMES, one_server(1, 5), 4, restarts=False)
    assert (few.generations, few.rounds) == (5, 5)
    several = judge(NAMES, one_server(1, 20, count=2), 4, restarts=False)
    assert (several.generations, several.rounds) == (PARTS, 40)


def test_verdicts_on_running_servers() -> None:
    for faster, expected in ((0.0, CLOSE), (-0.15, SLOWER), (0.15, FASTER)):
        verdicts = [
            judge(NAMES, one_server(seed, 40, faster), 4, restarts=False).verdict
            for seed in range(100)
        ]
        assert verdicts.count(expected) >= 96


def test_a_comparison_as_json() -> None:
    comparison = judge(NAMES, generations(1, -0.15), 4)
    data = json.loads(json.dumps(comparison.as_json(), allow_nan=False))
    assert (data["a"], data["b"], data["verdict"]) == ("a", "b", SLOWER)
    assert data["low"] < data["ratio"] < data["high"] < 1
    assert data["control"]["low"] < data["control"]["ratio"] < data["control"]["high"]
    assert set(data["qps"]) == set(data["median_ms"]) == {"a", "b"}
    assert (data["generations"], data["rounds"], data["users"], data["notes"]) == (4, 20, 4, [])


def block(target: int, answers: int, latency_ms: float = 40.0, seconds: float = 0.5) -> Block:
    return Block(target, seconds, [latency_ms] * answers, {}, 0, [])


def test_a_generation_is_rows_of_rounds_and_columns_of_targets_without_the_warmup() -> None:
    order = [0, 1, 2, 2, 0, 1, 1, 2, 0]
    answers = [9, 9, 9, 30, 10, 20, 21, 31, 11]
    blocks = [
        block(target, count, 40.0 + target) for target, count in zip(order, answers, strict=True)
    ]
    others = [0.9, 0.9, 0.9, 0.3, 0.1, 0.2, 0.5, 0.6, 0.4]
    generation = Generation.of(blocks, others, 3)
    assert generation.rates.tolist() == [[20.0, 40.0, 60.0], [22.0, 42.0, 62.0]]
    assert generation.others.tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert generation.medians_ms.tolist() == [40.0, 41.0, 42.0]


def test_medians_are_those_of_all_rounds() -> None:
    blocks = [block(0, 5, 1.0), block(1, 5, 1.0)]  # the warm-up
    blocks += [block(0, 3, 10.0), block(1, 1, 20.0), block(0, 5, 30.0), block(1, 1, 40.0)]
    assert Generation.of(blocks, [0.0] * 6, 2).medians_ms.tolist() == [30.0, 30.0]
