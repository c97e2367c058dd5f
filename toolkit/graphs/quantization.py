"""Static 8-bit quantization of a fused graph: unsigned activations x signed weights.

VNNI instructions multiply U8 x S8.  A weight has one scale for each output channel; an activation
has one scale and zero point for the whole tensor, fixed beforehand from its minimum and maximum on
calibration sentences.  So an answer depends neither on its neighbours in a batch nor on padding.
Quantized products and attention are ONNX Runtime's own operators (``MatMulIntegerToFloat``,
``QAttention``) with float32 results; everything between them stays float32.  Method: Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", with float32 between products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ..engines.outputs import CONTRIB
from ..engines.text import Batch
from ..errors import UnusableInputError
from .rewrites import Rewriter

Floats = NDArray[np.float32]
Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest value of each activation that a weight multiplies, by its graph name."""


def observe(path: Path, batches: Iterable[Batch]) -> Ranges:
    """Return the ranges of a float graph's multiplied activations over calibration batches."""
    import onnxruntime

    model = onnx.load(str(path))
    names = sorted({node.input[0] for node in _products(Rewriter(model))})
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Optimization at load would remove or rename the activations.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = [entry.name for entry in session.get_inputs()]
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for batch in batches:
        activations = session.run(names, {name: getattr(batch, name) for name in inputs})
        for name, values in zip(names, activations, strict=True):
            low[name] = min(low[name], float(values.min()))
            high[name] = max(high[name], float(values.max()))
    return {name: (low[name], high[name]) for name in names}


def quantize(model: onnx.ModelProto, ranges: Ranges) -> None:
    """Replace every product with a weight, and every attention, by its 8-bit form."""
    rewriter = Rewriter(model)
    quantized: dict[str, tuple[str, str, str]] = {}
    for node in _products(rewriter):
        name = node.input[0]
        if name not in quantized:
            quantized[name] = _activation(rewriter, name, ranges[name])
        values, scale, zero = quantized[name]
        weight, weight_scale = _weight(rewriter, node.input[1])
        weight_zero = rewriter.constant(np.zeros((), np.int8))
        if node.op_type == "Attention":
            heads = next(a.i for a in node.attribute if a.name == "num_heads")
            rewriter.add(
                "QAttention",
                [values, weight, node.input[2], scale, weight_scale, node.input[3], zero,
                 weight_zero],
                list(node.output), CONTRIB, num_heads=heads,
            )  # fmt: skip
        else:
            bias, output = _bias(rewriter, node)
            rewriter.add(
                "MatMulIntegerToFloat",
                [values, weight, scale, weight_scale, zero, weight_zero, *bias], [output], CONTRIB,
            )  # fmt: skip
        rewriter.graph.node.remove(node)
    rewriter.tidy()


def _products(rewriter: Rewriter) -> list[onnx.NodeProto]:
    """Return the nodes that multiply an activation with a weight."""
    weights = {tensor.name for tensor in rewriter.graph.initializer}
    transposed = {
        node.output[0]
        for node in rewriter.graph.node
        if node.op_type == "Transpose" and node.input[0] in weights
    }
    return [
        node
        for node in rewriter.graph.node
        if node.op_type in ("MatMul", "Attention") and node.input[1] in weights | transposed
    ]


def _bias(rewriter: Rewriter, product: onnx.NodeProto) -> tuple[list[str], str]:
    """Return a product's bias and the name of their sum; remove the Add node."""
    users = rewriter.consumers(product.output[0])
    if len(users) == 1 and users[0].op_type == "Add":
        for name in users[0].input:
            if rewriter.is_vector(name):
                rewriter.graph.node.remove(users[0])
                return [name], users[0].output[0]
    return [], product.output[0]


def _activation(rewriter: Rewriter, name: str, bounds: tuple[float, float]) -> tuple[str, str, str]:
    low, high = bounds
    scale = (high - low) / 255
    if not np.isfinite(scale) or scale <= 0:
        raise UnusableInputError(f"activation {name} has the range {low} to {high}")
    scale_name = rewriter.constant(np.float32(scale))
    zero_name = rewriter.constant(np.uint8(np.clip(np.rint(-low / scale), 0, 255)))
    values = rewriter.add("QuantizeLinear", [name, scale_name, zero_name])
    return values, scale_name, zero_name


def rounded(weight: Floats, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """Return a weight as int8 and its scales, one for each index along ``axis``."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others), np.finfo(np.float32).tiny) / 127
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    values = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    return values, scale.astype(np.float32)


def _weight(rewriter: Rewriter, name: str) -> tuple[str, str]:
    """Quantize a weight and return its name and its scale's; a Transpose before its use stays."""
    transpose = next((n for n in rewriter.graph.node if name in n.output), None)
    stored = name if transpose is None else transpose.input[0]
    quantized_name, scale_name = f"{stored}_int8", f"{stored}_scale"
    if all(tensor.name != quantized_name for tensor in rewriter.graph.initializer):
        values, scale = rounded(rewriter.weight(stored), axis=1 if transpose is None else 0)
        rewriter.constant(values, quantized_name)
        rewriter.constant(scale, scale_name)
    if transpose is None:
        return quantized_name, scale_name
    return rewriter.add("Transpose", [quantized_name], perm=[1, 0]), scale_name


def share_embedding(model: onnx.ModelProto) -> None:
    """Look tokens up in the decoder's 8-bit matrix, so that the file stores one matrix for both.

    A token's row has one scale: the decoder's scale for that output channel.  If the model's
    decoder is a separate matrix, its embedding is stored in 8 bits in the same way.
    """
    rewriter = Rewriter(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Gather"]:
        stored, ids = node.input[:2]
        if stored not in weights or ids != "input_ids":
            continue
        if f"{stored}_int8" not in weights:
            values, scale = rounded(rewriter.weight(stored), axis=0)
            rewriter.constant(values, f"{stored}_int8")
            rewriter.constant(scale, f"{stored}_scale")
        _look_up_rows(rewriter, node)
    rewriter.tidy()


def small_tables(model: onnx.ModelProto) -> None:
    """Store the other embedding tables (positions, segments) in 8 bits, a scale a row."""
    rewriter = Rewriter(model)
    tables = {t.name for t in model.graph.initializer if len(t.dims) == 2 and t.data_type == 1}
    for node in [n for n in model.graph.node if n.op_type == "Gather" and n.input[0] in tables]:
        values, scale = rounded(rewriter.weight(node.input[0]), axis=0)
        rewriter.constant(values, f"{node.input[0]}_int8")
        rewriter.constant(scale, f"{node.input[0]}_scale")
        _look_up_rows(rewriter, node)
    rewriter.tidy()


def _look_up_rows(rewriter: Rewriter, gather: onnx.NodeProto) -> None:
    """Replace a Gather by one of 8-bit rows, multiplied by their scales."""
    stored, ids = gather.input[:2]
    rows = rewriter.add("Cast", [rewriter.add("Gather", [f"{stored}_int8", ids])], to=1)
    scales = rewriter.add("Gather", [f"{stored}_scale", ids])
    last = rewriter.constant(np.array([-1]))
    wide = rewriter.add("Unsqueeze", [scales, last])
    rewriter.add("Mul", [rows, wide], [gather.output[0]])
    rewriter.graph.node.remove(gather)
