"""Products of an OpenVINO model in 8 bits: FakeQuantize before each, weights stored as int8.

Scales are chosen as for ONNX (grids.py).  To shift and to divide channels costs nothing here: the
CPU plugin does it in the pass that quantizes (seen in the runtime model: one Eltwise node in place
of one FakeQuantize).  The weights that read the activation are multiplied, and their bias takes the
shift, as it takes whatever is constant in the error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from ..engines.openvino_engine import OUTPUTS, feed
from ..engines.text import Batch
from .grids import (
    Change,
    Floats,
    Observed,
    Range,
    balanced,
    best_change,
    centred,
    chosen_range,
    divided_if_worth,
    rounded,
    unchanged,
)
from .observation import Gathering

LEVELS = 256
FULL = {"INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True)
class Eight:
    """A product in 8 bits: how its activation is changed, its range, its weight, its bias's part.

    ``weight`` (outputs, inputs) and ``scale`` (outputs) are those of the changed activation;
    ``noise`` is the error, see grids.py; ``work`` the multiply-adds on the calibration sentences.
    """

    change: Change
    span: Range
    weight: Any
    scale: Floats
    correction: Floats
    noise: float
    work: int


def products(model: openvino.Model) -> dict[str, Any]:
    """Return the nodes that multiply an activation with a weight (outputs, inputs), by name."""
    return {
        node.get_friendly_name(): node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul" and _weight_node(node) is not None
    }


def _weight_node(product: Any) -> Any:
    """Return the constant that is a product's weight, or None."""
    node = product.input_value(1).get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    attributes = product.get_attributes()
    stored = node.get_type_name() == "Constant" and len(node.get_output_shape(0)) == 2
    return node if stored and attributes["transpose_b"] and not attributes["transpose_a"] else None


def observe(model: openvino.Model, batches: Sequence[Batch]) -> dict[str, Observed]:
    """Return what the activations of a model's products are on calibration batches, by product."""
    model = model.clone()
    nodes = products(model)
    sources = {name: node.input_value(0) for name, node in nodes.items()}
    added = {name: model.add_outputs(source)[0] for name, source in sources.items()}
    compiled = openvino.compile_model(model, "CPU", FULL)
    gathering = {name: Gathering(len(batches)) for name in added}
    places = {name: compiled.output(_index(model, output)) for name, output in added.items()}
    for batch in batches:
        results = compiled(feed(batch))
        for name, gathered in gathering.items():
            values = results[places[name]]
            gathered.add(values.reshape(-1, values.shape[-1]).copy())
    return {name: gathered.observed() for name, gathered in gathering.items()}


def _index(model: openvino.Model, output: Any) -> int:
    return next(
        place for place, one in enumerate(model.outputs)
        if one.get_node().get_friendly_name() == output.get_node().get_friendly_name()
    )  # fmt: skip


def choose(model: openvino.Model, seen: Mapping[str, Observed]) -> dict[str, Eight]:
    """Return for every product how it is best computed in 8 bits."""
    readers: dict[tuple[str, int], list[str]] = {}
    nodes = products(model)
    for name, node in nodes.items():
        source = node.input_value(0)
        key = (source.get_node().get_friendly_name(), source.get_index())
        readers.setdefault(key, []).append(name)
    chosen: dict[str, Eight] = {}
    for names in readers.values():
        weights = {name: _weight_node(nodes[name]).data.astype(np.float32) for name in names}
        wide = np.concatenate([weight.T for weight in weights.values()], axis=1)
        before = seen[names[0]]
        changes = [unchanged(before), centred(before)]
        changes += [balanced(before, wide, free) for free in list(changes)]
        change = best_change(names[0], before, wide, changes)
        if not change.scales:
            change = divided_if_worth(names[0], before, wide, change)
        after = before.changed(change)
        span, noise = chosen_range(names[0], after, wide * change.factors[:, None])
        importance = np.square(after.rows).mean(axis=0)
        for name, weight in weights.items():
            values, scale = rounded(weight * change.factors, 0, importance)
            exact = before.rows.mean(axis=0) @ weight.T
            eight = (span.applied(after.rows).mean(axis=0) @ values.T) * scale
            chosen[name] = Eight(
                change, span, values, scale, (exact - eight).astype(np.float32), noise,
                weight.size * before.count,
            )  # fmt: skip
    return chosen


def attention_work(model: openvino.Model, batches: Sequence[Batch]) -> int:
    """Return the multiply-adds of attention, without its products with weights, on batches."""
    lengths = [int(count) for batch in batches for count in batch.attention_mask.sum(axis=1)]
    shapes = [
        node.get_output_partial_shape(0)
        for node in model.get_ops()
        if node.get_type_name() == "ScaledDotProductAttention"
    ]
    widths = sum(int(shape[1].get_length() * shape[3].get_length()) for shape in shapes)
    return 2 * widths * sum(length * length for length in lengths)


def lookups_of(model: openvino.Model) -> dict[str, str]:
    """Return the lookups in a weight that a product has too (the decoder), by product's name."""
    found = {}
    for name, node in products(model).items():
        for target in _weight_node(node).output(0).get_target_inputs():
            user = target.get_node()
            if user.get_type_name() == "Gather" and target.get_index() == 0:
                found[name] = user.get_friendly_name()
    return found


def _look_up(model: openvino.Model, name: str, table: Any, factors: Floats) -> None:
    """Let a lookup read a product's 8-bit weight; divide what the weight's channels were given."""
    gather = next(node for node in model.get_ops() if node.get_friendly_name() == name)
    users = list(gather.output(0).get_target_inputs())
    gather.input(0).replace_source_output(table.output(0))
    if (factors != 1).any():
        whole = ops.multiply(gather, ops.constant((1 / factors).astype(np.float32)))
        for target in users:
            target.replace_source_output(whole.output(0))


def apply(
    model: openvino.Model,
    chosen: Mapping[str, Eight],
    kept: Collection[str] = (),
    lookups: Mapping[str, str] | None = None,
) -> None:
    """Compute a model's products in 8 bits, apart from those that are ``kept``.

    ``lookups``: see :func:`lookups_of`; the model then stores one matrix for both.
    """
    lookups = lookups or {}
    quantized: dict[tuple[str, int], Any] = {}
    for name, node in products(model).items():
        if name in kept and name not in lookups:
            continue
        eight, source = chosen[name], node.input_value(0)
        stored = ops.convert(ops.constant(eight.weight, dtype=np.int8), "f32")
        weight = ops.multiply(stored, ops.constant(eight.scale[:, None]))
        if name in lookups:
            _look_up(model, lookups[name], weight, eight.change.factors)
        if name in kept:
            continue
        key = (source.get_node().get_friendly_name(), source.get_index())
        if key not in quantized:
            quantized[key] = _quantized(source, eight)
        users = list(node.output(0).get_target_inputs())
        product = ops.matmul(quantized[key], weight, False, True)
        product.set_friendly_name(name)
        _with_bias(product, users, eight.correction)


def _quantized(source: Any, eight: Eight) -> Any:
    """Return an activation as it reads after it was changed and quantized."""
    change, span = eight.change, eight.span
    shape = [1] * (len(source.get_partial_shape()) - 1) + [-1]
    # The CPU plugin quantizes in the same pass in which it multiplies and adds.
    if change.scales:
        factors = (1 / change.factors).astype(np.float32)
        source = ops.multiply(source, ops.constant(factors.reshape(shape))).output(0)
    if change.shift.any():
        shift = (-change.shift / change.factors).astype(np.float32)
        source = ops.add(source, ops.constant(shift.reshape(shape))).output(0)
    # Ends that are exactly on the grid: zero has to be one of the 256 values.
    low = np.float32(-span.zero * span.scale)
    high = np.float32(low + (LEVELS - 1) * span.scale)
    ends = [ops.constant(end) for end in (low, high, low, high)]
    return ops.fake_quantize(source, *ends, LEVELS)


def _with_bias(product: Any, users: Sequence[Any], vector: Floats) -> None:
    """Put a product in the place of another, and add a vector to its bias."""
    adding = users[0].get_node() if len(users) == 1 else None
    if adding is not None and adding.get_type_name() == "Add":
        other = adding.input_value(1 - users[0].get_index()).get_node()
        if other.get_type_name() == "Constant" and other.data.size == len(vector):
            bias = (other.data.astype(np.float32).reshape(-1) + vector).reshape(other.data.shape)
            total = ops.add(product, ops.constant(bias))
            total.set_friendly_name(adding.get_friendly_name())
            for target in list(adding.output(0).get_target_inputs()):
                target.replace_source_output(total.output(0))
            return
    total = ops.add(product, ops.constant(vector))
    for target in users:
        target.replace_source_output(total.output(0))


def logits(model: openvino.Model, batches: Sequence[Batch]) -> Floats:
    """Return a model's logits at the masks of batches."""
    compiled = openvino.compile_model(model, "CPU", FULL)
    output = compiled.output(OUTPUTS[0])
    return np.concatenate([compiled(feed(batch))[output].copy() for batch in batches])
