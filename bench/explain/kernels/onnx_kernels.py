"""ONNX Runtime's kernels for matrix products, each a session of one operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ....toolkit.engines.outputs import CONTRIB
from ..workload import FP32, INT8
from .multiplication import Call, Multiplication, numbers

PLAIN, TO_FLOAT = "MatMulInteger", "MatMulIntegerToFloat"


def calls(cell: Multiplication) -> list[list[Call]]:
    """Return for each caller a function for each weight matrix.

    Weights are constants, packed at load.  8-bit products take unsigned activations and signed
    weights; the result is int32 or float32.  It goes to memory that is allocated before, as inside
    a model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cell.threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = [
        onnxruntime.InferenceSession(
            _model(cell, seed), options, providers=["CPUExecutionProvider"]
        )
        for seed in range(cell.weights)
    ]
    kind = np.float32 if cell.precision == FP32 else np.uint8
    left = (np.abs(numbers(cell.rows, cell.inner)) * 40).astype(kind)
    result = np.int32 if cell.form == PLAIN else np.float32

    def caller() -> list[Call]:
        output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            [cell.rows, cell.columns], result, "cpu"
        )
        return [_bound(session, left, output) for session in sessions]

    return [caller() for _ in range(cell.callers)]


def _bound(session: Any, left: NDArray[Any], output: Any) -> Call:
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(left))
    binding.bind_ortvalue_output("y", output)
    return lambda: session.run_with_iobinding(binding)


def _model(cell: Multiplication, seed: int) -> bytes:
    weight = numbers(cell.inner, cell.columns, seed=seed)
    constants: dict[str, NDArray[Any]] = {"w": weight}
    left, result = TensorProto.FLOAT, TensorProto.FLOAT
    inputs = ["x", "w"]
    if cell.precision == INT8:
        left = TensorProto.UINT8
        constants["w"] = (weight * 40).clip(-127, 127).astype(np.int8)
        constants["zero"] = np.array(128, np.uint8)
        inputs = ["x", "w", "zero"]
        if cell.form == TO_FLOAT:
            constants["scale"] = np.array(0.01, np.float32)
            constants["scales"] = np.full(cell.columns, 0.01, np.float32)
            inputs = ["x", "w", "scale", "scales", "zero"]
        else:
            result = TensorProto.INT32
    domain = CONTRIB if cell.form == TO_FLOAT else ""
    graph = helper.make_graph(
        [helper.make_node(cell.form, inputs, ["y"], domain=domain)],
        "ceiling",
        [helper.make_tensor_value_info("x", left, [cell.rows, cell.inner])],
        [helper.make_tensor_value_info("y", result, [cell.rows, cell.columns])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())
