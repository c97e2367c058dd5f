"""Rewrite an 8-bit ONNX graph so that attention alone computes padding.

Sentences of several lengths share a batch padded to the longest.  In the rewritten graph the rows
of padding are removed after the embedding and restored for attention alone ("effective
transformer", https://github.com/bytedance/effective_transformer; Zhai et al. 2022,
arXiv:2210.03052).  Everything else works row by row, so no answer changes by a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .graph_bytes import INT, INT64, message, parse
from .outputs import CONTRIB, POSITIONS

PREFIX = "tiankong/unpadded"


def unpadded(model: bytes) -> bytes | None:
    """Return a graph that gives the same answers and computes less in a batch of mixed lengths.

    Args:
        model: an ONNX file whose attention is fused and in 8 bits (QAttention), as ONNX Runtime
            optimizes what the steps ``head-at-mask`` and ``int8-static`` make.

    Returns None for any other graph.

    """
    parsed = parse(model)
    nodes = list(parsed.graph.node)
    attentions = [node for node in nodes if node.op_type == "QAttention"]
    if not attentions or not any(POSITIONS in node.output for node in nodes):
        return None
    editor = _Editor(parsed.graph)
    editor.rewrite(nodes, attentions)
    return bytes(parsed.SerializeToString())


class _Editor:
    """Replaces a graph's nodes, in order."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._nodes: list[Any] = []
        self._shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        self._count = 0

    def rewrite(self, nodes: Sequence[Any], attentions: Sequence[Any]) -> None:
        makers = {name: node for node in nodes for name in node.output}
        embedded = makers[attentions[0].input[0]].input[0]  # before it is quantized
        last = next((n for n in nodes if n.op_type == "MultiHeadAttention"), None)
        per_mask = set(last.input[1:3]) if last else set()  # keys and values of the last layer
        self._begin(self._shapes[attentions[0].input[1]][0])
        for node in nodes:
            if node.op_type == "QAttention":
                self._attend(node)
            elif node.op_type == "GatherND" and node.input[1] == POSITIONS:
                masks = self._add("GatherND", [self._places, POSITIONS])
                self._add("Gather", [node.input[0], masks], node.output)
            elif per_mask & set(node.output):
                rows = self._add("Gather", [self._places, node.input[1]])
                self._add("Gather", [node.input[0], rows], node.output)
            elif embedded in node.output:
                node.output[list(node.output).index(embedded)] = f"{embedded}/padded"
                self._nodes.append(node)
                self._remove_padding(f"{embedded}/padded", embedded)
            else:
                self._nodes.append(node)
        copies = [type(node).FromString(node.SerializeToString()) for node in self._nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)

    def _begin(self, width: int) -> None:
        """Compute which rows are not padding, and the index of every token among these."""
        self._tokens_wide = self._constant([-1, width])
        flat, one = self._constant([-1]), self._constant([1])
        mask = self._add("Reshape", ["attention_mask", flat])
        self._kept = self._add("Reshape", [self._add("NonZero", [mask]), flat])
        nth = self._add("CumSum", [mask, self._constant(0)])
        # Padding gets the index of the token before it: attention masks it out anyway.
        place = self._add("Max", [self._add("Sub", [nth, one]), self._constant([0])])
        shape = self._add("Shape", ["attention_mask"])
        self._places = self._add("Reshape", [place, shape])
        three = self._add("Mul", [self._places, self._constant([3])])
        self._thirds = [three, *(self._add("Add", [three, self._constant([n])]) for n in (1, 2))]

    def _remove_padding(self, padded: str, to: str) -> None:
        rows = self._add("Reshape", [padded, self._tokens_wide])
        self._add("Gather", [rows, self._kept], [to])

    def _attend(self, node: Any) -> None:
        """Replace QAttention by its matrix product, without padding, and attention, with it."""
        values, weight, bias, scale, weight_scale, mask, zero, weight_zero = node.input
        product = self._add(
            "MatMulIntegerToFloat",
            [values, weight, scale, weight_scale, zero, weight_zero, bias],
            domain=CONTRIB,
        )
        rows = self._add("Reshape", [product, self._tokens_wide])  # query, key, value, query, ...
        inputs = [self._add("Gather", [rows, third]) for third in self._thirds]
        heads = next(part.i for part in node.attribute if part.name == "num_heads")
        context = self._add(
            "MultiHeadAttention", [*inputs, "", mask], domain=CONTRIB, num_heads=heads
        )
        self._remove_padding(context, node.output[0])

    def _add(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        domain: str = "",
        **attributes: int,
    ) -> str:
        self._count += 1
        name = f"{PREFIX}/{operator}_{self._count}"
        node = message("Node")(
            name=name, op_type=operator, domain=domain, input=inputs, output=outputs or [name]
        )
        for key, value in attributes.items():
            node.attribute.add(name=key, i=value, type=INT)
        self._nodes.append(node)
        return str(node.output[0])

    def _constant(self, value: int | list[int]) -> str:
        self._count += 1
        array = np.array(value, "<i8")
        name = f"{PREFIX}/constant_{self._count}"
        self._graph.initializer.add(
            name=name, dims=array.shape, data_type=INT64, raw_data=array.tobytes()
        )
        return name
