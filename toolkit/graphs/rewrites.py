"""Rewrites of a fused ONNX graph that remove what a fill-mask answer does not need.

The logits at every [MASK] stay the same.  The head, and in the last layer the query, the
output and the feed-forward part, are computed only at each [MASK]; softmax and the choice of the
best tokens move into the graph.  Outputs of a rewritten graph:

- ``mask_logits`` (masks, vocabulary): sentence by sentence, in text order;
- ``logits`` (sentences, tokens, vocabulary): the same, zero where there is no [MASK], for programs
  that expect the usual output (seen: 1 % of the time of 16 tokens, even if it is not fetched);
- ``top_scores``, ``top_ids`` (masks, 50): the best tokens' probabilities and ids, best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..engines.outputs import CONTRIB, DEPTH, LOGITS, MASK_LOGITS, POSITIONS, TOP_IDS, TOP_SCORES
from ..errors import UnusableInputError

PREFIX = "tiankong"


class Rewriter:
    """A graph that is being rewritten: finds nodes, adds nodes and weights, restores the order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        named = [
            entry.name for place in (self.graph.node, self.graph.initializer) for entry in place
        ]
        numbers = (name.rpartition("_")[2] for name in named if name.startswith(PREFIX))
        # The highest number in use, not the count: earlier rewrites have removed nodes.
        self._count = max((int(number) for number in numbers if number.isdecimal()), default=0)

    def producer(self, name: str) -> onnx.NodeProto:
        """Return the node that computes a value."""
        node: onnx.NodeProto
        for node in self.graph.node:
            if name in node.output:
                return node
        raise UnusableInputError(f"this graph computes no {name!r}")

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that have a value as input."""
        return [node for node in self.graph.node if name in node.input]

    def last(self, operator: str) -> onnx.NodeProto:
        """Return the last node of an operator (nodes are in topological order)."""
        node: onnx.NodeProto
        for node in reversed(self.graph.node):
            if node.op_type == operator:
                return node
        raise UnusableInputError(f"this graph has no {operator}: the step 'fuse' comes before")

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node; return its first output's name."""
        self._count += 1
        name = f"{PREFIX}/{operator}_{self._count}"
        names = [f"{name}:{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
        node = helper.make_node(operator, inputs, names, name, domain=domain, **attributes)
        self.graph.node.append(node)
        return str(names[0])

    def constant(self, value: Any, name: str = "") -> str:
        """Add a weight; return its name."""
        self._count += 1
        name = name or f"{PREFIX}/constant_{self._count}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str) -> np.ndarray:
        """Return a weight by its name."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return numpy_helper.to_array(tensor)
        raise UnusableInputError(f"this graph has no weight {name!r}")

    def is_vector(self, name: str) -> bool:
        """Return whether a name is that of a weight with one axis."""
        return any(t.name == name and len(t.dims) == 1 for t in self.graph.initializer)

    def redirect(self, old: str, new: str, nodes: Sequence[onnx.NodeProto]) -> None:
        """Replace the input ``old`` of nodes by ``new``."""
        for node in nodes:
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new

    def output(self, name: str, shape: Sequence[str | int], kind: int = TensorProto.FLOAT) -> None:
        """Make a value an output of the graph; replace an output of the same name."""
        kept = [value for value in self.graph.output if value.name != name]
        del self.graph.output[:]
        self.graph.output.extend([*kept, helper.make_tensor_value_info(name, kind, shape)])

    def tidy(self) -> None:
        """Remove what no output needs any more, and put the nodes into topological order."""
        by_output = {name: node for node in self.graph.node for name in node.output}
        ordered: list[onnx.NodeProto] = []
        seen: set[str] = set()
        stack = [(value.name, False) for value in reversed(self.graph.output)]
        while stack:
            name, done = stack.pop()
            node = by_output.get(name)
            if node is None or node.output[0] in seen:
                continue
            if done:
                seen.add(node.output[0])
                ordered.append(node)
            else:
                stack.append((name, True))
                stack.extend((source, False) for source in reversed(node.input) if source)
        used = {name for node in ordered for name in node.input}
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        # One by one: a new list would copy all weights and keep the memory of the old ones.
        for place in reversed(range(len(self.graph.initializer))):
            if self.graph.initializer[place].name not in used:
                del self.graph.initializer[place]
        del self.graph.value_info[:]


def head_at_mask(model: onnx.ModelProto, mask_id: int) -> None:
    """Compute the head only where there is a [MASK]."""
    rewriter = Rewriter(model)
    decoder = rewriter.producer(LOGITS)
    hidden = rewriter.last("SkipLayerNormalization").output[0]
    if hidden == LOGITS:
        raise UnusableInputError("this graph has no head")
    head = rewriter.consumers(hidden)
    rewriter.redirect(hidden, _at_masks(rewriter, hidden, mask_id), head)
    decoder.output[list(decoder.output).index(LOGITS)] = MASK_LOGITS
    vocabulary = width(model, LOGITS)
    shape = rewriter.add("Shape", ["input_ids"])
    full_shape = rewriter.add("Concat", [shape, rewriter.constant(np.array([vocabulary]))], axis=0)
    zeros = rewriter.add("ConstantOfShape", [full_shape])
    rewriter.add("ScatterND", [zeros, POSITIONS, MASK_LOGITS], [LOGITS])
    rewriter.output(MASK_LOGITS, ["masks", vocabulary])
    rewriter.tidy()


def _at_masks(rewriter: Rewriter, value: str, mask_id: int | None = None) -> str:
    """Return a value (sentences, tokens, width) at every [MASK]: (masks, width)."""
    if mask_id is not None:
        is_mask = rewriter.add("Equal", ["input_ids", rewriter.constant(np.int64(mask_id))])
        positions = rewriter.add("NonZero", [is_mask])
        rewriter.add("Transpose", [positions], [POSITIONS], perm=[1, 0])
    return rewriter.add("GatherND", [value, POSITIONS])


def width(model: onnx.ModelProto, output: str) -> int:
    """Return how wide an output is (its last axis)."""
    value = next(value for value in model.graph.output if value.name == output)
    width = value.type.tensor_type.shape.dim[-1].dim_value
    if width <= 0:
        raise UnusableInputError(f"the output {output!r} does not say how wide it is")
    return int(width)


def last_layer_at_mask(model: onnx.ModelProto) -> None:
    """Compute of the last layer only keys and values everywhere, the rest where a [MASK] is."""
    rewriter = Rewriter(model)
    rewriter.producer(POSITIONS)  # raises if the step 'head-at-mask' did not come before
    attention = rewriter.last("Attention")
    hidden, packed, bias, mask = attention.input[:4]
    query, key, value = np.split(rewriter.weight(packed), 3, axis=1)
    at_masks = _at_masks(rewriter, hidden)
    rows = rewriter.add("Gather", [POSITIONS, rewriter.constant(np.int64(0))], axis=1)

    def product(of: str, weight: np.ndarray, name: str) -> str:
        stored = rewriter.constant(np.ascontiguousarray(weight), f"{packed}_{name}")
        return rewriter.add("MatMul", [of, stored])

    token_axis = rewriter.constant(np.array([1]))
    mask_query = rewriter.add("Unsqueeze", [product(at_masks, query, "query"), token_axis])
    keys = rewriter.add("Gather", [product(hidden, key, "key"), rows])
    values = rewriter.add("Gather", [product(hidden, value, "value"), rows])
    padding = rewriter.add("Gather", [mask, rows])
    heads = next(a.i for a in attention.attribute if a.name == "num_heads")
    context = rewriter.add(
        "MultiHeadAttention", [mask_query, keys, values, bias, padding],
        domain=CONTRIB, num_heads=heads,
    )  # fmt: skip
    narrow = rewriter.add("Squeeze", [context, token_axis])
    rewriter.redirect(attention.output[0], narrow, rewriter.consumers(attention.output[0]))
    residual = [n for n in rewriter.consumers(hidden) if n.op_type == "SkipLayerNormalization"]
    rewriter.redirect(hidden, at_masks, residual)
    final = rewriter.last("SkipLayerNormalization").output[0]
    (gather,) = [node for node in rewriter.consumers(final) if node.op_type == "GatherND"]
    rewriter.redirect(gather.output[0], final, rewriter.consumers(gather.output[0]))
    rewriter.tidy()


def plain_norms(model: onnx.ModelProto) -> None:
    """Write SkipLayerNormalization as Add and LayerNormalization.

    ONNX Runtime's fused kernel is the slower one on a CPU (seen with 1.32, 16 tokens x 768: 79 us
    against 40 for two Adds and a LayerNormalization).
    """
    rewriter = Rewriter(model)
    for node in [n for n in model.graph.node if n.op_type == "SkipLayerNormalization"]:
        values, skip, scale, shift = node.input[:4]
        if len(node.input) > 4 and node.input[4]:
            values = rewriter.add("Add", [values, node.input[4]])
        total = rewriter.add("Add", [values, skip])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-12)
        rewriter.add(
            "LayerNormalization", [total, scale, shift], [node.output[0]], axis=-1, epsilon=epsilon
        )
        model.graph.node.remove(node)
    rewriter.tidy()


def plain_gelu(model: onnx.ModelProto) -> None:
    """Write BiasGelu as Add and Gelu: an 8-bit product then adds the bias as it writes its result.

    With AVX-512 ONNX Runtime has one pass for Gelu alone; BiasGelu takes three and a buffer.
    """
    rewriter = Rewriter(model)
    for node in [n for n in model.graph.node if n.op_type == "BiasGelu"]:
        total = rewriter.add("Add", list(node.input))
        rewriter.add("Gelu", [total], list(node.output), CONTRIB)
        model.graph.node.remove(node)
    rewriter.tidy()


def top_k(model: onnx.ModelProto, count: int = DEPTH) -> None:
    """Add outputs with the best tokens' probabilities and ids; a tie goes to the lower id."""
    rewriter = Rewriter(model)
    rewriter.producer(MASK_LOGITS)  # raises if the step 'head-at-mask' did not come before
    vocabulary = width(model, MASK_LOGITS)
    count = min(count, vocabulary)
    scores = rewriter.add("Softmax", [MASK_LOGITS], axis=-1)
    wanted = rewriter.constant(np.array([count]))
    rewriter.add("TopK", [scores, wanted], [TOP_SCORES, TOP_IDS], axis=-1, largest=1, sorted=1)
    rewriter.output(TOP_SCORES, ["masks", count])
    rewriter.output(TOP_IDS, ["masks", count], TensorProto.INT64)
    rewriter.tidy()


def prune_vocabulary(model: onnx.ModelProto, kept: Sequence[int]) -> None:
    """Keep only the given rows of the embedding, the decoder and its bias in a full-logits graph.

    Raises UnusableInputError if the graph does not have its weights where a BERT has them.
    """
    rewriter = Rewriter(model)
    before = width(model, LOGITS)
    if kept and max(kept) >= before:
        raise UnusableInputError(f"the tokenizer has id {max(kept)}, the graph {before} tokens")
    axes = _vocabulary_weights(rewriter)
    for tensor in model.graph.initializer:
        if tensor.name in axes:
            rows = np.take(numpy_helper.to_array(tensor), kept, axis=axes[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rows), tensor.name))
    shape = [d.dim_param or d.dim_value for d in _logits(model).type.tensor_type.shape.dim]
    rewriter.output(LOGITS, [*shape[:-1], len(kept)])


def _logits(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    value: onnx.ValueInfoProto
    for value in model.graph.output:
        if value.name == LOGITS:
            return value
    raise UnusableInputError(f"this graph has no output {LOGITS!r}")


def _vocabulary_weights(rewriter: Rewriter) -> dict[str, int]:
    """Return the weights that have a vocabulary axis, with the number of that axis."""
    weights = {tensor.name: len(tensor.dims) for tensor in rewriter.graph.initializer}
    axes = {
        node.input[0]: 0
        for node in rewriter.consumers("input_ids")
        if node.op_type == "Gather" and weights.get(node.input[0]) == 2
    }
    if len(axes) != 1:
        raise UnusableInputError(
            "this graph has no token embedding: its vocabulary cannot be pruned"
        )
    decoder = rewriter.producer(LOGITS)
    if decoder.op_type == "Add":
        bias, product = sorted(decoder.input, key=lambda name: weights.get(name, 9))
        axes[bias] = 0
        decoder = rewriter.producer(product)
    stored = decoder.input[1]
    if stored not in weights:
        axes[rewriter.producer(stored).input[0]] = 0
    else:
        axes[stored] = 1
    if any(name not in weights for name in axes):
        raise UnusableInputError(
            "this graph's decoder is not a stored weight: its vocabulary cannot be pruned"
        )
    return axes
