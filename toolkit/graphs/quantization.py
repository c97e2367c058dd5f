"""Static 8-bit quantization of a fused graph: unsigned activations x signed weights.

VNNI and AMX instructions multiply U8 x S8.  A weight has one scale for each output channel; an
activation has one scale and zero point for the whole tensor, fixed beforehand on calibration
sentences (see grids.py).  So an answer depends neither on its neighbours in a batch nor on padding.
Quantized products and attention are ONNX Runtime's own operators (``MatMulIntegerToFloat``,
``QAttention``) with float32 results; everything between them stays float32.  Method: Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", with float32 between products.  What is constant in a product's error its bias takes
away (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from ..engines.outputs import CONTRIB
from .grids import Floats, Observed, Range, chosen_range, rounded
from .rewrites import Rewriter
from .smoothing import Smoothing, add_to_bias, products, stored_weight, weight_of


@dataclass(frozen=True)
class EightBits:
    """A weight in 8 bits as it is stored, and its scales."""

    values: NDArray[np.int8]
    scale: Floats


@dataclass(frozen=True)
class Scheme:
    """All that is chosen for a graph: ranges by activation, weights by name, what biases add.

    ``corrections`` are by the name of a product's result, ``noises`` (the error of a product, as a
    share of its result's variance, see grids.py) and ``shares`` (of all multiply-adds on the
    calibration sentences) by its weight.  ``multiplied``: how many multiplications were added for
    channels out of line (see smoothing.py).
    """

    ranges: Mapping[str, Range]
    weights: Mapping[str, EightBits]
    corrections: Mapping[str, Floats]
    noises: Mapping[str, float]
    shares: Mapping[str, float]
    multiplied: int = 0


def prepare(model: onnx.ModelProto, seen: Mapping[str, Observed]) -> Scheme:
    """Change a float graph for 8 bits (it still computes the same), and choose all scales."""
    rewriter = Rewriter(model)
    smoothing = Smoothing(rewriter, dict(seen))
    smoothing.run()
    seen = smoothing.seen
    ranges: dict[str, Range] = {}
    weights: dict[str, EightBits] = {}
    corrections: dict[str, Floats] = {}
    noises: dict[str, float] = {}
    work: dict[str, int] = {}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for product in products(rewriter):
        readers.setdefault(product.input[0], []).append(product)
    for name, nodes in readers.items():
        wide = np.concatenate([weight_of(rewriter, node) for node in nodes], axis=1)
        ranges[name], noise = chosen_range(name, seen[name], wide)
        for node in nodes:
            stored, transposed = stored_weight(rewriter, node)
            noises[stored] = max(noise, noises.get(stored, 0.0))
            size = weight_of(rewriter, node).size
            work[stored] = work.get(stored, 0) + size * seen[name].count
            if stored not in weights:
                importance = None if transposed else np.square(seen[name].rows).mean(axis=0)
                axis = 0 if transposed else 1
                weights[stored] = EightBits(*rounded(rewriter.weight(stored), axis, importance))
            corrections[node.output[0]] = _correction(
                seen[name].rows, weight_of(rewriter, node), ranges[name], weights[stored],
                transposed,
            )  # fmt: skip
    shares = {name: part / sum(work.values()) for name, part in work.items()}
    return Scheme(ranges, weights, corrections, noises, shares, smoothing.multiplied)


def _correction(
    rows: Floats, weight: Floats, span: Range, eight: EightBits, transposed: bool
) -> Floats:
    """Return what is missing from a product's result in 8 bits, on average over some rows."""
    exact = rows.mean(axis=0) @ weight
    values = eight.values.T if transposed else eight.values
    result: Floats = exact - (span.applied(rows).mean(axis=0) @ values) * eight.scale
    return result.astype(np.float32)


def quantize(model: onnx.ModelProto, scheme: Scheme, kept: Collection[str] = ()) -> None:
    """Replace every product with a weight, and every attention, by its 8-bit form.

    Products of the weights ``kept`` stay in float32.
    """
    rewriter = Rewriter(model)
    quantized: dict[str, tuple[str, str, str]] = {}
    for node in products(rewriter):
        name = node.input[0]
        if stored_weight(rewriter, node)[0] in kept:
            continue
        if name not in quantized:
            quantized[name] = _activation(rewriter, name, scheme.ranges[name])
        add_to_bias(rewriter, node, scheme.corrections[node.output[0]])
        values, scale, zero = quantized[name]
        weight, weight_scale = _weight(rewriter, node, scheme)
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


def _bias(rewriter: Rewriter, product: onnx.NodeProto) -> tuple[list[str], str]:
    """Return a product's bias and the name of their sum; remove the Add node."""
    users = rewriter.consumers(product.output[0])
    if len(users) == 1 and users[0].op_type == "Add":
        for name in users[0].input:
            if rewriter.is_vector(name):
                rewriter.graph.node.remove(users[0])
                return [name], users[0].output[0]
    return [], product.output[0]


def _activation(rewriter: Rewriter, name: str, span: Range) -> tuple[str, str, str]:
    scale_name = rewriter.constant(np.float32(span.scale))
    zero_name = rewriter.constant(np.uint8(span.zero))
    values = rewriter.add("QuantizeLinear", [name, scale_name, zero_name])
    return values, scale_name, zero_name


def _weight(rewriter: Rewriter, product: onnx.NodeProto, scheme: Scheme) -> tuple[str, str]:
    """Store a product's 8-bit weight; return its name and its scale's; a Transpose stays."""
    stored, transposed = stored_weight(rewriter, product)
    quantized_name, scale_name = f"{stored}_int8", f"{stored}_scale"
    if all(tensor.name != quantized_name for tensor in rewriter.graph.initializer):
        rewriter.constant(scheme.weights[stored].values, quantized_name)
        rewriter.constant(scheme.weights[stored].scale, scale_name)
    if not transposed:
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
