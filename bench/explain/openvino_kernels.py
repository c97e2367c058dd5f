"""OpenVINO's kernels for matrix products, each run as a model with one product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from .workload import BF16, FP32, INT8

LEVELS = 256
HINTS = {FP32: "f32", BF16: "bf16", INT8: "f32"}


def requests(
    weight: NDArray[np.float32], rows: int, precision: str, callers: int, threads: int
) -> list[Callable[[], object]]:
    """Return for each caller a function that multiplies (rows x inner) with a weight matrix.

    8-bit products multiply unsigned activations with signed weights and scales, with a float32
    result; the call includes quantizing the activations.
    """
    model = _eight_bits(weight, rows) if precision == INT8 else _float(weight, rows)
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": callers * threads,
            "NUM_STREAMS": callers,
            "ENABLE_CPU_PINNING": False,
        },
    )
    activations = np.resize(np.arange(256, dtype=np.float32), (rows, weight.shape[0]))

    def call() -> Callable[[], object]:
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(activations))
        return lambda: request.infer()

    return [call() for _ in range(callers)]


def _float(weight: NDArray[np.float32], rows: int) -> Any:
    activations = ops.parameter([rows, weight.shape[0]], np.float32)
    transposed = ops.constant(np.ascontiguousarray(weight.T))
    return openvino.Model(
        [ops.matmul(activations, transposed, False, True)], [activations], "float"
    )


def _eight_bits(weight: NDArray[np.float32], rows: int) -> Any:
    activations = ops.parameter([rows, weight.shape[0]], np.float32)
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(255))
    # OpenVINO computes a product in 8 bits if its input is a FakeQuantize.
    left = ops.fake_quantize(activations, low, high, low, high, LEVELS)
    eight = ops.constant(np.clip(weight.T * 40, -127, 127).astype(np.int8))
    scales = ops.constant(np.full((weight.shape[1], 1), 0.01, np.float32))
    right = ops.multiply(ops.convert(eight, "f32"), scales)
    return openvino.Model([ops.matmul(left, right, False, True)], [activations], "eight")
