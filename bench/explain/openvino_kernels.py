"""OpenVINO's product kernels, each as a model of one product."""

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
    """Return a call for each caller that multiplies (rows x inner) with a weight.

    8-bit products are unsigned activations x signed weights with scales, float32 out; quantizing
    the activations is part of the call.
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
    given = np.resize(np.arange(256, dtype=np.float32), (rows, weight.shape[0]))

    def call() -> Callable[[], object]:
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(given))
        return lambda: request.infer()

    return [call() for _ in range(callers)]


def _float(weight: NDArray[np.float32], rows: int) -> Any:
    given = ops.parameter([rows, weight.shape[0]], np.float32)
    turned = ops.constant(np.ascontiguousarray(weight.T))
    return openvino.Model([ops.matmul(given, turned, False, True)], [given], "float")


def _eight_bits(weight: NDArray[np.float32], rows: int) -> Any:
    given = ops.parameter([rows, weight.shape[0]], np.float32)
    low, high = ops.constant(np.float32(0)), ops.constant(np.float32(255))
    # OpenVINO computes in 8 bits what comes from a FakeQuantize.
    left = ops.fake_quantize(given, low, high, low, high, LEVELS)
    eight = ops.constant(np.clip(weight.T * 40, -127, 127).astype(np.int8))
    scales = ops.constant(np.full((weight.shape[1], 1), 0.01, np.float32))
    right = ops.multiply(ops.convert(eight, "f32"), scales)
    return openvino.Model([ops.matmul(left, right, False, True)], [given], "eight")
