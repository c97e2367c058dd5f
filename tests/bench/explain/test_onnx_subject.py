"""The operations of graphs that ran, against formulae worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiankong.bench.explain.flags import Facts, flags
from tiankong.bench.explain.onnx_subject import Profiled, packed_in_eight_bits, typical
from tiankong.bench.explain.operators import graph_facts, products, workload
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.models.builtin.catalogue import small_geometry

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

BATCH, LENGTH = 3, 8


def small_batch(folder: Path) -> Batch:
    encoder = TextEncoder.from_folder(folder)
    ids = encoder.encode("今天天气[MASK]啊")
    assert len(ids) == LENGTH
    return encoder.batch([ids] * BATCH)


def counted(built: Built, tmp_path: Path) -> Any:
    batch = small_batch(built.folder)
    path = built.folder / built.manifest.recipe.file
    with Profiled(path, tmp_path, 1, whole_shapes=True) as profiled:
        profiled.run(batch)
    (run,) = profiled.runs()
    return workload(run, LENGTH, BATCH, 1 << 40, eight_bits=False)


def test_the_float_graph_is_its_geometrys_formula(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    g = small_geometry()
    rows = BATCH * LENGTH
    layer = rows * (4 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    layer += 2 * BATCH * LENGTH**2 * g.hidden
    head = rows * (g.hidden**2 + g.hidden * g.vocabulary)
    work = counted(small_variants["onnx-fp32"], tmp_path)
    assert work.operations() == {"fp32": 2 * (g.layers * layer + head)}
    weights = g.layers * (4 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    weights += g.hidden**2 + g.hidden * g.vocabulary
    assert work.weight_bytes == pytest.approx(4 * weights, rel=0.01)  # biases may count with them


def test_the_last_layer_and_head_count_only_where_the_mask_is(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    g = small_geometry()
    rows, asked = BATCH * LENGTH, BATCH
    dense = rows * (4 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    last = rows * 2 * g.hidden**2 + asked * (2 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    head = asked * (g.hidden**2 + g.hidden * g.vocabulary)
    inside = 2 * ((g.layers - 1) * BATCH * LENGTH**2 + asked * LENGTH) * g.hidden
    work = counted(small_variants["onnx-int8"], tmp_path)
    assert work.operations() == {
        "int8": 2 * ((g.layers - 1) * dense + last + head),
        "fp32": 2 * inside,
    }


def test_a_usual_session_runs_the_same_operators_in_the_same_order(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    built = small_variants["onnx-int8"]
    batch, path = small_batch(built.folder), built.folder / built.manifest.recipe.file
    kinds = []
    for whole in (False, True):
        with Profiled(path, tmp_path, 1, whole_shapes=whole) as profiled:
            profiled.run(batch)
            profiled.run(batch)
        kinds.append([[each.kind for each in run] for run in profiled.runs()])
    assert kinds[0] == kinds[1]
    assert kinds[0][0] == kinds[0][1]
    assert not list(tmp_path.iterdir())
    run, cost = typical(profiled.runs())
    assert all(each.ms >= 0 for each in run)
    assert cost > 0


def graph(
    tmp_path: Path, nodes: list[Any], given: int, result: int, constants: dict[str, Any]
) -> Path:
    """Write a graph from ``x`` (2 x 8) to ``y`` (2 x 4)."""
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", given, [2, 8])],
        [helper.make_tensor_value_info("y", result, [2, 4])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    path = tmp_path / "g.onnx"
    onnx.save(model, str(path))
    return path


def facts_of(path: Path, tmp_path: Path, values: Any) -> dict[str, int]:
    profiled = Profiled(path, tmp_path, 1, whole_shapes=True)
    profiled._session.run(None, {"x": values})
    (run,) = profiled.runs()
    assert sum(p.operations for each in run for p in products(each)) == 2 * 2 * 8 * 4
    return graph_facts(run)


FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
WEIGHTS = np.arange(32).reshape(8, 4)


def test_float16_on_a_cpu_is_found(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = graph(tmp_path, nodes, HALF, HALF, {"w": WEIGHTS.astype(np.float16)})
    facts = facts_of(path, tmp_path, np.ones((2, 8), np.float16))
    assert facts["fp16_operators"] + facts["fp16_casts"] > 0
    isa = ("avx512_vnni", "avx512_bf16")
    assert [flag.code for flag in flags(Facts(isa=isa, **facts))] == ["fp16-compute"]


@pytest.mark.parametrize(("kind", "codes"), [(np.uint8, ["u8u8"]), (np.int8, [])])
def test_unsigned_weights_are_found(tmp_path: Path, kind: Any, codes: list[str]) -> None:
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"])]
    path = graph(tmp_path, nodes, TensorProto.UINT8, TensorProto.INT32, {"w": WEIGHTS.astype(kind)})
    facts = facts_of(path, tmp_path, np.ones((2, 8), np.uint8))
    isa = ("avx512_vnni", "avx512_bf16")
    assert [flag.code for flag in flags(Facts(isa=isa, **facts))] == codes


def test_scales_taken_at_run_time_are_found(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    path = graph(tmp_path, nodes, FLOAT, FLOAT, {"w": WEIGHTS.astype(np.int8)})
    facts = facts_of(path, tmp_path, np.ones((2, 8), np.float32))
    assert facts["dynamic_scales"] == 1


@pytest.mark.parametrize(("level", "eight"), [(4, True), (0, False)])
def test_packed_weights_say_how_they_are_computed(tmp_path: Path, level: int, eight: bool) -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft",
        K=8, N=4, bits=8, block_size=16, accuracy_level=level,
    )  # fmt: skip
    constants = {"w": np.zeros((4, 1, 16), np.uint8), "s": np.ones(4, np.float32)}
    made = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )  # fmt: skip
    path = tmp_path / "g.onnx"
    onnx.save(helper.make_model(made), str(path))
    assert packed_in_eight_bits(path) is eight
