"""The result is compared with the onnx library's, and run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tiankong.toolkit.engines.graph_bytes import without_output

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def model(*nodes: onnx.NodeProto, outputs: list[str]) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", [value("x")], [value(name) for name in outputs])
    opset = helper.make_opsetid("", 20)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=10, producer_name="kept")
    return made.SerializeToString()


NODES = (
    helper.make_node("Neg", ["x"], ["shared"]),
    helper.make_node("Abs", ["shared"], ["before"]),
    helper.make_node("Sqrt", ["before"], ["large"]),
    helper.make_node("Exp", ["shared"], ["small"]),
)


def test_an_output_and_what_only_it_needs_are_gone() -> None:
    slim = onnx.load_from_string(without_output(model(*NODES, outputs=["large", "small"]), "large"))
    onnx.checker.check_model(slim)
    assert [node.op_type for node in slim.graph.node] == ["Neg", "Exp"]
    assert [output.name for output in slim.graph.output] == ["small"]
    assert slim.producer_name == "kept"
    session = onnxruntime.InferenceSession(slim.SerializeToString())
    values = np.array([1, -2], np.float32)
    np.testing.assert_allclose(session.run(None, {"x": values})[0], np.exp(-values), rtol=1e-6)


def test_another_name_changes_nothing_that_counts() -> None:
    whole = model(*NODES, outputs=["large", "small"])
    assert onnx.load_from_string(without_output(whole, "other")) == onnx.load_from_string(whole)


def test_graphs_within_are_left_alone() -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["before"], ["y"])], "inner", [], [value("y")]
    )
    condition = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor(
        "yes", TensorProto.BOOL, [], [True]))  # fmt: skip
    branches = helper.make_node("If", ["yes"], ["small"], then_branch=inner, else_branch=inner)
    whole = model(*NODES[:3], condition, branches, outputs=["large", "small"])
    assert without_output(whole, "large") == whole


@pytest.mark.parametrize("variant", ["onnx-int8", "onnx-fp16"])
def test_a_real_one(small_variants: dict[str, Built], variant: str) -> None:
    built = small_variants[variant]
    before = onnx.load(built.folder / built.manifest.recipe.file)
    after = onnx.load_from_string(without_output(before.SerializeToString(), "logits"))
    onnx.checker.check_model(after)
    gone = Counter(n.op_type for n in before.graph.node) - Counter(
        n.op_type for n in after.graph.node
    )
    assert gone["ScatterND"] == 1
    assert {o.name for o in after.graph.output} == {"mask_logits", "top_scores", "top_ids"}
