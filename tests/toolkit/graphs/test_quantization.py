"""Fixed scales, so neighbours and padding change no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiankong.toolkit.building.calibration import SHIPPED
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.predictor import Answer
from tiankong.toolkit.gate.answers import same_answer
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.graphs import grids, quantization
from tiankong.toolkit.graphs import steps as graphs

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


def pairs(answer: Answer) -> list[list[tuple[str, float]]]:
    return [[(best.token, best.score) for best in mask] for mask in answer]


def test_an_answer_is_the_same_alone_and_in_mixed_batches(
    small_variants: dict[str, Built],
) -> None:
    predictor = open_variant(small_variants["onnx-int8"].folder, threads=1)
    texts = read_gold().texts()[::3]
    long = "好" * 400 + "[MASK]"
    for text, beside in zip(texts, reversed(texts), strict=True):
        (alone,) = predictor.predict([text], top_k=6)
        together = predictor.predict([beside, text, text + "[MASK]"])[1]
        for mine, theirs in zip(pairs(alone), pairs(together), strict=True):
            assert same_answer(mine, theirs), text
    (alone,) = predictor.predict([texts[0]], top_k=6)
    padded = predictor.predict([long, texts[0]])[1]
    assert same_answer(pairs(alone)[0], pairs(padded)[0])


def test_the_embedding_is_stored_once(small_variants: dict[str, Built]) -> None:
    built = small_variants["onnx-int8"]
    path = built.folder / built.manifest.recipe.file
    model = onnx.load(str(path))
    config = built.manifest.model
    words = config["vocabulary"] * config["hidden"]
    large = [t for t in model.graph.initializer if np.prod(t.dims) >= words]
    assert [t.data_type for t in large] == [TensorProto.INT8]
    assert path.stat().st_size < 1.12 * config["parameters"]


def test_every_product_is_an_integer_one(small_variants: dict[str, Built]) -> None:
    built = small_variants["onnx-int8"]
    counts = graphs.operators(built.folder / built.manifest.recipe.file)
    layers = built.manifest.model["layers"]
    assert counts["QAttention"] == layers - 1  # the last layer computes its products separately
    assert counts["MatMulIntegerToFloat"] == 3 * layers + 3 + 2
    assert counts["MatMul"] == counts["Attention"] == counts["DynamicQuantizeLinear"] == 0


def test_calibration_sentences_are_none_of_the_gold_sets() -> None:
    asked = {text for name in ("builtin", "heldout") for text in texts_of(name)}
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) >= 60
    assert all("[MASK]" in line for line in lines)
    assert not asked & set(lines)
    pieces = {line.replace("[MASK]", "")[:12] for line in lines if len(line) > 20}
    assert not any(piece in text.replace("[MASK]", "") for piece in pieces for text in asked)


def texts_of(name: str) -> list[str]:
    from tiankong.toolkit.gate.gold import find_gold

    return find_gold(name).texts()


def product(weight: np.ndarray) -> onnx.ModelProto:
    """Return a graph of one product of ``x`` (rows, 4) with a weight, plus a bias."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["b", "y"], ["z"]),
    ]
    bias = np.arange(weight.shape[1], dtype=np.float32)
    return helper.make_model(
        helper.make_graph(
            nodes, "product",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows", weight.shape[1]])],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )  # fmt: skip


def observed(rows: list[list[float]]) -> grids.Observed:
    values = np.float32(rows)
    return grids.Observed(values, values.min(axis=0), values.max(axis=0), len(rows))


def run(model: onnx.ModelProto, x: np.ndarray) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def test_a_product_by_hand() -> None:
    weight = np.float32([[1, 100], [0.5, -50], [-1, 0], [0.25, 25]])
    x = np.float32([[1, 2, 3, 4], [-1, 0.5, 0, 2], [100, 0, 0, 0]])
    model = product(weight)
    eight = quantization.EightBits(*grids.rounded(weight, axis=1))
    nothing = {"y": np.zeros(2, np.float32)}
    scheme = quantization.Scheme(
        {"x": grids.Range(-1.0, 4.0)}, {"w": eight}, nothing, {"w": 0.0}, {"w": 1.0}
    )
    quantization.quantize(model, scheme)
    result = run(model, x)
    clipped = np.clip(x, -1, 4)  # values outside the range are clipped
    bias = np.float32([0, 1])
    assert np.allclose(result, clipped @ weight + bias, atol=[0.08, 8])
    assert [node.op_type for node in model.graph.node] == [
        "QuantizeLinear", "MatMulIntegerToFloat",
    ]  # fmt: skip


def test_what_is_kept_stays_as_it_is() -> None:
    model = product(np.ones((4, 2), np.float32))
    before = model.SerializeToString()
    scheme = quantization.prepare(model, {"x": observed([[1, 2, 3, 4], [-1, 0, 0, 2]])})
    quantization.quantize(model, scheme, kept=["w"])
    assert model.SerializeToString() == before
    assert scheme.shares == {"w": 1.0}
