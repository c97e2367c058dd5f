"""What operators multiply, and what kind of work they are."""

from __future__ import annotations

from typing import Any

import pytest

from tiankong.bench.explain.operators import (
    ATTENTION,
    CASTS,
    GATHERS,
    GELU,
    NORMS,
    OTHER,
    PRODUCTS,
    QUANTIZE,
    SUMS,
    Operator,
    casts,
    graph_facts,
    products,
    workload,
)
from tiankong.bench.explain.workload import FP32, INT8


def operator(kind: str, *inputs: Any, out: Any = (), parameters: int = 0) -> Operator:
    return Operator("n", kind, inputs, [out] if out else [], parameters, 0, 1.0)


WEIGHT = ("float", (8, 32))
ROWS = ("float", (2, 7, 8))
WIDE = ("float", (2, 7, 32))


def test_a_product_with_a_weight() -> None:
    (result,) = products(operator("MatMul", ROWS, WEIGHT, out=WIDE, parameters=1024))
    assert (result.rows, result.inner, result.columns, result.count) == (14, 8, 32, 1)
    assert (result.precision, result.weight_bytes, result.inside) == (FP32, 1024, False)


def test_a_product_of_two_activations_is_attentions_own() -> None:
    left, right = ("float", (2, 4, 7, 16)), ("float", (2, 4, 16, 7))
    each = operator("MatMul", left, right, out=("float", (2, 4, 7, 7)))
    (result,) = products(each)
    assert (result.rows, result.inner, result.columns, result.count) == (7, 16, 7, 8)
    assert result.inside
    assert result.weight_bytes == 0
    assert each.group == ATTENTION


def test_a_transposed_product_counts_the_same() -> None:
    given = ("float", (8, 14))  # Gemm with transA
    (result,) = products(operator("Gemm", given, WEIGHT, out=("float", (14, 32)), parameters=1024))
    assert result.operations == 2 * 14 * 8 * 32


@pytest.mark.parametrize(
    "kind", ["MatMulInteger", "MatMulIntegerToFloat", "QGemm", "QLinearMatMul"]
)
def test_eight_bit_products(kind: str) -> None:
    given, weight = ("uint8", (2, 7, 8)), ("int8", (8, 32))
    (result,) = products(operator(kind, given, weight, out=WIDE, parameters=256))
    assert (result.precision, result.operations) == (INT8, 2 * 14 * 8 * 32)


def test_a_product_quantized_inside_takes_and_gives_floats() -> None:
    weight = ("int8", (8, 32))
    (result,) = products(operator("DynamicQuantizeMatMul", ROWS, weight, out=WIDE, parameters=256))
    assert result.precision == INT8


@pytest.mark.parametrize(("eight_bits", "precision"), [(True, INT8), (False, FP32)])
def test_packed_weights_are_computed_as_their_accuracy_level_says(
    eight_bits: bool, precision: str
) -> None:
    packed = ("uint8", (32, 1, 8))
    each = operator("MatMulNBits", ROWS, packed, out=WIDE, parameters=300)
    (result,) = products(each, eight_bits)
    assert (result.precision, result.operations) == (precision, 2 * 14 * 8 * 32)


def test_fused_attention_is_its_projection_and_two_products() -> None:
    each = operator("QAttention", ("uint8", (2, 7, 8)), ("int8", (8, 24)), out=ROWS, parameters=192)
    projection, *inside = products(each)
    assert (projection.precision, projection.operations) == (INT8, 2 * 14 * 8 * 24)
    assert {each.precision for each in inside} == {FP32}
    assert sum(each.operations for each in inside) == 2 * 2 * (2 * 7 * 7 * 8)


def test_attention_of_one_query_over_all_keys() -> None:
    query, keys = ("float", (3, 1, 8)), ("float", (3, 7, 8))
    result = products(operator("MultiHeadAttention", query, keys, keys, out=query))
    assert sum(each.operations for each in result) == 2 * 2 * (3 * 1 * 7 * 8)


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("MatMulIntegerToFloat", PRODUCTS), ("QAttention", ATTENTION), ("BiasGelu", GELU),
        ("SkipLayerNormalization", NORMS), ("DynamicQuantizeLinear", QUANTIZE), ("Cast", CASTS),
        ("Add", SUMS), ("Gather", GATHERS), ("NobodyKnows", OTHER),
    ],
)  # fmt: skip
def test_the_kind_of_work(kind: str, group: str) -> None:
    assert operator(kind, ROWS, out=ROWS).group == group


def test_softmax_over_heads_is_attention_and_over_tokens_is_not() -> None:
    heads = ("float", (2, 4, 7, 7))
    assert operator("Softmax", heads, out=heads).group == ATTENTION
    assert operator("Softmax", ROWS, out=ROWS).group != ATTENTION


def test_casts_by_what_they_turn_into_what() -> None:
    half = ("float16", (2, 7, 8))
    run = [operator("Cast", ROWS, out=half)] * 2 + [operator("Cast", half, out=ROWS)]
    assert casts(run) == {"float to float16": 2, "float16 to float": 1}


def test_the_facts_of_a_graph() -> None:
    half, bytes_ = ("float16", (2, 7, 8)), ("uint8", (2, 7, 8))
    run = [
        operator("Cast", ROWS, out=half),
        operator("Add", half, half, out=half),
        operator("MatMulInteger", bytes_, ("uint8", (8, 32)), out=WIDE),
        operator("MatMulInteger", bytes_, ("int8", (8, 32)), out=WIDE),
        operator("DynamicQuantizeLinear", ROWS, out=bytes_),
    ]
    assert graph_facts(run) == {
        "fp16_operators": 1, "fp16_casts": 1, "unsigned_weights": 1, "dynamic_scales": 1,
    }  # fmt: skip


def test_a_tensor_larger_than_the_cache_comes_from_memory() -> None:
    run = [operator("Add", ROWS, ROWS, out=ROWS), operator("Add", WIDE, WIDE, out=WIDE)]
    assert workload(run, 7, 2, cache_bytes=1000, eight_bits=False).large_bytes == 2 * 7 * 32 * 4
    assert workload(run, 7, 2, cache_bytes=10_000, eight_bits=False).large_bytes == 0
