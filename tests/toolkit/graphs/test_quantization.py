"""Fixed scales, so neighbours and padding change no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiankong.toolkit.building.calibration import SHIPPED
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.predictor import Answer
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.answers import same_answer
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.graphs import quantization
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
    quantization.quantize(model, {"x": (-1.0, 4.0)})
    result = run(model, x)
    clipped = np.clip(x, -1, 4)  # values outside the range are clipped
    bias = np.float32([0, 1])
    assert np.allclose(result, clipped @ weight + bias, atol=[0.08, 8])
    assert [node.op_type for node in model.graph.node] == [
        "QuantizeLinear", "MatMulIntegerToFloat",
    ]  # fmt: skip


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_that_is_none_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(UnusableInputError, match="activation x has the range"):
        quantization.quantize(product(np.ones((4, 2), np.float32)), {"x": bounds})


def test_weights_are_rounded_a_channel_and_zeros_stay() -> None:
    weight = np.float32([[1, 1000, 0], [-0.5, 254, 0]])
    values, scale = quantization.rounded(weight, axis=1)
    assert values[:, 0].tolist() == [127, -64]
    assert values[:, 1].tolist() == [127, 32]
    assert values[:, 2].tolist() == [0, 0]
    assert np.allclose(values * scale, weight, atol=[0.004, 4, 0])
