"""OpenVINO's kernels for matrix products, each a model of one product."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from ..workload import BF16, FP32, INT8
from .multiplication import Call, Multiplication, numbers

LEVELS, LARGEST, SIGNED = 256, 255, 127
HINTS = {FP32: "f32", BF16: "bf16", INT8: "f32"}
QUANTIZED = "MatMul u8 to u8"
NARROW, WIDE = np.float32(-6), np.float32(6)  # the range that a requantized result is cut to


def calls(cell: Multiplication) -> list[list[Call]]:
    """Return for each caller a function for each weight matrix.

    8-bit products multiply unsigned activations with signed weights and scales.  ``MatMul`` takes
    and gives float32 (the call includes quantizing the activations), ``MatMul u8 to u8`` 8 bits on
    both sides, as between two products of a network.
    """
    quantized = cell.form == QUANTIZED
    left: NDArray[Any] = np.resize(np.arange(LEVELS), (cell.rows, cell.inner))
    left = left.astype(np.uint8 if quantized else np.float32)
    compiled = [
        openvino.Core().compile_model(
            _model(numbers(cell.inner, cell.columns, seed=seed), cell.rows, cell),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[cell.precision],
                "INFERENCE_NUM_THREADS": cell.callers * cell.threads,
                "NUM_STREAMS": cell.callers,
                "ENABLE_CPU_PINNING": False,
            },
        )
        for seed in range(cell.weights)
    ]

    given = openvino.Tensor(left)  # all requests read it

    def caller() -> list[Call]:
        result = openvino.Type.u8 if quantized else openvino.Type.f32
        output = openvino.Tensor(result, openvino.Shape([cell.rows, cell.columns]))
        return [_request(model, given, output) for model in compiled]

    return [caller() for _ in range(cell.callers)]


def _request(model: openvino.CompiledModel, left: openvino.Tensor, output: openvino.Tensor) -> Call:
    request = model.create_infer_request()
    request.set_input_tensor(left)
    request.set_output_tensor(output)
    return lambda: request.infer()


def _model(weight: NDArray[np.float32], rows: int, cell: Multiplication) -> Any:
    if cell.precision != INT8:
        return _float(weight, rows)
    return _quantized(weight, rows) if cell.form == QUANTIZED else _eight_bits(weight, rows)


def _float(weight: NDArray[np.float32], rows: int) -> Any:
    activations = ops.parameter([rows, weight.shape[0]], np.float32)
    transposed = ops.constant(np.ascontiguousarray(weight.T))
    return openvino.Model(
        [ops.matmul(activations, transposed, False, True)], [activations], "float"
    )


def _eight_bits(weight: NDArray[np.float32], rows: int) -> Any:
    activations = ops.parameter([rows, weight.shape[0]], np.float32)
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(LARGEST))
    # OpenVINO computes a product in 8 bits if its input is a FakeQuantize.
    left = ops.fake_quantize(activations, low, high, low, high, LEVELS)
    return openvino.Model([ops.matmul(left, _weights(weight), False, True)], [activations], "eight")


def _quantized(weight: NDArray[np.float32], rows: int) -> Any:
    activations = ops.parameter([rows, weight.shape[0]], np.uint8)
    left = ops.multiply(ops.convert(activations, "f32"), ops.constant(np.float32(0.01)))
    product = ops.matmul(left, _weights(weight), False, True)
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(LARGEST))
    narrow, wide = ops.constant(NARROW), ops.constant(WIDE)
    result = ops.fake_quantize(product, narrow, wide, low, high, LEVELS)
    return openvino.Model([ops.convert(result, "u8")], [activations], "quantized")


def _weights(weight: NDArray[np.float32]) -> Any:
    eight = ops.constant(np.clip(weight.T * 40, -SIGNED, SIGNED).astype(np.int8))
    scales = ops.constant(np.full((weight.shape[1], 1), 0.01, np.float32))
    return ops.multiply(ops.convert(eight, "f32"), scales)
