"""Change the channels of a float graph for 8 bits, so that it still computes the same.

Where that costs nothing at run time, it is done wherever a product then errs less on calibration
sentences:

- the output of a normalization is shifted channel by channel: its own bias takes the shift, and the
  biases of the products that read it, and of the branch that it is added to, give it back;
- attention's values are shifted and divided: the weights of the value take both, since the shares
  of attention add up to 1, and the output's weights and bias give them back.

Dividing the output of a normalization costs a multiplication of the residual, as a sum is not
indifferent to it.  So it is done only where a product is too loud otherwise (``LOUD``).  The same
holds for the activation in the feed-forward part, whose result no weight makes.  The head's
normalization may enlarge a channel that is out of line in the decoder; if that is the embedding
too, what is looked up is divided again, once a sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .grids import (
    Change,
    Floats,
    Observed,
    balanced,
    best_change,
    centred,
    divided_if_worth,
    unchanged,
)
from .rewrites import Rewriter

LOUD = 2e-3  # from this error on, as a share of a result's variance, a multiplication may be added
NORMS = {"LayerNormalization": (1, 2), "SkipLayerNormalization": (2, 3)}
"""The inputs of a normalization that are its weight and its bias."""
ATTENTION = {"Attention": (1, 2), "MultiHeadAttention": (2, 3)}
"""The inputs of attention that are values, or a weight that makes them, and the biases."""
MOVES = ("GatherND", "Gather", "Squeeze", "Unsqueeze", "Reshape")
"""Operators that only move rows."""
TABLE = ("Transpose", "Gather")
"""What uses a table that is decoder and embedding."""
BIASED = {"Add": (0, 1), "BiasGelu": (1,), "FastGelu": (1,), "SkipLayerNormalization": (4,)}
"""The inputs of an operator that may be the bias of a product before it."""


def products(rewriter: Rewriter) -> list[onnx.NodeProto]:
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


def stored_weight(rewriter: Rewriter, product: onnx.NodeProto) -> tuple[str, bool]:
    """Return the name of a product's weight as it is stored, and whether that is transposed."""
    for node in rewriter.graph.node:
        if node.op_type == "Transpose" and product.input[1] in node.output:
            return node.input[0], True
    return product.input[1], False


def weight_of(rewriter: Rewriter, product: onnx.NodeProto) -> Floats:
    """Return a product's weight (inputs, outputs)."""
    name, transposed = stored_weight(rewriter, product)
    weight = rewriter.weight(name)
    return weight.T if transposed else weight


def add_to_bias(rewriter: Rewriter, product: onnx.NodeProto, vector: Floats) -> None:
    """Add a vector to a product's result: to its bias if it has one, by a node of its own else."""
    if product.op_type == "Attention":
        _replace(rewriter, product, 2, rewriter.weight(product.input[2]) + vector)
        return
    result = product.output[0]
    users = rewriter.consumers(result)
    if len(users) == 1:
        for place in BIASED.get(users[0].op_type, ()):
            if place < len(users[0].input) and rewriter.is_vector(users[0].input[place]):
                bias = rewriter.weight(users[0].input[place])
                _replace(rewriter, users[0], place, bias + vector)
                return
    shifted = rewriter.add("Add", [result, rewriter.constant(np.float32(vector))])
    rewriter.redirect(result, shifted, users)


def _replace(rewriter: Rewriter, node: onnx.NodeProto, place: int, value: NDArray[Any]) -> None:
    """Give a node a weight of its own as input (others may share the one that it has).

    It is named after the one before: ``layer.2.output.dense.bias#1``.
    """
    taken = {tensor.name for tensor in rewriter.graph.initializer}
    first, _, _ = node.input[place].partition("#")
    name = next(name for n in count(1) if (name := f"{first}#{n}") not in taken)
    node.input[place] = rewriter.constant(np.ascontiguousarray(value, np.float32), name)


def _rewrite(rewriter: Rewriter, name: str, value: NDArray[Any]) -> None:
    """Change a weight, for all that have it."""
    tensor = next(tensor for tensor in rewriter.graph.initializer if tensor.name == name)
    new = np.ascontiguousarray(value, np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(new, name))


@dataclass
class Smoothing:
    """Changes a graph; ``seen``, what its activations look like, changes with it.

    ``multiplied`` counts the multiplications that were added.
    """

    rewriter: Rewriter
    seen: dict[str, Observed]
    multiplied: int = 0
    _products: list[onnx.NodeProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._products = products(self.rewriter)

    def run(self) -> None:
        """Change whatever may be changed, and do the products good."""
        for node in list(self.rewriter.graph.node):
            if node.op_type in NORMS:
                self._normalization(node)
        for product in self._products:
            if product.op_type == "MatMul":
                self._values(product)
        for product in self._products:
            if product.op_type == "MatMul":
                self._inner(product)
        self.rewriter.tidy()

    def _normalization(self, norm: onnx.NodeProto) -> None:
        name = norm.output[0]
        views = [name]
        for view in views:
            views += [
                n.output[0] for n in self.rewriter.consumers(view)
                if n.op_type in MOVES and n.input[0] == view
            ]  # fmt: skip
        readers = [p for p in self._products if p.input[0] in views]
        if not readers or any(len(n) > 0 and n in self._outputs() for n in views):
            return
        main = name if name in self.seen else readers[0].input[0]
        seen = self.seen[main]
        weight = np.concatenate([weight_of(self.rewriter, p) for p in readers], axis=1)
        changes = [unchanged(seen), centred(seen)]
        others = [
            (view, [n for n in self.rewriter.consumers(view)
                    if n not in readers and not (n.op_type in MOVES and n.input[0] == view)])
            for view in views
        ]  # fmt: skip
        alone = not any(nodes for _, nodes in others)
        if alone and (self._own(readers) or self._in_table(readers)):
            changes += [balanced(seen, weight, before) for before in list(changes)]
        change = best_change(main, seen, weight, changes)
        if self._own(readers) and not change.scales:
            change = divided_if_worth(main, seen, weight, change, LOUD)
        self._read(readers, change)
        for view, nodes in others:
            self._give_back(view, nodes, change)
        scale, bias = NORMS[norm.op_type]
        weights = [self.rewriter.weight(norm.input[place]) for place in (scale, bias)]
        _replace(self.rewriter, norm, scale, weights[0] / change.factors)
        _replace(self.rewriter, norm, bias, (weights[1] - change.shift) / change.factors)
        for view in views:
            if view in self.seen:
                self.seen[view] = self.seen[view].changed(change)

    def _outputs(self) -> set[str]:
        return {value.name for value in self.rewriter.graph.output}

    def _own(self, readers: Sequence[onnx.NodeProto]) -> bool:
        """Tell whether nothing else has these products' weights (a layer, or the embedding)."""
        uses = [name for node in self.rewriter.graph.node for name in node.input]
        for product in readers:
            name, transposed = stored_weight(self.rewriter, product)
            if transposed or uses.count(name) > 1:
                return False
        return True

    def _in_table(self, readers: Sequence[onnx.NodeProto]) -> bool:
        """Tell whether the weight is a table (outputs, inputs) that only a lookup has besides."""
        if len(readers) != 1:
            return False
        name, transposed = stored_weight(self.rewriter, readers[0])
        users = self.rewriter.consumers(name)
        return transposed and Counter(n.op_type for n in users) <= Counter(TABLE)

    def _scale_table(self, name: str, factors: Floats) -> None:
        """Multiply a table's channels; divide what is looked up in it."""
        rewriter = self.rewriter
        _rewrite(rewriter, name, rewriter.weight(name) * factors)
        for gather in rewriter.consumers(name):
            if gather.op_type == "Gather":
                users = rewriter.consumers(gather.output[0])
                back = rewriter.constant((1 / factors).astype(np.float32))
                whole = rewriter.add("Mul", [gather.output[0], back])
                rewriter.redirect(gather.output[0], whole, users)
                self.multiplied += 1

    def _read(self, readers: Sequence[onnx.NodeProto], change: Change) -> None:
        """Let products read an activation that was changed."""
        for product in readers:
            weight = weight_of(self.rewriter, product)
            if change.shift.any():
                add_to_bias(self.rewriter, product, change.shift @ weight)
            if change.scales and self._in_table([product]):
                self._scale_table(stored_weight(self.rewriter, product)[0], change.factors)
            elif change.scales:
                _rewrite(self.rewriter, product.input[1], weight * change.factors[:, None])

    def _give_back(self, view: str, nodes: Sequence[onnx.NodeProto], change: Change) -> None:
        """Let other nodes, the residual, have a normalization's output as it was."""
        rewriter = self.rewriter
        if not nodes:
            return
        name = view
        if change.scales:
            name = rewriter.add("Mul", [view, rewriter.constant(change.factors)])
            rewriter.redirect(view, name, nodes)
            self.multiplied += 1
        if not change.shift.any():
            return
        for node in nodes:
            if branch := self._branch(node, name):
                add_to_bias(rewriter, branch, change.shift)
            else:
                whole = rewriter.add("Add", [name, rewriter.constant(change.shift)])
                rewriter.redirect(name, whole, [node])

    def _branch(self, node: onnx.NodeProto, residual: str) -> onnx.NodeProto | None:
        """Return the product whose result alone is added to a residual here, if there is one."""
        if node.op_type not in ("Add", "SkipLayerNormalization"):
            return None
        others = [name for name in node.input[:2] if name != residual]
        if len(others) != 1:
            return None
        makers = {name: n for n in self.rewriter.graph.node for name in n.output}
        maker = makers.get(others[0])
        if maker is not None and maker.op_type == "Add":
            if len(self.rewriter.consumers(others[0])) != 1:
                return None
            inner = [n for n in maker.input if n in makers]
            maker = makers[inner[0]] if len(inner) == 1 else None
        alone = maker is not None and len(self.rewriter.consumers(maker.output[0])) == 1
        return maker if alone and maker in self._products else None

    def _values(self, product: onnx.NodeProto) -> None:
        """Change attention's values, which an output product reads."""
        makers = {name: n for n in self.rewriter.graph.node for name in n.output}
        name = product.input[0]
        maker = makers.get(name)
        while maker is not None and maker.op_type in MOVES:
            maker = makers.get(maker.input[0])
        if maker is None or maker.op_type not in ATTENTION:
            return
        if any(len(self.rewriter.consumers(n)) != 1 for n in (name, maker.output[0])):
            return
        seen, weight = self.seen[name], weight_of(self.rewriter, product)
        change = best_change(name, seen, weight, [unchanged(seen), centred(seen)])
        value = self._value_weight(maker, makers)
        if value is not None and self._own([product, value]):
            change = divided_if_worth(name, seen, weight, change)
        channels = len(change.shift)
        self._read([product], change)
        bias_place = ATTENTION[maker.op_type][1]
        bias = self.rewriter.weight(maker.input[bias_place]).copy()
        bias[-channels:] = (bias[-channels:] - change.shift) / change.factors
        _replace(self.rewriter, maker, bias_place, bias)
        if change.scales and value is not None:
            values = weight_of(self.rewriter, value).copy()
            values[:, -channels:] /= change.factors
            _rewrite(self.rewriter, value.input[1], values)
        self.seen[name] = seen.changed(change)

    def _value_weight(
        self, attention: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]
    ) -> onnx.NodeProto | None:
        """Return the product that makes attention's values."""
        if attention.op_type == "Attention":
            return attention if attention in self._products else None
        maker = makers.get(attention.input[2])
        while maker is not None and maker.op_type in MOVES:
            maker = makers.get(maker.input[0])
        return maker if maker is not None and maker in self._products else None

    def _inner(self, product: onnx.NodeProto) -> None:
        """Divide the channels of an activation that no weight makes, if its product is loud."""
        name = product.input[0]
        makers = {n: node for node in self.rewriter.graph.node for n in node.output}
        maker = makers.get(name)
        if maker is None or maker.op_type in (*NORMS, *ATTENTION, *MOVES):
            return
        if len(self.rewriter.consumers(name)) != 1 or not self._own([product]):
            return
        seen, weight = self.seen[name], weight_of(self.rewriter, product)
        change = divided_if_worth(name, seen, weight, unchanged(seen), LOUD)
        if not change.scales:
            return
        self._read([product], change)
        part = self.rewriter.constant((1 / change.factors).astype(np.float32))
        divided_name = self.rewriter.add("Mul", [name, part])
        self.multiplied += 1
        product.input[0] = divided_name
        self.seen[divided_name] = self.seen.pop(name).changed(change)
