"""ONNX models with one external tensor each, together in every place a tensor can be in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper


def outside(location: str | None) -> TensorProto:
    """A tensor whose four numbers are in another file; with None it does not say in which."""
    tensor = TensorProto(
        name="weight", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    if location is not None:
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="length", value="16")
    return tensor


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def _graph(*nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = ()) -> GraphProto:
    add = helper.make_node("Add", ["x", "weight"], ["y"])
    return helper.make_graph([*nodes, add], "g", [_value("x")], [_value("y")], weights)


def _model(graph: GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _attribute(attribute: AttributeProto) -> onnx.ModelProto:
    node = helper.make_node("Holder", [], ["weight"], domain="mine")
    node.attribute.append(attribute)
    return _model(_graph(node))


def _sparse(values: TensorProto, indices: TensorProto | None = None) -> onnx.SparseTensorProto:
    ordinary = numpy_helper.from_array(np.arange(4), "indices")
    return onnx.SparseTensorProto(values=values, indices=indices or ordinary, dims=[4])


def initializer(tensor: TensorProto) -> onnx.ModelProto:
    return _model(_graph(weights=(tensor,)))


def sparse_values(tensor: TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    model.graph.sparse_initializer.append(_sparse(tensor))
    return model


def sparse_indices(tensor: TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    values = numpy_helper.from_array(np.ones(4, np.float32), "weight")
    model.graph.sparse_initializer.append(_sparse(values, tensor))
    return model


def constant(tensor: TensorProto) -> onnx.ModelProto:
    return _model(_graph(helper.make_node("Constant", [], ["weight"], value=tensor)))


def attribute_tensors(tensor: TensorProto) -> onnx.ModelProto:
    kind = AttributeProto.TENSORS
    return _attribute(AttributeProto(name="a", type=kind, tensors=[tensor]))


def attribute_sparse(tensor: TensorProto) -> onnx.ModelProto:
    kind = AttributeProto.SPARSE_TENSOR
    return _attribute(AttributeProto(name="a", type=kind, sparse_tensor=_sparse(tensor)))


def attribute_sparses(tensor: TensorProto) -> onnx.ModelProto:
    kind = AttributeProto.SPARSE_TENSORS
    return _attribute(AttributeProto(name="a", type=kind, sparse_tensors=[_sparse(tensor)]))


def branch(tensor: TensorProto) -> onnx.ModelProto:
    """In one of the two graphs of an If."""
    yes = numpy_helper.from_array(np.array(True), "yes")
    ones = numpy_helper.from_array(np.ones(4, np.float32), "weight")
    ordinary, inner = _graph(weights=(ones,)), _graph(weights=(tensor,))
    node = helper.make_node("If", ["yes"], ["y"], then_branch=ordinary, else_branch=inner)
    return _model(helper.make_graph([node], "g", [_value("x")], [_value("y")], [yes]))


def nested(tensor: TensorProto) -> onnx.ModelProto:
    """In a constant in the body of a Loop in an If in a Loop."""
    graph = _graph(helper.make_node("Constant", [], ["weight"], value=tensor))
    for kind, name in (("Loop", "body"), ("If", "then_branch"), ("Loop", "body")):
        graph = _graph(helper.make_node(kind, ["some"], ["weight"], **{name: graph}))
    return _model(graph)


def attribute_graphs(tensor: TensorProto) -> onnx.ModelProto:
    graph = _graph(weights=(tensor,))
    return _attribute(AttributeProto(name="a", type=AttributeProto.GRAPHS, graphs=[graph]))


def _function(body: onnx.NodeProto, *defaults: AttributeProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17)]
    add = helper.make_node("Add", ["x", "weight"], ["y"])
    function = helper.make_function("mine", "F", ["x"], ["y"], [body, add], opsets, (), defaults)
    node = helper.make_node("F", ["x"], ["y"], domain="mine")
    model = _model(helper.make_graph([node], "g", [_value("x")], [_value("y")]))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


def function_body(tensor: TensorProto) -> onnx.ModelProto:
    return _function(helper.make_node("Constant", [], ["weight"], value=tensor))


def function_default(tensor: TensorProto) -> onnx.ModelProto:
    """In the default value of a function's attribute."""
    body = helper.make_node("Constant", [], ["weight"])
    reference = AttributeProto(name="value", type=AttributeProto.TENSOR, ref_attr_name="w")
    body.attribute.append(reference)
    return _function(body, helper.make_attribute("w", tensor))


def training_begin(tensor: TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    model.training_info.add().initialization.CopyFrom(_graph(weights=(tensor,)))
    return model


def training_step(tensor: TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    model.training_info.add().algorithm.CopyFrom(_graph(weights=(tensor,)))
    return model


Place = Callable[[TensorProto], onnx.ModelProto]
PLACES: list[Place] = [
    initializer, sparse_values, sparse_indices, constant, attribute_tensors, attribute_sparse,
    attribute_sparses, branch, nested, attribute_graphs, function_body, function_default,
    training_begin, training_step,
]  # fmt: skip


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path
