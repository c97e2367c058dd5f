"""Points and variants: means, loads, ratios and doubts checked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tiankong.reports.facts.estimates import Estimate
from tiankong.reports.facts.points import article_points, points
from tiankong.reports.facts.variants import variant_rows
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.run_file import Cell, Run

FP32 = "onnx-fp32"
LIMIT = 130.0


def only(run: Run, variant: str, users: int, stack: str = "reference") -> Any:
    (found,) = [
        point
        for point in points([run], FP32, LIMIT)
        if (point.variant, point.stack, point.users) == (variant, stack, users)
    ]
    return found


def test_a_point_by_hand(make_run: Callable[..., Run]) -> None:
    point = only(make_run(), "onnx-int8", 16)
    assert point.qps == Estimate(160)  # 16 users, 100 ms each
    assert point.qps_per_core == 80
    assert point.p50_ms == point.p90_ms == point.p95_ms == point.p99_ms == Estimate(100)
    assert point.ratio == pytest.approx(4)  # the article's server: 16 users, 400 ms each
    assert point.valid
    assert point.doubts == ()


def test_stages_are_the_mean_of_the_counted_repeats_that_tell(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    told = [
        {"stages": {"queue": 2.0, "engine": 5.0}},
        {"stages": {"queue": 4.0, "engine": 9.0}},
        {"stages": {}},
        {"stages": {"queue": 99.0, "engine": 99.0}, "wrong": 1},  # invalid
    ]
    cells = [
        make_cell("onnx-int8", "reference", 8, 80, repeat=number, **more)
        for number, more in enumerate(told, 1)
    ]
    run = make_run({}, (*cells, make_cell("onnx-int8", "reference", 1, 50)))
    assert only(run, "onnx-int8", 8).stages == {"queue": 3.0, "engine": 7.0}
    assert only(run, "onnx-int8", 1).stages == {}


def test_the_articles_server_comes_first_then_the_headers_order(
    make_run: Callable[..., Run],
) -> None:
    found = points([make_run()], FP32, LIMIT)
    assert [point.users for point in found[:4]] == [1, 4, 8, 16]
    assert {point.stack for point in found[:4]} == {"article"}
    names = list(dict.fromkeys(point.variant for point in found[4:]))
    assert names == ["pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8"]


def test_repeats_give_the_geometric_mean_and_an_interval_around_it(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = tuple(
        make_cell("onnx-int8", "reference", 8, latency, repeat=repeat)
        for repeat, latency in ((1, 80), (2, 100), (3, 50))
    )
    point = only(make_run({}, cells), "onnx-int8", 8)
    assert point.qps.value == pytest.approx((100 * 80 * 160) ** (1 / 3))
    assert point.p95_ms.value == pytest.approx((80 * 100 * 50) ** (1 / 3))
    assert point.qps.low * point.qps.high == pytest.approx(point.qps.value**2)
    assert point.qps.low < 80  # a wide interval: the three repeats differ by a factor of two
    assert (point.repeats, point.valid_repeats) == (3, 3)


def test_a_single_valid_repeat_has_an_interval_and_a_point_measured_once_has_none(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    pair = [make_cell("onnx-int8", "reference", 8, ms, repeat=i) for i, ms in ((1, 80), (2, 90))]
    half = [
        make_cell("onnx-int8", "reference", 4, 50),
        make_cell("onnx-int8", "reference", 4, 60, repeat=2, wrong=1),
    ]
    run = make_run({}, (*pair, *half, make_cell("onnx-int8", "reference", 1, 50)))
    left = only(run, "onnx-int8", 4)
    assert (left.valid_repeats, left.qps.value) == (1, 80)
    assert left.qps.low < 80 < left.qps.high
    assert left.qps.high / left.qps.low > (
        only(run, "onnx-int8", 8).qps.high / only(run, "onnx-int8", 8).qps.low
    )
    assert only(run, "onnx-int8", 1).qps.ends is None


def test_open_loops_do_not_lend_their_steadiness_to_closed_ones(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_open_cell: Callable[..., Cell],
) -> None:
    noisy = tuple(
        make_cell("onnx-int8", "reference", 8, latency, repeat=repeat)
        for repeat, latency in ((1, 50), (2, 60))
    )
    steady = tuple(
        make_open_cell("onnx-int8", rate, 20, repeat=repeat)
        for rate in (10, 20, 40)
        for repeat in (1, 2, 3)
    )
    alone = only(make_run({}, noisy), "onnx-int8", 8)
    beside = only(make_run({}, (*noisy, *steady)), "onnx-int8", 8)
    assert beside.qps == alone.qps


def test_every_part_of_a_load_makes_a_point_of_its_own(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_open_cell: Callable[..., Cell],
) -> None:
    loads: list[dict[str, int]] = [{}, {"tokens": 16}, {"batch": 4}, {"cores": 1}]
    cells = [make_cell("onnx-int8", "reference", 1, 20, **load) for load in loads]
    cells += [make_open_cell("onnx-int8", rate, 20) for rate in (10.0, 20.0)]
    found = points([make_run({}, tuple(cells))], FP32, LIMIT)
    assert {point.load for point in found} == {
        Load(1),
        Load(1, tokens=16),
        Load(1, batch=4),
        Load(1, cores=1),
        Load(0, 10.0),
        Load(0, 20.0),
    }
    assert [point.load for point in found if point.load.plain] == [Load(1)]
    batched = next(point for point in found if point.load.batch == 4)
    assert (batched.qps.value, batched.sentences.value) == (50, 200)
    pinned = next(point for point in found if point.load.cores == 1)
    assert pinned.qps_per_core == pinned.qps.value  # the server had one core


def test_goodput_counts_what_came_in_time(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    half = make_cell("onnx-int8", "reference", 8, 100, latencies_ms=[60.0] * 900 + [140.0] * 900)
    point = only(make_run({}, (half,)), "onnx-int8", 8)
    assert (point.qps.value, point.goodput) == (90, 45)


def test_late_sending_is_read_from_the_open_loop(
    make_run: Callable[..., Run], make_open_cell: Callable[..., Cell]
) -> None:
    cell = make_open_cell("onnx-int8", 40.0, 20, late_ms=[1.0] * 780 + [9.0] * 20)
    point = only(make_run({}, (cell,)), "onnx-int8", 0)
    assert point.late_p99_ms == 9.0
    few = make_open_cell("onnx-int8", 10.0, 20)
    assert only(make_run({}, (few,)), "onnx-int8", 0).late_p99_ms is None


def test_an_invalid_repeat_is_counted_but_not_averaged(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    good = make_cell("onnx-int8", "reference", 8, 100)
    wrong = make_cell("onnx-int8", "reference", 8, 10, repeat=2, wrong=3)
    point = only(make_run({}, (good, wrong)), "onnx-int8", 8)
    assert point.qps.value == 80
    assert (point.repeats, point.valid_repeats, point.wrong) == (2, 1, 3)
    assert [doubt.warn.code for doubt in point.doubts] == ["wrong-answers", "little"] or [
        doubt.warn.code for doubt in point.doubts
    ] == ["wrong-answers"]


def test_repeats_with_too_few_answers_each_are_one_sample(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    enough = make_cell("onnx-int8", "reference", 1, 50)  # 400 answers
    few = make_cell("onnx-int8", "reference", 1, 200, repeat=2)  # 100 answers
    point = only(make_run({}, (enough, few)), "onnx-int8", 1)
    assert point.p95_ms == Estimate(200)  # the slow repeat counts; one repeat gives no interval
    assert point.p50_ms is not None
    assert point.p50_ms.value == pytest.approx(100)
    assert point.p99_ms is None  # 500 answers are too few, even taken together


def test_a_pooled_percentile_has_an_interval_where_two_repeats_support_it(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = [
        make_cell("onnx-int8", "reference", 1, latency, repeat=repeat)
        for repeat, latency in ((1, 50), (2, 60), (3, 200))
    ]
    found = only(make_run({}, tuple(cells)), "onnx-int8", 1).p95_ms
    assert found is not None
    assert found.value == 200
    assert found.low < 200 < found.high


def test_failures_count_in_a_pooled_percentile(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = [
        make_cell("onnx-int8", "reference", 1, 200, repeat=repeat, failures={"503": 20})
        for repeat in (1, 2)  # 100 answers and 20 failures each, so neither is valid
    ]
    point = only(make_run({}, tuple(cells)), "onnx-int8", 1)
    assert point.p95_ms is not None
    assert math.isinf(point.p95_ms.value)
    assert point.p95_ms.ends is None


def test_a_percentile_among_the_failures_is_infinite(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("onnx-int8", "reference", 8, 100, failures={"503": 400})
    point = only(make_run({}, (cell,)), "onnx-int8", 8)
    assert point.p95_ms is not None
    assert math.isinf(point.p95_ms.value)
    assert not point.valid


def test_no_article_server_no_ratio(make_run: Callable[..., Run]) -> None:
    run = make_run({("onnx-int8", "reference"): {1: 16}})
    assert only(run, "onnx-int8", 1).ratio is None
    assert article_points(points([run], FP32, LIMIT), FP32) == {}


def test_an_invalid_yardstick_gives_no_ratio(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    broken = make_cell(FP32, "article", 1, 25, wrong=1)
    run = make_run({("onnx-int8", "reference"): {1: 16}}, (broken,))
    assert only(run, "onnx-int8", 1).ratio is None


def test_the_only_variant_behind_the_articles_server_is_the_yardstick(
    make_run: Callable[..., Run],
) -> None:
    run = make_run({("other", "article"): {1: 32}, ("onnx-int8", "reference"): {1: 16}})
    assert only(run, "onnx-int8", 1).ratio == pytest.approx(2)


def test_ratios_are_formed_inside_each_run(make_run: Callable[..., Run]) -> None:
    quiet = make_run({(FP32, "article"): {1: 40}, ("onnx-int8", "reference"): {1: 20}})
    busy = make_run({(FP32, "article"): {1: 100}, ("onnx-int8", "reference"): {1: 50}}, run="b")
    found = [point for point in points([quiet, busy], FP32, LIMIT) if point.variant == "onnx-int8"]
    assert found[0].ratio == pytest.approx(2)
    assert found[0].repeats == 2


def test_variants_carry_sizes_gate_and_memory(make_run: Callable[..., Run]) -> None:
    run = make_run()
    rows = {row.name: row for row in variant_rows([run], points([run], FP32, LIMIT))}
    fp32 = rows[FP32]
    assert fp32.file_bytes == 409_100_000
    assert dict(fp32.memory) == {"article": 320 * 1024**2, "reference": 320 * 1024**2}
    assert fp32.gate is not None
    assert fp32.gate.passed


def test_a_variant_only_cells_name_was_never_asked_by_the_gate(
    make_run: Callable[..., Run],
) -> None:
    run = make_run({("stray", "reference"): {1: 16}})
    rows = {row.name: row for row in variant_rows([run], points([run], FP32, LIMIT))}
    assert rows["stray"].gate is None
