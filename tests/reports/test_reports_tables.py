"""Points and variants: medians, ranges, ratios and doubts checked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tiankong.reports.tables import Spread, article_points, points, variant_rows
from tiankong.toolkit.runs import Cell, Run

FP32 = "onnx-fp32"


def only(run: Run, variant: str, users: int, stack: str = "reference") -> Any:
    (found,) = [
        point
        for point in points([run], FP32)
        if (point.variant, point.stack, point.users) == (variant, stack, users)
    ]
    return found


def test_a_point_by_hand(make_run: Callable[..., Run]) -> None:
    point = only(make_run(), "onnx-int8", 16)
    assert point.qps == Spread(160, 160, 160)  # 16 users, 100 ms each
    assert point.qps_per_core == 80
    assert point.p50_ms == point.p95_ms == Spread(100, 100, 100)
    assert point.ratio == pytest.approx(4)  # the article's server: 16 users, 400 ms each
    assert point.valid
    assert point.doubts == ()


def test_the_articles_server_comes_first_then_the_headers_order(
    make_run: Callable[..., Run],
) -> None:
    found = points([make_run()], FP32)
    assert [point.users for point in found[:4]] == [1, 4, 8, 16]
    assert {point.stack for point in found[:4]} == {"article"}
    names = list(dict.fromkeys(point.variant for point in found[4:]))
    assert names == ["pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8"]


def test_repeats_give_median_and_range(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = tuple(
        make_cell("onnx-int8", "reference", 8, latency, repeat=repeat)
        for repeat, latency in ((1, 80), (2, 100), (3, 50))
    )
    point = only(make_run({}, cells), "onnx-int8", 8)
    assert point.qps == Spread(100, 80, 160)
    assert point.p95_ms == Spread(80, 50, 100)
    assert (point.repeats, point.valid_repeats) == (3, 3)


def test_an_invalid_repeat_is_counted_but_not_averaged(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    good = make_cell("onnx-int8", "reference", 8, 100)
    wrong = make_cell("onnx-int8", "reference", 8, 10, repeat=2, wrong=3)
    point = only(make_run({}, (good, wrong)), "onnx-int8", 8)
    assert point.qps.median == 80
    assert (point.repeats, point.valid_repeats, point.wrong) == (2, 1, 3)
    assert [doubt.warn.code for doubt in point.doubts] == ["wrong-answers", "little"] or [
        doubt.warn.code for doubt in point.doubts
    ] == ["wrong-answers"]


def test_one_repeat_with_too_few_answers_makes_the_percentile_too_few(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    enough = make_cell("onnx-int8", "reference", 1, 50)
    few = make_cell("onnx-int8", "reference", 1, 200, repeat=2)  # 100 answers
    point = only(make_run({}, (enough, few)), "onnx-int8", 1)
    assert point.p95_ms is None
    assert point.p50_ms is not None


def test_a_percentile_among_the_failures_is_infinite(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("onnx-int8", "reference", 8, 100, failures={"503": 400})
    point = only(make_run({}, (cell,)), "onnx-int8", 8)
    assert point.p95_ms is not None
    assert math.isinf(point.p95_ms.median)
    assert not point.valid


def test_no_article_server_no_ratio(make_run: Callable[..., Run]) -> None:
    run = make_run({("onnx-int8", "reference"): {1: 16}})
    assert only(run, "onnx-int8", 1).ratio is None
    assert article_points(points([run], FP32), FP32) == {}


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
    found = [point for point in points([quiet, busy], FP32) if point.variant == "onnx-int8"]
    assert found[0].ratio == pytest.approx(2)
    assert found[0].repeats == 2


def test_variants_carry_sizes_gate_and_memory(make_run: Callable[..., Run]) -> None:
    run = make_run()
    rows = {row.name: row for row in variant_rows([run], points([run], FP32))}
    fp32 = rows[FP32]
    assert fp32.file_bytes == 409_100_000
    assert dict(fp32.memory) == {"article": 320 * 1024**2, "reference": 320 * 1024**2}
    assert fp32.gate is not None
    assert fp32.gate.passed


def test_a_variant_only_cells_name_was_never_asked_by_the_gate(
    make_run: Callable[..., Run],
) -> None:
    run = make_run({("stray", "reference"): {1: 16}})
    rows = {row.name: row for row in variant_rows([run], points([run], FP32))}
    assert rows["stray"].gate is None
