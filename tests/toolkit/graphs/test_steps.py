"""The steps on a harder case than the built-in model: 12 trained-like layers, outliers.

Unlike in the grown model, no layers cancel out here, so rounding errors add up as in a real
12-layer network.  Errors are given in standard deviations of PyTorch's logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tiankong.toolkit.engines.onnx_engine import OnnxEngine
from tiankong.toolkit.engines.predictor import Logits
from tiankong.toolkit.engines.text import Batch
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs import steps as graphs

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

OUTLIERS = [3, 40, 77]
LAYERS = 12
REWRITTEN = (
    "head-at-mask", "last-layer-at-mask", "plain-norms", "plain-gelu", "int8-static",
    "share-embedding", "small-tables",
)  # fmt: skip
MASK_ID = 4


@dataclass(frozen=True)
class Case:
    """A network's logits, and the folder of the files made from it."""

    folder: Path
    config: dict[str, Any]
    batch: Batch
    expected: Logits


def network() -> BertForMaskedLM:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=500,
        hidden_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=128,
        initializer_range=0.09,
        attn_implementation="eager",
    )
    made = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for layer in made.bert.encoder.layer:
            for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm):
                norm.weight[OUTLIERS] *= 6
                norm.bias[OUTLIERS] += 2
    return made


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    import torch

    folder, made = tmp_path_factory.mktemp("graphs"), network()
    config = made.config.to_dict()
    graphs.export(made, folder / "fp32.onnx")
    graphs.fuse(folder / "fp32.onnx", folder / "fused.onnx", config)
    graphs.to_fp16(folder / "fused.onnx", folder / "fp16.onnx")
    graphs.to_fp16_naive(folder / "fp32.onnx", folder / "fp16-naive.onnx")
    graphs.to_int8(folder / "fused.onnx", folder / "int8.onnx")
    batch = batch_of(1)
    origin = graphs.Origin(config, MASK_ID, [batch_of(seed) for seed in (2, 3, 4)])
    before = "fused"
    for step in REWRITTEN:
        graphs.make(folder / f"{before}.onnx", folder / f"{step}.onnx", [step], origin)
        before = step
    with torch.inference_mode():
        full = made(input_ids=torch.from_numpy(batch.input_ids)).logits.numpy()
    return Case(folder, config, batch, full[batch.rows, batch.columns])


def batch_of(seed: int) -> Batch:
    """Return 16 sentences of 24 tokens with four masks each."""
    ids = np.random.default_rng(seed).integers(5, 500, (16, 24))
    rows, columns = np.repeat(np.arange(16), 4), np.tile([2, 7, 11, 20], 16)
    ids[rows, columns] = MASK_ID
    return Batch(ids, np.ones_like(ids), np.zeros_like(ids), rows, columns)


def overlap(ours: Logits, theirs: Logits) -> float:
    """The mean share of PyTorch's top-5 that is also in ours."""
    tops = [[set(row) for row in np.argsort(-logits)[:, :5]] for logits in (ours, theirs)]
    return float(np.mean([len(a & b) / 5 for a, b in zip(*tops, strict=True)]))


# Seen: largest error 1.1e-5, 2.0e-5, 0.021, 0.47; root mean square 9e-7, 1.3e-6, 0.0016, 0.059;
# overlap 1, 1, 1, 0.947.
@pytest.mark.parametrize(
    ("file", "largest", "mean_square", "same"),
    [
        ("fp32", 1e-4, 1e-5, 1.0),
        ("fused", 2e-4, 2e-5, 1.0),
        ("fp16", 0.06, 0.005, 0.98),
        ("fp16-naive", 0.06, 0.005, 0.98),
        ("int8", 1.0, 0.12, 0.88),
        ("int8-static", 1.0, 0.12, 0.88),
        ("share-embedding", 1.0, 0.12, 0.88),
        ("small-tables", 1.0, 0.12, 0.88),
    ],
)
def test_each_precision_against_pytorch(
    case: Case, file: str, largest: float, mean_square: float, same: float
) -> None:
    given = OnnxEngine(case.folder / f"{file}.onnx", 1).logits(case.batch)
    error = np.abs(given - case.expected) / case.expected.std()
    assert float(error.max()) <= largest
    assert float(np.sqrt((error**2).mean())) <= mean_square
    assert overlap(given, case.expected) >= same


def test_the_int8_bound_tells_a_broken_quantization(case: Case) -> None:
    """Wrong scales of rows, as after quantization along the wrong axis, are noticed."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(case.folder / "int8.onnx"))
    for tensor in model.graph.initializer:
        scales = numpy_helper.to_array(tensor)
        if tensor.name.endswith("_scale") and scales.ndim == 1 and scales.size > 1:
            tensor.CopyFrom(
                numpy_helper.from_array(np.full_like(scales, scales.mean()), tensor.name)
            )
    path = case.folder / "broken.onnx"
    onnx.save(model, str(path))
    error = (OnnxEngine(path, 1).logits(case.batch) - case.expected) / case.expected.std()
    assert float(np.sqrt((error**2).mean())) > 0.12


def test_sizes_follow_the_precision(case: Case) -> None:
    size = {n: (case.folder / f"{n}.onnx").stat().st_size for n in ("fp32", "fp16", "int8")}
    assert size["fp16"] < 0.55 * size["fp32"]
    assert size["int8"] < 0.35 * size["fp32"]


def casts_at_work(path: Path) -> int:
    """Count the Casts between float types that stay after ONNX Runtime has loaded a file."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".loaded"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    integers = {value.name for value in graph.input}  # ids and the attention mask
    return sum(n.op_type == "Cast" and n.input[0] not in integers for n in graph.node)


def test_float16_storage_leaves_no_casts_and_the_naive_way_does(case: Case) -> None:
    assert casts_at_work(case.folder / "fp16.onnx") == 0
    assert casts_at_work(case.folder / "fp16-naive.onnx") > LAYERS


def test_the_naive_way_keeps_weights_that_the_converter_would_clip(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    weights = np.array([12000.0, -60000.0, 6e-8, 0.0, 1.0], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [5])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "a.onnx"
    )
    graphs.to_fp16_naive(tmp_path / "a.onnx", tmp_path / "b.onnx")
    (stored,) = onnx.load(tmp_path / "b.onnx").graph.initializer
    assert np.array_equal(numpy_helper.to_array(stored), weights.astype(np.float16))


def test_every_layer_is_fused_and_quantized(case: Case) -> None:
    fused = graphs.operators(case.folder / "fused.onnx")
    assert fused["Attention"] == LAYERS
    assert (fused["SkipLayerNormalization"], fused["BiasGelu"]) == (2 * LAYERS, LAYERS + 1)
    assert fused["Softmax"] == 0
    int8 = graphs.operators(case.folder / "int8.onnx")
    assert (int8["QAttention"], int8["MatMulInteger"]) == (LAYERS, 3 * LAYERS + 2)
    assert int8["MatMul"] == int8["Attention"] == 0


def test_an_8_bit_product_adds_the_bias_before_gelu(case: Case) -> None:
    import onnx

    nodes = onnx.load(case.folder / "int8-static.onnx").graph.node
    products = {node.output[0]: node for node in nodes if node.op_type == "MatMulIntegerToFloat"}
    before = [products[node.input[0]] for node in nodes if node.op_type == "Gelu"]
    assert [len(node.input) for node in before] == [7] * (LAYERS + 1)  # the last input is the bias
    assert "BiasGelu" not in {node.op_type for node in nodes}


def test_fusing_another_geometry_is_refused(case: Case, tmp_path: Path) -> None:
    wrong = {**case.config, "num_hidden_layers": LAYERS + 1}
    with pytest.raises(UnusableInputError, match="not a BERT of the geometry"):
        graphs.fuse(case.folder / "fp32.onnx", tmp_path / "x.onnx", wrong)


def test_quantizing_what_was_not_fused_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="quantization"):
        graphs.to_int8(case.folder / "fp32.onnx", tmp_path / "x.onnx")
    assert not list(tmp_path.glob("*.float.onnx"))
