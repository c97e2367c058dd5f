"""Operations, bytes and floors against numbers computed by hand."""

from __future__ import annotations

import pytest

from tiankong.bench.explain.workload import (
    BF16,
    COMPUTE,
    FP32,
    INT8,
    MEMORY,
    Product,
    Workload,
    compute_ms,
    floor,
    of_bert,
)

TINY = {
    "hidden_size": 8, "intermediate_size": 32, "num_attention_heads": 2,
    "num_hidden_layers": 3, "vocab_size": 100,
}  # fmt: skip


def test_a_multiplication_with_its_addition_is_two_operations() -> None:
    assert Product(FP32, rows=2, inner=3, columns=5).operations == 60
    assert Product(FP32, 2, 3, 5, count=4).operations == 240


def test_a_bert_is_counted_from_its_numbers() -> None:
    length, batch, rows = 7, 2, 14
    layer = rows * (4 * 8 * 8 + 2 * 8 * 32) + 2 * batch * length * length * 8
    head = rows * (8 * 8 + 8 * 100)
    products = of_bert(TINY, length, batch, FP32)
    assert sum(p.operations for p in products) == 2 * (3 * layer + head)
    assert sum(p.weight_bytes for p in products) == 4 * (
        3 * (4 * 8 * 8 + 2 * 8 * 32) + 8 * 8 + 8 * 100
    )


def test_a_head_only_at_the_mask_is_one_row_a_sentence() -> None:
    whole = sum(p.operations for p in of_bert(TINY, 7, 2, BF16))
    at_mask = sum(p.operations for p in of_bert(TINY, 7, 2, BF16, at_mask=True))
    assert whole - at_mask == 2 * (14 - 2) * (8 * 8 + 8 * 100)


def test_each_precision_has_its_own_ceiling() -> None:
    products = [Product(FP32, 10, 100, 1000), Product(INT8, 10, 100, 1000)]
    # 2e6 operations each: 1 ms at 2 GFLOP/s, 0.25 ms at 8 GOP/s
    assert compute_ms(products, {FP32: 2.0, INT8: 8.0}) == pytest.approx(1.25)


def test_a_precision_the_machine_lacks_runs_as_float32() -> None:
    assert compute_ms([Product(BF16, 10, 100, 1000)], {FP32: 2.0}) == pytest.approx(1.0)


def test_the_floor_is_the_larger_of_compute_and_memory() -> None:
    work = Workload(16, 1, [Product(FP32, 1, 1000, 1000, weight_bytes=4_000_000)])
    compute = floor(work, {FP32: 0.1}, gigabytes=4.0, cache_bytes=0)
    assert (compute.bound, compute.ms) == (COMPUTE, pytest.approx(20.0))
    memory = floor(work, {FP32: 100.0}, gigabytes=4.0, cache_bytes=0)
    assert (memory.bound, memory.ms) == (MEMORY, pytest.approx(1.0))


def test_what_a_cache_can_keep_need_not_come_from_memory() -> None:
    work = Workload(16, 1, [Product(FP32, 1, 1, 1, weight_bytes=3_000_000)], large_bytes=500)
    assert floor(work, {FP32: 1e9}, 1.0, 1_000_000).memory_ms == pytest.approx(2.0005)
    assert floor(work, {FP32: 1e9}, 1.0, 4_000_000).memory_ms == pytest.approx(0.0005)


def test_calls_at_once_may_share_the_weights_they_fetch() -> None:
    work = Workload(16, 1, [Product(FP32, 1, 1, 1, weight_bytes=4_000_000)], large_bytes=1_000_000)
    assert floor(work, {FP32: 1e9}, 1.0, 0, calls=4).memory_ms == pytest.approx(2.0)
