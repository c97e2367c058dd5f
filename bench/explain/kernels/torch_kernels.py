"""PyTorch's kernels for matrix products: its own, and oneDNN's with packed weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..workload import BF16, INT8
from .multiplication import Call, Multiplication, numbers

PLAIN = "mm"
ZERO_POINT, SCALE = 128, 0.01


def calls(cell: Multiplication) -> list[list[Call]]:
    """Return for each caller a function for each weight matrix.

    ``mm`` multiplies weights as they lie; ``packed`` and ``qlinear`` are the oneDNN operators that
    PyTorch's own compiler (Inductor) chooses on x86, with weights packed before.  ``qlinear`` takes
    unsigned 8-bit activations and gives unsigned 8-bit results, as inside a network.
    """
    if cell.precision == INT8:
        return _eight_bits(cell)
    kind = torch.bfloat16 if cell.precision == BF16 else torch.float32
    left = torch.from_numpy(numbers(cell.rows, cell.inner)).to(kind)
    weights = [
        torch.from_numpy(numbers(cell.columns, cell.inner, seed=seed)).to(kind)
        for seed in range(cell.weights)
    ]
    if cell.form == PLAIN:
        return [
            [_plain(left, weight, result) for weight in weights]
            for result in (
                torch.empty(cell.rows, cell.columns, dtype=kind) for _ in range(cell.callers)
            )
        ]
    each = [_packed(left, weight) for weight in weights]
    return [each] * cell.callers


def _plain(left: torch.Tensor, weight: torch.Tensor, result: torch.Tensor) -> Call:
    return lambda: torch.mm(left, weight.t(), out=result)


def _packed(left: torch.Tensor, weight: torch.Tensor) -> Call:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, left.shape[0])
    multiply: Callable[..., object] = torch.ops.mkldnn._linear_pointwise
    return lambda: multiply(left, packed, None, "none", [], "")


def _eight_bits(cell: Multiplication) -> list[list[Call]]:
    left = (torch.from_numpy(numbers(cell.rows, cell.inner)).abs() * 40).to(torch.uint8)
    scales = torch.full((cell.columns,), SCALE)
    zeros = torch.zeros(cell.columns, dtype=torch.int64)
    multiply: Callable[..., object] = torch.ops.onednn.qlinear_pointwise

    def call(seed: int) -> Call:
        weight = torch.from_numpy(numbers(cell.columns, cell.inner, seed=seed)) * 40
        packed = torch.ops.onednn.qlinear_prepack(
            weight.clip(-127, 127).to(torch.int8), [cell.rows, cell.inner]
        )
        return lambda: multiply(
            left, SCALE, ZERO_POINT, packed, scales, zeros, None, 1.0, ZERO_POINT, torch.uint8,
            "none", [], "",
        )  # fmt: skip

    return [[call(seed) for seed in range(cell.weights)]] * cell.callers
